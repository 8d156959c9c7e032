"""Model-free samplers: random and quasi-random points of the search space."""

from __future__ import annotations

from collections.abc import Sequence

from hpsearch.registry import register
from hpsearch.samplers.base import Observation, generator
from hpsearch.samplers.priors import Priors
from hpsearch.samplers.unit_cube import Cube
from hpsearch.space import SearchSpace
from hpsearch.spec import Scalar


@register("sampler", "random")
class RandomSampler:
    """Independent draws from the search space.

    If there are priors, half of the draws are from them.
    """

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self._cube = Cube(space)
        self._priors = Priors(self._cube)
        self._seed = seed

    def suggest(self, number: int, observations: Sequence[Observation]) -> dict[str, Scalar]:
        """See Sampler."""
        return self._cube.params(self._priors.drawn(generator(self._seed, number), 1)[0])


@register("sampler", "qmc")
class SobolSampler:
    """The Sobol sequence with Owen scrambling: more even than random points.

    Every second point is moved towards the priors, if there are any.
    """

    def __init__(self, space: SearchSpace, seed: int, scramble: bool = True) -> None:
        self._cube = Cube(space)
        self._priors = Priors(self._cube)
        self._seed = seed
        self._scramble = scramble

    def suggest(self, number: int, observations: Sequence[Observation]) -> dict[str, Scalar]:
        """See Sampler."""
        from scipy.stats import qmc  # takes half a second

        sequence = qmc.Sobol(self._cube.size, scramble=self._scramble, rng=self._seed)
        if number:
            sequence.fast_forward(number)
        points = sequence.random(1)
        if self._priors and number % 2 == 0:
            points = self._priors.moved(points)
        return self._cube.params(points[0])
