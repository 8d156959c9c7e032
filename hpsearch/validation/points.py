"""Whether the points that are to be tried first lie in the search space."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hpsearch.errors import Problem, nearest_names
from hpsearch.samplers.first_points import fitting_value
from hpsearch.samplers.shipped_portfolio import OPTIMIZERS, shipped_points
from hpsearch.space import Parameter, SearchSpace
from hpsearch.spec import Scalar, SearchSpec, join
from hpsearch.spec.settings import ALL_ALIKE, PORTFOLIO


def point_problems(spec: SearchSpec) -> Iterator[Problem]:
    """Yield what is wrong with `search.points`: number, names, values, and conditions."""
    points, trials = spec.search.points, spec.search.trials
    if len(points) > trials:
        rule = f"must be at most as many as the trials ({trials})"
        yield Problem("search.points", rule, len(points))
    parameters = {parameter.name: parameter for parameter in SearchSpace.of(spec).parameters}
    for i, point in enumerate(points):
        path = join("search.points", i)
        yield from _name_problems(point, path, parameters)
        values, found = _fitting_values(point, path, parameters)
        yield from found or _condition_problems(values, path, parameters)


def warm_start_problems(spec: SearchSpec) -> Iterator[Problem]:
    """Yield what `search.warm_start` names that isn't another search, or comes twice."""
    names = spec.search.warm_start
    for i, name in enumerate(names):
        path = join("search.warm_start", i)
        if name == spec.name:
            yield Problem(path, "must be another search than this one", name)
        if name == PORTFOLIO and not shipped_points(spec):
            *others, last = OPTIMIZERS
            known = f"{', '.join(others)} or {last}"
            rule = f"must be left out where no learning rate of {known} is searched"
            yield Problem(path, rule, name)
        if name in ALL_ALIKE and len(names) > 1:
            yield Problem(path, "must stand alone: it finds the searches itself", name)
        if name in names[:i]:
            yield Problem(path, "must be named once only", name)


def _name_problems(
    point: Mapping[str, Any], path: str, parameters: Mapping[str, Parameter]
) -> list[Problem]:
    rule = f"must be a hyperparameter that is searched ({', '.join(parameters) or 'none is'})"
    return [
        Problem(join(path, name), rule, name, nearest_names(name, parameters))
        for name in point
        if name not in parameters
    ]


def _fitting_values(
    point: Mapping[str, Any], path: str, parameters: Mapping[str, Parameter]
) -> tuple[dict[str, Scalar], list[Problem]]:
    values, problems = {}, []
    for name in point:
        if name not in parameters:
            continue
        distribution = parameters[name].distribution
        try:
            values[name] = fitting_value(distribution, point[name])
        except ValueError as error:
            texts = [c for c in getattr(distribution, "choices", ()) if isinstance(c, str)]
            nearest = nearest_names(point[name], texts)
            problems.append(Problem(join(path, name), str(error), point[name], nearest))
    return values, problems


def _condition_problems(
    values: Mapping[str, Scalar], path: str, parameters: Mapping[str, Parameter]
) -> list[Problem]:
    """Check that what the values stand below is chosen, or may be: no two choices at once."""
    chosen = {name: (value, name) for name, value in values.items()}
    problems = []
    for name in values:
        for parent, needed in parameters[name].condition:
            value, by = chosen.setdefault(parent, (needed, name))
            if value == needed and type(value) is type(needed):
                continue
            rule = f"must be given only where {parent} is {needed!r}"
            got = value if by == parent else f"{value} (set by {by})"
            problems.append(Problem(join(path, name), rule, got))
            break
    return problems
