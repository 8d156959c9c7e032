"""Searches in virtual time, before any is paid for: recorded curves, the real control loop.

`simulate` runs one search, `compare` several that differ in their settings, and `replay` shows
that a record's decisions are made again. Where curves come from is a `Curves`.
"""

from __future__ import annotations

from hpsearch.simulation.compare import Simulated, compare, quality_levels, variants
from hpsearch.simulation.curves import Curves, Training
from hpsearch.simulation.recorded import RecordedCurves
from hpsearch.simulation.replay import Replay, replay
from hpsearch.simulation.simulate import Better, better_trials, simulate

__all__ = [
    "Better",
    "Curves",
    "RecordedCurves",
    "Replay",
    "Simulated",
    "Training",
    "better_trials",
    "compare",
    "quality_levels",
    "replay",
    "simulate",
    "variants",
]
