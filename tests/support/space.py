"""Draws from search spaces."""

from __future__ import annotations

import random

from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from hpsearch.space import PowersOfTwo, SearchSpace
from hpsearch.spec import Scalar


def draw(space: SearchSpace, rng: random.Random) -> dict[str, Scalar]:
    """Draw one configuration, parameter by parameter."""
    params: dict[str, Scalar] = {}
    for parameter in space.parameters:
        if not parameter.is_active(params):
            continue
        distribution = parameter.distribution
        if isinstance(distribution, CategoricalDistribution):
            params[parameter.name] = rng.choice(distribution.choices)
        elif isinstance(distribution, PowersOfTwo):
            params[parameter.name] = 2 ** rng.randint(*distribution.exponents)
        elif isinstance(distribution, IntDistribution):
            steps = (distribution.high - distribution.low) // distribution.step
            params[parameter.name] = distribution.low + rng.randint(0, steps) * distribution.step
        elif isinstance(distribution, FloatDistribution):
            params[parameter.name] = rng.uniform(distribution.low, distribution.high)
    return params
