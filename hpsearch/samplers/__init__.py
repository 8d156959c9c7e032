"""Samplers: they choose the next configuration.

`Observation` is a sampler's view of a trial; `make_sampler` builds the one that a spec names.
"""

from __future__ import annotations

import hpsearch.samplers.auto
import hpsearch.samplers.cma
import hpsearch.samplers.disciplined
import hpsearch.samplers.grid
import hpsearch.samplers.optuna
import hpsearch.samplers.pb2
import hpsearch.samplers.pbt
import hpsearch.samplers.space_filling  # noqa: F401 (each registers what it has)
from hpsearch.samplers.base import Direction, NotYetError, Observation, Sampler
from hpsearch.samplers.factory import begins_with_default, make_sampler
from hpsearch.samplers.population import PopulationSampler

__all__ = [
    "Direction",
    "NotYetError",
    "Observation",
    "PopulationSampler",
    "Sampler",
    "begins_with_default",
    "make_sampler",
]
