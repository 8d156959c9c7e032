"""The probability that a configuration keeps the constraints, by Gaussian processes.

One a constraint, over the margins of the trials so far (Gardner et al., ICML 2014, §3: the
expected improvement times the probability of feasibility).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hpsearch.samplers.base import Observation
from hpsearch.samplers.forecast import best_and_some, normal_scores
from hpsearch.samplers.unit_cube import Array, Cube

if TYPE_CHECKING:
    from hpsearch.samplers.gaussian_process import GaussianProcess

#: trials that the hyperparameters of a model are fitted on, and that it holds
MAX_FIT_POINTS = 40
MAX_POINTS = 80
#: trials with a margin before a model is fitted
MIN_POINTS = 4


class Feasibility:
    """What the margins of trials say of configurations that were not tried."""

    def __init__(
        self, cube: Cube, observations: Sequence[Observation], rng: np.random.Generator
    ) -> None:
        self._cube = cube
        num_constraints = max((len(trial.margins) for trial in observations), default=0)
        fitted = (self._fit(observations, index, rng) for index in range(num_constraints))
        self._models = [each for each in fitted if each is not None]

    def log_probability(self, points: Array) -> Array:
        """Return the logarithm of the probability that points (num_points, num_parameters) keep
        all constraints."""
        from scipy.special import log_ndtr

        features = self._cube.features(points)
        total = np.zeros(len(points))
        for model, threshold in self._models:
            mean, std = model.predict(features)
            total += log_ndtr((mean - threshold) / std)
        return total

    def _fit(
        self, observations: Sequence[Observation], index: int, rng: np.random.Generator
    ) -> tuple[GaussianProcess, float] | None:
        """Return a model of a constraint's margins as normal scores, and the score of margin 0."""
        from hpsearch.samplers.gaussian_process import GaussianProcess, fit_hyperparameters

        known = [t for t in observations if t.margins and math.isfinite(t.margins[index])]
        margins = np.array([trial.margins[index] for trial in known])
        if len(known) < MIN_POINTS or (margins >= 0).all():
            return None
        # The bound is a trial of its own, so that its score is known.
        scores = normal_scores(np.append(margins, 0.0))
        # A margin of exactly 0 is kept: the threshold lies just below it.
        threshold = float(scores[-1]) - 1e-6
        chosen = best_and_some(-np.abs(margins), MAX_POINTS, rng)  # those near the bound say most
        features = self._cube.features(self._cube.points([known[i].params for i in chosen]))
        targets = scores[chosen]
        groups, zeros = self._cube.feature_groups, np.zeros(len(chosen))
        some = np.arange(len(chosen))[:MAX_FIT_POINTS]
        scales, noise = fit_hyperparameters(features[some], targets[some], zeros[some], groups)
        return GaussianProcess(features, targets, noise, scales, groups), threshold
