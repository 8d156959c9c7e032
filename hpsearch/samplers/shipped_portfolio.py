"""The portfolio that comes with hpsearch: settings of SGD that did well on other data.

torch's defaults of SGD, a learning rate of 0.001 without momentum, are far from what works.
`shipped_portfolio.json` is learned by `python -m benchmarks.portfolio` from real curves of small
nets. Its members say learning rate, momentum, batch size and dropout; all else is drawn at random.
Adam's default configuration is good already: members learned likewise made searches no better.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from hpsearch import registry
from hpsearch.samplers.unit_cube import coordinate_of, value_at
from hpsearch.space import Parameter, SearchSpace
from hpsearch.spec import Choices, Scalar, SearchSpec, Tree, join

PATH = Path(__file__).with_suffix(".json")
#: members that are learned, and points that a search takes at most
SIZE = 6
#: the optimizers that they are for
OPTIMIZERS = ("sgd", "momentum", "nesterov")
#: a momentum that differs by more asks for another learning rate
MOMENTUM_TOLERANCE = 0.05

Member = Mapping[str, float]


@cache
def members() -> list[Member]:
    """Return the members, the most useful first."""
    found: list[Member] = json.loads(PATH.read_text())
    return found


def shipped_points(spec: SearchSpec) -> list[dict[str, Scalar]]:
    """Return the members as points of a search space, at most a quarter of its trials.

    None where no learning rate of SGD is searched. A member whose learning rate or momentum the
    space doesn't have is left out; batch size and dropout are moved into their ranges.
    """
    parameters = {parameter.name: parameter for parameter in SearchSpace.of(spec).parameters}
    by_optimizer = [
        list(_points(path, tree, parameters)) for path, tree in _optimizers(spec, parameters)
    ]
    points: list[dict[str, Scalar]] = []
    for point in chain.from_iterable(zip_longest(*by_optimizer)):
        if point is not None and point not in points:
            points.append(point)
    return points[: min(SIZE, max(1, spec.search.trials // 4))]


def _optimizers(
    spec: SearchSpec, parameters: Mapping[str, Parameter]
) -> Iterator[tuple[str, Mapping[str, Tree]]]:
    """Yield the paths and trees of optimizers that the members are for and whose learning rate is
    searched."""
    tree = spec.trial_sections.get("optimizer")
    branches = [("optimizer", tree)]
    if isinstance(tree, Choices):
        branches = [
            (join("optimizer", label), choice)
            for label, choice in zip(tree.labels, tree.choices, strict=True)
        ]
    for path, branch in branches:
        if not isinstance(branch, Mapping) or join(path, "lr") not in parameters:
            continue
        if branch.get("name") in OPTIMIZERS:
            yield path, branch


def _points(
    path: str, tree: Mapping[str, Tree], parameters: Mapping[str, Parameter]
) -> Iterator[dict[str, Scalar]]:
    """Yield the members, as far as they fit an optimizer."""
    lr, momentum = parameters[join(path, "lr")], parameters.get(join(path, "momentum"))
    places: dict[str, list[Parameter | None]] = {
        "lr": [lr],
        "momentum": [momentum],
        "batch_size": [parameters.get("batch_size")],
        "dropout": [each for each in parameters.values() if _is_dropout(each)],
    }
    for member in members():
        if not _contains(lr.distribution, member["lr"]):
            continue
        if not _has_momentum(member["momentum"], momentum, tree):
            continue
        values = {
            parameter.name: _nearest(parameter.distribution, value)
            for keyword, value in member.items()
            for parameter in places[keyword]
            if parameter is not None
        }
        yield {name: value for name, value in values.items() if value is not None}


def _is_dropout(parameter: Parameter) -> bool:
    """Whether a parameter is the dropout of every model that is searched."""
    path = parameter.name.split(".")
    return path[0] == "model" and path[-1] == "dropout" and not parameter.condition


def _has_momentum(wanted: float, searched: Parameter | None, tree: Mapping[str, Tree]) -> bool:
    """Whether an optimizer has about this momentum, or may have it."""
    nearest: Any
    if searched is not None:
        nearest = _nearest(searched.distribution, wanted)
    else:
        keywords = registry.get("optimizer", str(tree["name"])).keywords
        nearest = tree.get("momentum", keywords["momentum"].default)
    return nearest is not None and abs(float(nearest) - wanted) <= MOMENTUM_TOLERANCE


def _contains(distribution: BaseDistribution, value: float) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        numbers = _numbers(distribution)
        return bool(numbers) and min(numbers) <= value <= max(numbers)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return distribution.low <= value <= distribution.high


def _nearest(distribution: BaseDistribution, value: float) -> Scalar | None:
    """Return the nearest value of a distribution; None for choices without numbers."""
    if isinstance(distribution, CategoricalDistribution):
        numbers = _numbers(distribution)
        is_by_ratio = value > 0 and all(number > 0 for number in numbers)
        scale = math.log if is_by_ratio else float
        return min(numbers, key=lambda number: abs(scale(number) - scale(value)), default=None)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    inside = min(max(value, distribution.low), distribution.high)
    if isinstance(distribution, FloatDistribution) and distribution.step is None:
        return inside
    return value_at(distribution, coordinate_of(distribution, inside))


def _numbers(distribution: CategoricalDistribution) -> list[int | float]:
    return [c for c in distribution.choices if isinstance(c, int | float) and type(c) is not bool]
