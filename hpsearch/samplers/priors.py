"""What users expect of a search space, for samplers: draws around it, and how well configurations
agree with it.

After πBO (Hvarfner et al., ICLR 2022) and PriorBand (Mallik et al., NeurIPS 2023): a prior moves
the first trials and the model, and what the trials show outweighs it.
"""

from __future__ import annotations

import math

import numpy as np

from hpsearch.samplers.unit_cube import Array, Cube, coordinate_of
from hpsearch.spec.priors import Confidence

#: standard deviation of the best value around a prior, in units of the range (as in NePS)
SPREAD: dict[Confidence, float] = {"low": 0.5, "medium": 0.25, "high": 0.125}
#: how much likelier the choice that is a prior is than each of the others
ODDS: dict[Confidence, float] = {"low": 2.0, "medium": 4.0, "high": 8.0}
#: expected gain in score of a configuration at the prior over a random one, and its uncertainty;
#: in standard deviations of the scores
TREND: dict[Confidence, float] = {"low": 0.35, "medium": 0.7, "high": 1.0}
#: random points that are drawn from the priors
SHARE = 0.5
#: points far from a prior all count alike: the density has this floor
FLOOR = 0.1


class Priors:
    """The priors of a search space, over the points of its cube."""

    def __init__(self, cube: Cube) -> None:
        self._cube = cube
        known = [(i, p) for i, p in enumerate(cube.parameters) if p.prior is not None]
        self._columns = np.array([i for i, _ in known], int)
        priors = [p.prior for _, p in known if p.prior is not None]
        self._modes = np.array(
            [
                coordinate_of(parameter.distribution, prior.value)
                for (_, parameter), prior in zip(known, priors, strict=True)
            ]
        )
        self._is_categorical = cube.is_categorical[self._columns]
        self._num_choices = cube.num_cells[self._columns]
        self._spread = np.array([SPREAD[prior.confidence] for prior in priors])
        self._odds = np.array([ODDS[prior.confidence] for prior in priors])
        gains = np.array([TREND[prior.confidence] for prior in priors])
        #: the weights of `features` that are expected
        self.expected = gains / math.sqrt(max(1, len(priors)))
        self._mean, self._deviation = self._moments()

    def __bool__(self) -> bool:
        return len(self._columns) > 0

    def drawn(self, rng: np.random.Generator, num_points: int, trust: float = 1.0) -> Array:
        """Return random points (num_points, num_parameters), a part of them from the priors.

        The others are uniform, so that wrong priors leave no region out. The part shrinks with
        the `trust`, of 1 to 0, that results leave to the priors.
        """
        points = rng.random((num_points, self._cube.size))
        if not self:
            return points
        is_near = rng.random(num_points) < SHARE * trust
        return np.where(is_near[:, None], self.moved(points), points)

    def moved(self, points: Array) -> Array:
        """Return uniform points (num_points, num_parameters), moved to be draws from the priors.

        Each coordinate goes through the quantile function of its prior, a normal distribution
        that is truncated to the range, or the odds of the choices.
        """
        moved = points.copy()
        for j, column in enumerate(self._columns):
            drawn = self._chosen if self._is_categorical[j] else self._near
            moved[:, column] = drawn(points[:, column], j)
        return moved

    def as_normal(self, spread: float) -> tuple[Array, Array]:
        """Return mean and standard deviation of each coordinate (num_parameters,).

        0.5 and `spread` where there is no prior.
        """
        means, spreads = np.full((2, self._cube.size), [[0.5], [spread]])
        means[self._columns], spreads[self._columns] = self._modes, self._spread
        return means, spreads

    def shares(self) -> dict[int, Array]:
        """Return the probabilities of the choices of each categorical parameter, by its column."""
        columns = np.flatnonzero(self._cube.is_categorical).tolist()
        weights = {i: np.ones(int(self._cube.num_cells[i])) for i in columns}
        for column, mode, odds in zip(self._columns, self._modes, self._odds, strict=True):
            if column in weights:
                weights[column][int(mode * len(weights[column]))] = odds
        return {column: each / each.sum() for column, each in weights.items()}

    def features(self, points: Array) -> Array:
        """Return how well snapped points agree with each prior, (num_points, num_priors).

        The logarithm of a density with a floor, centred and scaled over the space: a random
        configuration has 0 on average, and where a parameter is inactive it is 0 too.
        """
        u = points[:, self._columns]
        standard = (self._log_density(u) - self._mean) / self._deviation
        agreement: Array = np.where(np.isnan(u), 0.0, standard)
        return agreement

    def _near(self, u: Array, j: int) -> Array:
        from scipy.special import ndtr, ndtri

        mode, spread = self._modes[j], self._spread[j]
        low, high = ndtr(-mode / spread), ndtr((1.0 - mode) / spread)
        drawn: Array = np.clip(mode + spread * ndtri(low + u * (high - low)), 0.0, 1.0)
        return drawn

    def _chosen(self, u: Array, j: int) -> Array:
        num, odds = self._num_choices[j], self._odds[j]
        share = odds / (odds + num - 1.0)
        others = np.floor(np.minimum((u - share) / (1.0 - share), 1.0 - 1e-12) * (num - 1.0))
        mode = np.floor(self._modes[j] * num)
        others = others + (others >= mode)
        chosen: Array = (np.where(u < share, mode, others) + 0.5) / num
        return chosen

    def _log_density(self, u: Array) -> Array:
        far = (u - self._modes) / self._spread
        numeric = np.log(FLOOR + (1.0 - FLOOR) * np.exp(-0.5 * far * far))
        is_mode = np.abs(u - self._modes) < 1e-9
        choice = np.where(is_mode, 0.0, -np.log(self._odds))
        density: Array = np.where(self._is_categorical, choice, numeric)
        return density

    def _moments(self) -> tuple[Array, Array]:
        """Return mean and standard deviation of the log densities over the space."""
        over = [
            (np.arange(num) + 0.5) / num if is_categorical else np.linspace(0.0, 1.0, 201)
            for num, is_categorical in zip(self._num_choices, self._is_categorical, strict=True)
        ]
        values = [self._log_density(u[:, None])[:, j] for j, u in enumerate(over)]
        means, deviations = ([f(each) for each in values] for f in (np.mean, np.std))
        return np.array(means), np.array(deviations)
