"""Initial configurations, tried before the sampler's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from hpsearch.samplers.base import Observation, Sampler
from hpsearch.samplers.unit_cube import value_at
from hpsearch.space import PowersOfTwo, SearchSpace
from hpsearch.spec import Choices, Scalar
from hpsearch.spec.priors import fitting_number, listed

#: keeps the draws that complete a point apart from those of samplers
_COMPLETION = 1


class FirstPoints:
    """Suggests given points first, then those of a sampler, whose trial numbers start there.

    A point maps names of hyperparameters to values; missing ones are drawn at random.
    """

    def __init__(
        self,
        sampler: Sampler,
        points: Sequence[Mapping[str, Any]],
        space: SearchSpace,
        seed: int,
    ) -> None:
        self._sampler = sampler
        self._points = points
        self._space = space
        self._seed = seed

    def suggest(
        self, number: int, observations: Sequence[Observation]
    ) -> dict[str, Scalar] | None:
        """See Sampler."""
        if number >= len(self._points):
            # Counted again, so that a grid or a Sobol sequence loses none of its points.
            return self._sampler.suggest(number - len(self._points), observations)
        rng = np.random.default_rng((self._seed, number, _COMPLETION))
        return completed(self._points[number], self._space, rng)


def completed(
    point: Mapping[str, Any], space: SearchSpace, rng: np.random.Generator
) -> dict[str, Scalar]:
    """Return a configuration with the values of a point that lies in the space.

    A value for a parameter inside a choice implies that choice. All others are drawn.
    """
    conditions = {parameter.name: parameter.condition for parameter in space.parameters}
    implied = {parent: value for name in point for parent, value in conditions[name]}
    named = {**implied, **point}
    params: dict[str, Scalar] = {}
    for parameter in space.parameters:
        name, coordinate = parameter.name, rng.random()  # one a parameter, needed or not
        if not parameter.is_active(params):
            continue
        if name in named:
            params[name] = fitting_value(parameter.distribution, named[name])
        else:
            params[name] = value_at(parameter.distribution, coordinate)
    return params


def fitting_value(distribution: BaseDistribution, value: Any) -> Scalar:
    """Return a value in its distribution's type; ValueError with the rule that it breaks.

    An integer is a valid real number, and a list stands for the choice that equals it.
    """
    if isinstance(distribution, CategoricalDistribution):
        return _fitting_choice(distribution, value)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high, step = distribution.low, distribution.high, distribution.step
    is_integer = isinstance(distribution, IntDistribution)
    is_power = isinstance(distribution, PowersOfTwo)
    return fitting_number(value, low, high, step, is_integer, is_power)


def _fitting_choice(distribution: CategoricalDistribution, value: Any) -> Scalar:
    label = Choices(choices=(value,)).labels[0] if isinstance(value, list | tuple) else value
    for choice in distribution.choices:
        if choice == label and type(choice) is type(label):
            fitting: Scalar = choice
            return fitting
    raise ValueError(f"must be one of {listed(distribution.choices)}")
