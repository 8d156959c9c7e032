"""Samplers: what is to be tried next.

`Observation` is what a sampler is told, `make_sampler` makes the one that a spec names.
"""

from __future__ import annotations

import hpsearch.samplers.auto
import hpsearch.samplers.cma
import hpsearch.samplers.grid
import hpsearch.samplers.optuna
import hpsearch.samplers.space_filling  # noqa: F401 (each registers what it has)
from hpsearch.samplers.base import Direction, Observation, Sampler
from hpsearch.samplers.factory import make_sampler

__all__ = ["Direction", "Observation", "Sampler", "make_sampler"]
