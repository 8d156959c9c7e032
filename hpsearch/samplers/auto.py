"""The default sampler: Bayesian optimization over forecasts, at 4 to 9 ms a suggestion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import islice

import numpy as np

from hpsearch.registry import register
from hpsearch.samplers.base import (
    FITS_EARLIER,
    LEARNS_CONSTRAINTS,
    Direction,
    Observation,
    generator,
)
from hpsearch.samplers.earlier_models import EarlierModels
from hpsearch.samplers.history import History
from hpsearch.samplers.priors import Priors
from hpsearch.samplers.surrogate import Results, Surrogate
from hpsearch.samplers.trend import Trend
from hpsearch.samplers.unit_cube import Array, Cube
from hpsearch.space import SearchSpace
from hpsearch.spec import Scalar

#: candidates: random ones, and neighbours of the points that look best
NUM_RANDOM = 200
NUM_PARENTS = 5
NUM_NEIGHBOURS = 20
#: running trials that are taken for known, the newest
MAX_PENDING = 64


@register("sampler", "auto", traits={LEARNS_CONSTRAINTS: True, FITS_EARLIER: True})
class AutoSampler:
    """A Gaussian process over forecasts of every trial, and the best expected improvement.

    Running trials are imputed with the model's mean ("kriging believer", Ginsbourger et al.,
    2010), so that concurrent suggestions differ. A fraction of the trials, `random_fraction`, is
    drawn at random, as a safeguard against a wrong model. Where there are constraints, the
    improvement is that over the trials that keep them, times the probability to keep them.

    Models of `earlier` searches of other tasks are a part of the model's mean, as far as results
    agree with them (see `trend`).

    Suggestions between two results, such as those for lanes that are free at once, share a fit.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int,
        direction: Direction,
        rungs: Sequence[int],
        earlier: Sequence[History] = (),
        random_fraction: float = 0.2,
    ) -> None:
        self._cube = Cube(space)
        self._priors = Priors(self._cube)
        self._trend = Trend(self._priors, EarlierModels(earlier, self._cube))
        self._seed = seed
        self._direction = direction
        self._rungs = rungs
        self._random_fraction = random_fraction
        self._results: Results | None = None  # the last ones that were seen

    def suggest(self, number: int, observations: Sequence[Observation]) -> dict[str, Scalar]:
        """See Sampler."""
        rng = generator(self._seed, number)
        results = self._read(observations)
        trust = self._trend.trust(results.weights)
        if results.weights is None or rng.random() < self._random_fraction:
            return self._cube.params(self._priors.drawn(rng, 1, trust)[0])
        running = (trial for trial in reversed(observations) if trial.state == "running")
        pending = [*islice(running, MAX_PENDING)][::-1]
        candidates = self._search(results.surrogate, results.weights, pending, rng)
        configurations = (self._cube.params(candidate) for candidate in candidates)
        new = (each for each in configurations if not results.has_tried(each))
        return next(new, self._cube.params(candidates[0]))

    def _read(self, observations: Sequence[Observation]) -> Results:
        """Return the results that observations have: the last ones, if there is no other."""
        if self._results is None or not self._results.is_of(observations):
            self._results = Results(
                observations, self._rungs, self._direction, self._trend, self._cube, self._seed
            )
        return self._results

    def _search(
        self,
        surrogate: Surrogate,
        weights: Array,
        pending: Sequence[Observation],
        rng: np.random.Generator,
    ) -> Array:
        """Return candidates (num_candidates, num_parameters), the most promising first."""
        model = surrogate.with_pending(pending)
        means = surrogate.means(model)
        means_kept = means[surrogate.violations == 0.0]

        def merits(candidates: Array) -> Array:
            chances = surrogate.feasibility.log_probability(candidates)
            if not len(means_kept):  # first of all, keep the constraints
                return chances
            mean, std = model.predict(self._cube.features(candidates))
            mean = mean + self._trend.features(candidates) @ weights
            return log_expected_improvement(mean, std, means_kept.max()) + chances

        parents = surrogate.points[np.lexsort((-means, surrogate.violations))[:NUM_PARENTS]]
        anywhere = self._cube.snap(self._priors.drawn(rng, NUM_RANDOM, self._trend.trust(weights)))
        first = np.vstack([anywhere, self._neighbours(parents, rng)])
        of_first = merits(first)
        best_first = np.argsort(-of_first, kind="stable")
        near = self._neighbours(first[best_first[:NUM_PARENTS]], rng)
        both = np.vstack([first[best_first], near])
        of_both = np.append(of_first[best_first], merits(near))
        ordered: Array = both[np.argsort(-of_both, kind="stable")]
        return ordered

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
