"""The default sampler: Bayesian optimization over forecasts, at about 10 ms a suggestion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hpsearch.registry import register
from hpsearch.samplers.base import LEARNS_CONSTRAINTS, Direction, Observation, generator
from hpsearch.samplers.feasibility import Feasibility
from hpsearch.samplers.forecast import Forecast, best_and_some, forecast
from hpsearch.samplers.priors import Priors
from hpsearch.samplers.unit_cube import Array, Cube
from hpsearch.space import SearchSpace
from hpsearch.spec import Scalar

if TYPE_CHECKING:
    from hpsearch.samplers.gaussian_process import GaussianProcess

#: points of the Gaussian process, and those that its hyperparameters are fitted on
MAX_POINTS = 80
MAX_FIT_POINTS = 40
#: candidates: random ones, and neighbours of the points that look best
NUM_RANDOM = 200
NUM_PARENTS = 5
NUM_NEIGHBOURS = 20
#: running trials that are taken for known, the newest
MAX_PENDING = 64


@register("sampler", "auto", traits={LEARNS_CONSTRAINTS: True})
class AutoSampler:
    """A Gaussian process over forecasts of every trial, and the best expected improvement.

    Running trials are imputed with the model's mean ("kriging believer", Ginsbourger et al.,
    2010), so that concurrent suggestions differ. A fraction of the trials, `random_fraction`, is
    drawn at random, as a safeguard against a wrong model. Where there are constraints, the
    improvement is that over the trials that keep them, times the probability to keep them.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int,
        direction: Direction,
        rungs: Sequence[int],
        random_fraction: float = 0.2,
    ) -> None:
        self._cube = Cube(space)
        self._priors = Priors(self._cube)
        self._seed = seed
        self._direction = direction
        self._rungs = rungs
        self._random_fraction = random_fraction

    def suggest(self, number: int, observations: Sequence[Observation]) -> dict[str, Scalar]:
        """See Sampler."""
        rng = generator(self._seed, number)
        known = forecast(observations, self._rungs, self._direction)
        weights = None if known is None else self._weights(known)
        if known is None or weights is None or rng.random() < self._random_fraction:
            return self._cube.params(self._priors.drawn(rng, 1, weights)[0])
        pending = [trial for trial in observations if trial.state == "running"][-MAX_PENDING:]
        feasibility = Feasibility(self._cube, observations, rng)
        candidates = self._search(known, pending, weights, feasibility, rng)
        seen = [trial.params for trial in observations]
        configurations = (self._cube.params(candidate) for candidate in candidates)
        return next((c for c in configurations if c not in seen), self._cube.params(candidates[0]))

    def _weights(self, known: Forecast) -> Array:
        """Return the weights of the priors, given what is known."""
        if not self._priors:
            return np.zeros(0)
        points = self._cube.points([trial.params for trial in known.trials])
        return self._priors.trend(points, known.scores, known.variances)

    def _search(
        self,
        known: Forecast,
        pending: Sequence[Observation],
        weights: Array,
        feasibility: Feasibility,
        rng: np.random.Generator,
    ) -> Array:
        """Return candidates (num_candidates, num_parameters), the most promising first."""
        chosen = best_and_some(known.scores, MAX_POINTS, rng)
        points = self._cube.points([known.trials[i].params for i in chosen])
        scores, variances = known.scores[chosen], known.variances[chosen]
        trend = self._priors.features(points) @ weights
        model = self._fit(points, scores - trend, variances, pending, rng)
        means = model.predict(self._cube.features(points))[0] + trend
        violations = np.array([known.trials[i].violation for i in chosen])
        means_kept = means[violations == 0.0]

        def merits(candidates: Array) -> Array:
            chances = feasibility.log_probability(candidates)
            if not len(means_kept):  # first of all, keep the constraints
                return chances
            mean, std = model.predict(self._cube.features(candidates))
            mean = mean + self._priors.features(candidates) @ weights
            return log_expected_improvement(mean, std, means_kept.max()) + chances

        parents = points[np.lexsort((-means, violations))[:NUM_PARENTS]]
        anywhere = self._cube.snap(self._priors.drawn(rng, NUM_RANDOM, weights))
        first = np.vstack([anywhere, self._neighbours(parents, rng)])
        first = first[np.argsort(-merits(first), kind="stable")]
        both = np.vstack([first, self._neighbours(first[:NUM_PARENTS], rng)])
        ordered: Array = both[np.argsort(-merits(both), kind="stable")]
        return ordered

    def _fit(
        self,
        points: Array,
        scores: Array,
        variances: Array,
        pending: Sequence[Observation],
        rng: np.random.Generator,
    ) -> GaussianProcess:
        # With scipy's optimizers, which the first trials needn't wait for.
        from hpsearch.samplers.gaussian_process import GaussianProcess, fit_hyperparameters

        features, groups = self._cube.features(points), self._cube.feature_groups
        some = best_and_some(scores, MAX_FIT_POINTS, rng)
        scales, noise = fit_hyperparameters(features[some], scores[some], variances[some], groups)
        model = GaussianProcess(features, scores, noise + variances, scales, groups)
        if not pending:
            return model
        expected = self._cube.features(self._cube.points([trial.params for trial in pending]))
        return GaussianProcess(
            np.vstack([features, expected]),
            np.append(scores, model.predict(expected)[0]),
            np.append(noise + variances, np.full(len(pending), noise)),
            scales,
            groups,
        )

    def _neighbours(self, parents: Array, rng: np.random.Generator) -> Array:
        """Return points near the parents: two parameters changed on average, one at least.

        Numbers move by a Gaussian step of scale 0.01 to 0.3, choices are resampled.
        """
        points = np.repeat(parents, NUM_NEIGHBOURS, axis=0)
        num_points, size = points.shape
        points = np.where(np.isnan(points), rng.random(points.shape), points)
        is_changed = rng.random(points.shape) < 2.0 / size
        is_changed[np.arange(num_points), rng.integers(size, size=num_points)] = True
        steps = 10.0 ** rng.uniform(-2.0, -0.5, (num_points, 1))
        moved = np.abs(points + steps * rng.standard_normal(points.shape))
        moved = np.clip(1.0 - np.abs(1.0 - moved), 0.0, 1.0)  # reflected at both ends
        drawn = rng.random(points.shape)
        changed = np.where(self._cube.is_categorical, drawn, moved)
        return self._cube.snap(np.where(is_changed, changed, points))


def log_expected_improvement(mean: Array, std: Array, best: float) -> Array:
    """Logarithm of the expected improvement over `best` (LogEI of Ament et al., NeurIPS 2023).

    Far from `best` the improvement itself underflows to 0.
    """
    from scipy.special import erfcx, ndtr

    z = (mean - best) / std
    above = np.maximum(z, -1.0)
    near = np.exp(-0.5 * above * above) / math.sqrt(2.0 * math.pi) + above * ndtr(above)
    below = np.maximum(-z, 1.0)  # where z < -1: φ(z) (1 + z Φ(z) / φ(z)), which doesn't cancel
    ratio = below * erfcx(below / math.sqrt(2.0)) * math.sqrt(0.5 * math.pi)
    far = np.log(np.maximum(1.0 - ratio, 1e-300)) - 0.5 * (z * z + math.log(2.0 * math.pi))
    merit: Array = np.log(std) + np.where(z > -1.0, np.log(near), far)
    return merit
