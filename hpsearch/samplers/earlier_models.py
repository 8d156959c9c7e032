"""Models of earlier searches: what results of other tasks say of the configurations of this one.

Scores of a search are ranks, spread as a standard normal sample, so that those of different
metrics and data compare (Salinas et al., "A Quantile-based Approach for Hyperparameter Transfer
Learning", ICML 2020). How far each search agrees with this one, its results decide (see `trend`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from hpsearch.samplers.history import History, fitted, scored
from hpsearch.samplers.unit_cube import Array, Cube

if TYPE_CHECKING:
    from hpsearch.samplers.gaussian_process import GaussianProcess

#: searches that have a model, those of the most trials; points of a model, and of its fit
MAX_MODELS = 8
MAX_POINTS = 80
MAX_FIT_POINTS = 40
#: a search of fewer trials has no model
MIN_TRIALS = 8
#: points at which the mean and the spread of a model over the space are measured
_NUM_REFERENCE = 256


class EarlierModels:
    """A Gaussian process for each of the largest earlier searches, fitted when first asked."""

    def __init__(self, histories: Sequence[History], cube: Cube) -> None:
        self._cube = cube
        known = [history for history in histories if len(history.trials) >= MIN_TRIALS]
        self._histories = sorted(known, key=lambda history: -len(history.trials))[:MAX_MODELS]

    def __len__(self) -> int:
        return len(self._histories) if self._cube.size else 0

    def features(self, points: Array) -> Array:
        """Return the score that each model expects of snapped points, (num_points, num_models).

        Centred and scaled over the space: a random configuration has 0 on average.
        """
        if not self:
            return np.zeros((len(points), 0))
        mean, deviation = self._moments
        standard: Array = (self._means(points) - mean) / deviation
        return standard

    def _means(self, points: Array) -> Array:
        features = self._cube.features(points)
        return np.column_stack([model.mean(features) for model in self._models])

    @cached_property
    def _models(self) -> list[GaussianProcess]:
        return [
            fitted(scored(history), self._cube, MAX_POINTS, MAX_FIT_POINTS)
            for history in self._histories
        ]

    @cached_property
    def _moments(self) -> tuple[Array, Array]:
        """Return mean and deviation of each model over random points, (num_models,) each."""
        random = np.random.default_rng(0).random((_NUM_REFERENCE, self._cube.size))
        means = self._means(self._cube.snap(random))
        return means.mean(axis=0), np.maximum(means.std(axis=0), 1e-6)
