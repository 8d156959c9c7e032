"""CMA-ES for mixed search spaces: CatCMA, replayed from the observations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hpsearch.registry import register
from hpsearch.samplers.base import ONE_OBJECTIVE, Direction, Observation, integer_seed
from hpsearch.samplers.fidelity import rank
from hpsearch.samplers.priors import Priors
from hpsearch.samplers.unit_cube import Array, Cube
from hpsearch.space import SearchSpace
from hpsearch.spec import Scalar

if TYPE_CHECKING:
    from cmaes import CatCMA


@register("sampler", "cmaes", traits={ONE_OBJECTIVE: True})
class CatCMASampler:
    """CMA-ES over numbers and categories (CatCMA, Hamano et al., GECCO 2024).

    Samplers are stateless, so each suggestion replays the ended trials through a new optimizer,
    one population after another, ranked as in successive halving (CMA-ES uses ranks only).
    Inactive parameters are sampled by the optimizer itself, which leaves their distribution
    unchanged. Priors are the mean, the standard deviations and the probabilities that it starts
    from.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int,
        direction: Direction,
        rungs: Sequence[int],
        population_size: int | None = None,
        sigma: float = 0.25,
    ) -> None:
        self._cube = Cube(space)
        self._priors = Priors(self._cube)
        self._seed = seed
        self._direction = direction
        self._rungs = rungs
        self._population_size = population_size
        self._sigma = sigma
        choices = self._cube.is_categorical & (self._cube.num_cells > 1)
        self._numeric = np.flatnonzero(~self._cube.is_categorical)
        self._categorical = np.flatnonzero(choices)
        self._num_choices = self._cube.num_cells[self._categorical].astype(int)

    def suggest(self, number: int, observations: Sequence[Observation]) -> dict[str, Scalar]:
        """See Sampler."""
        optimizer = self._optimizer()
        ended = sorted((t for t in observations if t.state != "running"), key=lambda t: t.number)
        size = optimizer.population_size
        for start in range(0, len(ended) - size + 1, size):
            ranked = rank(ended[start : start + size], self._rungs, self._direction)
            optimizer.tell(
                [(self._solution(t, optimizer), float(i)) for i, t in enumerate(ranked)]
            )
        optimizer.reseed_rng(integer_seed(self._seed, number))
        return self._cube.params(self._point(*optimizer.ask()))

    def _optimizer(self) -> CatCMA:
        from cmaes import CatCMA  # with scipy.stats, which takes half a second

        # CatCMA wants two numbers and one category at least: unused ones make up for them.
        num_numeric = max(len(self._numeric), 2)
        num_unused = num_numeric - len(self._numeric)
        mean, spread = (each[self._numeric] for each in self._priors.as_normal(self._sigma))
        return CatCMA(
            mean=np.append(mean, np.full(num_unused, 0.5)),
            sigma=self._sigma,
            cov=np.diag(np.append((spread / self._sigma) ** 2, np.ones(num_unused))),
            cat_num=self._num_choices if len(self._num_choices) else np.array([2]),
            cat_param=self._probabilities(),
            bounds=np.tile([0.0, 1.0], (num_numeric, 1)),
            population_size=self._population_size,
            seed=self._seed,
        )

    def _probabilities(self) -> Array | None:
        """Return what choices begin with, (num_categorical, max_choices); None: all alike."""
        if not self._priors or not len(self._num_choices):
            return None
        shares = self._priors.shares()
        padded = np.zeros((len(self._num_choices), self._num_choices.max()))
        for row, column in enumerate(self._categorical.tolist()):
            padded[row, : self._num_choices[row]] = shares[column]
        return padded

    def _solution(self, trial: Observation, optimizer: CatCMA) -> tuple[Array, Array]:
        numbers, categories = optimizer.ask()
        point = self._cube.point(trial.params)
        for i, coordinate in enumerate(point[self._numeric]):
            if not np.isnan(coordinate):
                numbers[i] = coordinate
        for i, coordinate in enumerate(point[self._categorical]):
            if not np.isnan(coordinate):
                categories[i] = False
                categories[i, int(coordinate * self._num_choices[i])] = True
        return numbers, categories

    def _point(self, numbers: Array, categories: Array) -> Array:
        point = np.full(self._cube.size, 0.5)
        point[self._numeric] = numbers[: len(self._numeric)]
        if len(self._categorical):
            point[self._categorical] = (categories.argmax(axis=1) + 0.5) / self._num_choices
        return point
