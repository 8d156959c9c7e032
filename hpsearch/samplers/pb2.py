"""Population-based bandits: a Gaussian process chooses what a member that has copied changes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np

from hpsearch.registry import register
from hpsearch.samplers.base import ONE_OBJECTIVE, generator
from hpsearch.samplers.pbt import (
    PerturbationInterval,
    Population,
    QuantileFraction,
    RandomPopulation,
)
from hpsearch.samplers.population import (
    Exploit,
    Interval,
    mutable_parameters,
)
from hpsearch.samplers.unit_cube import Array, Cube
from hpsearch.space import SearchSpace
from hpsearch.spec import Scalar

#: the newest intervals, which a model is fitted on
MAX_POINTS = 200
#: candidates: random ones, and two rounds of neighbours of the best
NUM_RANDOM = 400
NUM_PARENTS = 5
NUM_NEIGHBOURS = 20
#: c₁ and c₂ of β, as in the authors' code in Ray Tune
C1, C2 = 0.2, 0.4
#: length scales, ε and noise among which the likelihood chooses
GRID = ((0.1, 0.2, 0.4, 0.8, 1.6), (0.003, 0.03, 0.1, 0.3, 0.6), (0.01, 0.03, 0.1, 0.3, 1.0))
#: standardised gains beyond this are cut, as there: a net that falls apart would hide the rest
MAX_GAIN = 2.0


@register("sampler", "pb2", traits={ONE_OBJECTIVE: True})
class PB2Sampler(RandomPopulation):
    """As `pbt`, but a Gaussian process chooses what a copy changes (Parker-Holder et al., 2020).

    Population-based bandits (PB2, NeurIPS 2020): over all intervals so far the process models the
    gain yₜ of the objective by an interval, given its hyperparameters x and its time t, with the
    covariance exp(-|x - x'|² / 2l²) · (1 - ε)^(|t - t'| / 2) (Bogunovic et al., AISTATS 2016).
    The x of the greatest μₜ(x) + √βₜ · σₜ(x) is taken, βₜ = c₁ + log(c₂ n) for n intervals. σ
    counts what other members go on with as observed (GP-BUCB; Desautels et al., JMLR 2014). l, ε
    and the noise are those of a grid with the greatest likelihood.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int,
        population: Population = 8,
        perturbation_interval: PerturbationInterval = 3,
        quantile_fraction: QuantileFraction = 0.25,
        hyperparam_mutations: Sequence[str] | None = None,
    ) -> None:
        super().__init__(space, seed, population, perturbation_interval, quantile_fraction)
        self._cube = Cube(space)
        names = [each.name for each in mutable_parameters(space, hyperparam_mutations)]
        self._columns = [i for i, each in enumerate(space.parameters) if each.name in names]

    def explore(
        self,
        number: int,
        exploit: Exploit,
        epoch: int,
        intervals: Sequence[Interval],
        pending: Sequence[Mapping[str, Scalar]],
    ) -> dict[str, Scalar]:
        """See PopulationSampler."""
        rng = generator(self._seed, number)
        point = self._cube.point(exploit.source.params)
        active = [column for column in self._columns if not math.isnan(point[column])]
        if not active:
            return dict(exploit.source.params)
        point[active] = self._chosen(active, epoch, intervals[-MAX_POINTS:], pending, rng)
        params = self._cube.params(point)
        # but for rounding, what doesn't change is what it was
        changed = {self._cube.parameters[column].name for column in active}
        return {
            name: params[name] if name in changed else value
            for name, value in exploit.source.params.items()
        }

    def _chosen(
        self,
        active: Sequence[int],
        epoch: int,
        intervals: Sequence[Interval],
        pending: Sequence[Mapping[str, Scalar]],
        rng: np.random.Generator,
    ) -> Array:
        """Return the coordinates of the most promising hyperparameters, (num_active,)."""
        candidates: Array = rng.random((NUM_RANDOM, len(active)))
        if len(intervals) < 2:
            anywhere: Array = candidates[0]
            return anywhere
        points = self._points([each.params for each in intervals], active)
        times = np.array([each.end for each in intervals]) / self.perturbation_interval
        now = epoch / self.perturbation_interval + 1
        gains = standardised(np.array([each.gain for each in intervals]))
        model = TimeVaryingProcess.fitted(points, times, gains)
        model = model.expecting(self._points(pending, active), now)
        weight = math.sqrt(C1 + max(0.0, math.log(C2 * len(intervals))))

        def best_first(some: Array) -> Array:
            mean, std = model.predict(some, now)
            ordered: Array = some[np.argsort(-(mean + weight * std), kind="stable")]
            return ordered

        for scale in (0.1, 0.02):
            candidates = best_first(candidates)
            parents = np.repeat(candidates[:NUM_PARENTS], NUM_NEIGHBOURS, axis=0)
            moved = parents + scale * rng.standard_normal(parents.shape)
            candidates = np.vstack([candidates[:NUM_PARENTS], np.clip(moved, 0.0, 1.0)])
        chosen: Array = best_first(candidates)[0]
        return chosen

    def _points(
        self, configurations: Sequence[Mapping[str, Scalar]], active: Sequence[int]
    ) -> Array:
        """Return coordinates, (num_configurations, num_active); of what a configuration hasn't
        the middle."""
        points = self._cube.points(configurations)[:, list(active)]
        known: Array = np.where(np.isnan(points), 0.5, points)
        return known


class TimeVaryingProcess:
    """A Gaussian process over points (num_points, num_columns) at times (num_points,).

    Unit signal variance, mean 0: targets are assumed to be standardised.
    """

    def __init__(
        self, points: Array, times: Array, targets: Array, theta: Sequence[float]
    ) -> None:
        self._points, self._times, self._targets = points, times, targets
        self._theta = theta
        self._length_scale, self._epsilon, self._noise = theta
        covariance = self._covariance(points, times)
        covariance[np.diag_indices_from(covariance)] += self._noise
        self._cholesky = np.linalg.cholesky(covariance)
        self._whitened = self._whiten(targets)

    @classmethod
    def fitted(cls, points: Array, times: Array, targets: Array) -> TimeVaryingProcess:
        """Return the process whose length scale, ε and noise have the greatest likelihood."""
        made = (cls(points, times, targets, theta) for theta in product(*GRID))
        return max(made, key=lambda process: process.log_likelihood)

    @property
    def log_likelihood(self) -> float:
        """The logarithm of the marginal likelihood, up to a constant (Rasmussen & Williams, 2006,
        eq. 2.30)."""
        logarithms = np.log(np.diag(self._cholesky))
        return -0.5 * float(self._whitened @ self._whitened) - float(logarithms.sum())

    def expecting(self, points: Array, time: float) -> TimeVaryingProcess:
        """Return the process as if what it expects of further points had been observed."""
        if not len(points):
            return self
        return TimeVaryingProcess(
            np.vstack([self._points, points]),
            np.append(self._times, np.full(len(points), time)),
            np.append(self._targets, self.predict(points, time)[0]),
            self._theta,
        )

    def predict(self, points: Array, time: float) -> tuple[Array, Array]:
        """Return mean and standard deviation at a time (ibid., eq. 2.25 and 2.26)."""
        times = np.full(len(points), time)
        cross = self._covariance(self._points, self._times, points, times)
        reduction = self._whiten(cross)
        mean: Array = reduction.T @ self._whitened
        variance = 1.0 - np.einsum("ij,ij->j", reduction, reduction)
        return mean, np.sqrt(np.maximum(variance, 1e-10))

    def _whiten(self, values: Array) -> Array:
        from scipy.linalg import solve_triangular  # which the first members needn't wait for

        whitened: Array = solve_triangular(self._cholesky, values, lower=True, check_finite=False)
        return whitened

    def _covariance(
        self, points: Array, times: Array, others: Array | None = None, at: Array | None = None
    ) -> Array:
        others, at = (points, times) if others is None or at is None else (others, at)
        differences = points[:, None] - others[None]
        squared = (differences * differences).sum(axis=-1)
        fading = (1.0 - self._epsilon) ** (0.5 * np.abs(times[:, None] - at))
        covariance: Array = np.exp(-0.5 * squared / self._length_scale**2) * fading
        return covariance


def standardised(gains: Array) -> Array:
    """Return gains with mean 0 and standard deviation 1, cut at ±2."""
    spread = float(gains.std())
    scaled: Array = (gains - gains.mean()) / (spread if spread > 0 else 1.0)
    return np.clip(scaled, -MAX_GAIN, MAX_GAIN)
