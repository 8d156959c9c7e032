"""Population-based training: what a member that has copied another changes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
from annotated_types import Interval as Bounds
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from hpsearch.errors import ComponentError
from hpsearch.registry import register
from hpsearch.samplers.base import ONE_OBJECTIVE, Observation, generator
from hpsearch.samplers.population import (
    Exploit,
    Interval,
    PopulationSampler,
    mutable_parameters,
)
from hpsearch.samplers.space_filling import RandomSampler
from hpsearch.samplers.unit_cube import value_at
from hpsearch.space import PowersOfTwo, SearchSpace
from hpsearch.spec import Scalar
from hpsearch.spec.stopping import MAX_EPOCHS

MAX_POPULATION = 10_000
Population = Annotated[int, Bounds(ge=2, le=MAX_POPULATION)]
PerturbationInterval = Annotated[int, Bounds(ge=1, le=MAX_EPOCHS)]
QuantileFraction = Annotated[float, Bounds(gt=0, le=0.5)]


class RandomPopulation(PopulationSampler):
    """A population whose first members are drawn at random."""

    def __init__(
        self,
        space: SearchSpace,
        seed: int,
        population: int,
        perturbation_interval: int,
        quantile_fraction: float,
    ) -> None:
        self.population = population
        self.perturbation_interval = perturbation_interval
        self.quantile_fraction = quantile_fraction
        self._first = RandomSampler(space, seed)
        self._seed = seed

    def suggest(self, number: int, observations: Sequence[Observation]) -> dict[str, Scalar]:
        """See Sampler."""
        return self._first.suggest(number, observations)


@register("sampler", "pbt", traits={ONE_OBJECTIVE: True})
class PBTSampler(RandomPopulation):
    """Population-based training: the worst trials copy the best (Jaderberg et al., 2017).

    After every `perturbation_interval` epochs they copy weights and hyperparameters, and change
    these. A fraction copies, `quantile_fraction` (see `truncation_selection`). A number is drawn
    anew with `resample_probability`, else multiplied by one of the `perturbation_factors`; of
    choices a neighbour is taken. The first `population` members are random, with priors if there
    are any. `hyperparam_mutations` names what may change, by default all that can.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int,
        population: Population = 8,
        perturbation_interval: PerturbationInterval = 3,
        quantile_fraction: QuantileFraction = 0.25,
        resample_probability: Annotated[float, Bounds(ge=0, le=1)] = 0.25,
        perturbation_factors: Sequence[float] = (1.2, 0.8),
        hyperparam_mutations: Sequence[str] | None = None,
    ) -> None:
        if not perturbation_factors or min(perturbation_factors) <= 0:
            rule = "must be numbers above 0"
            value = list(perturbation_factors)
            raise ComponentError(rule, value, keyword="perturbation_factors")
        super().__init__(space, seed, population, perturbation_interval, quantile_fraction)
        self._resample_probability = resample_probability
        self._factors = list(perturbation_factors)
        self._mutable = mutable_parameters(space, hyperparam_mutations)

    def explore(
        self,
        number: int,
        exploit: Exploit,
        epoch: int,
        intervals: Sequence[Interval],
        pending: Sequence[Mapping[str, Scalar]],
    ) -> dict[str, Scalar]:
        """See PopulationSampler; only the source and the seed matter."""
        rng = generator(self._seed, number)
        params = dict(exploit.source.params)
        for parameter in self._mutable:
            # as many draws for each, so that those of one don't depend on another's
            coordinate, chance, factor = rng.random(), rng.random(), rng.choice(self._factors)
            if parameter.name not in params:
                continue
            if chance < self._resample_probability:
                params[parameter.name] = value_at(parameter.distribution, coordinate)
            else:
                value = params[parameter.name]
                params[parameter.name] = perturbed(parameter.distribution, value, factor)
        return params


def perturbed(distribution: BaseDistribution, value: Scalar, factor: float) -> Scalar:
    """Return a value times a factor, within its range and on its grid; of choices the next larger
    one, or the next smaller one for a factor below 1. Whole numbers move by 1 at least, powers of
    two by a factor of 2.

    >>> perturbed(FloatDistribution(0.0, 1.0), 0.9, 1.2)
    1.0
    >>> perturbed(CategoricalDistribution([16, 64, 32]), 32, 0.8)
    16
    """
    way = 1 if factor > 1 else -1
    if isinstance(distribution, CategoricalDistribution):
        return _neighbour(distribution, value, way)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    assert isinstance(value, int | float)
    if isinstance(distribution, PowersOfTwo):
        steps = round(math.log2(factor)) or (0 if factor == 1 else way)
        return distribution.nearest(value * 2.0**steps)
    low, high, step = distribution.low, distribution.high, distribution.step
    moved = value * factor
    if step is not None:
        steps = round((moved - value) / step) or (0 if value == moved else way)
        moved = value + steps * step
    moved = float(np.clip(moved, low, high))
    return round(moved) if isinstance(distribution, IntDistribution) else moved


def _neighbour(distribution: CategoricalDistribution, value: Scalar, way: int) -> Scalar:
    choices = list(distribution.choices)
    if all(isinstance(choice, int | float) for choice in choices):
        choices.sort(key=float)  # type: ignore[arg-type]
    place = next(i for i, each in enumerate(choices) if each == value)
    chosen: Scalar = choices[min(max(place + way, 0), len(choices) - 1)]
    return chosen
