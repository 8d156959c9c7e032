"""Legal values of a keyword other than the one it has, far from it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from hpsearch import registry
from hpsearch.registry import ComponentOf, MetricName, Recommended
from hpsearch.validation.signatures import check_value


def other_values(parameter: inspect.Parameter, now: Any, component: str) -> Iterator[Any]:
    """Yield legal values for a component's keyword in the order in which they are to be tried.

    Of numbers one is enough; of a few named values (`is_choice`) all are to be tried.
    """
    if (of := registry.marked(parameter, ComponentOf)) is not None:
        yield from _components(of, now, component)
    elif registry.marked(parameter, MetricName) is not None:
        yield "train_accuracy"
    else:
        for value in _candidates(parameter, now):
            is_same = value == now and type(value) is type(now)
            if not is_same and not check_value(value, parameter.annotation, ""):
                yield value


def is_choice(parameter: inspect.Parameter) -> bool:
    """Whether a keyword takes one of a few named values."""
    return bool(_named(parameter.annotation))


def _components(of: ComponentOf, now: Any, component: str) -> Iterator[Any]:
    """Yield other components of the family, written as the keyword wants them."""
    is_one = now not in (None, ()) and not of.many and not of.mapped
    name = of.written_out(now)["name"] if is_one else None
    for each in registry.names(of.family):
        if each not in (name, component):
            yield [each] if of.many else {"*": each} if of.mapped else each


def _named(annotation: Any) -> list[Any]:
    if annotation is bool:
        return [False, True]
    parts = get_args(annotation)
    if get_origin(annotation) is Literal:
        return list(parts)
    return [value for part in parts for value in _named(part)]


def _candidates(parameter: inspect.Parameter, now: Any) -> Iterator[Any]:
    if named := _named(parameter.annotation):
        yield from named
    elif isinstance(now, list | tuple):
        yield [2 * value if isinstance(value, int | float) else value for value in now]
    elif int in _types(parameter.annotation):
        yield from (0, 1, 2, (now or 2) + 1)
    else:
        yield from _numbers(registry.marked(parameter, Recommended), float(now or 0.0))


def _types(annotation: Any) -> set[Any]:
    return {annotation}.union(*map(_types, get_args(annotation)))


def _numbers(mark: Recommended | None, now: float) -> Iterator[float]:
    """Yield first the end of the recommended range that is farther away."""
    if mark is not None:
        yield from sorted((mark.low, mark.high), key=lambda end: -_distance(mark, end, now))
    if 0 < now < 0.01:
        yield min(now * 1e4, 1.0)
    yield from (now / 2, now * 2, now + 0.5, 0.5)


def _distance(mark: Recommended, end: float, now: float) -> float:
    return abs(math.log(end / now)) if mark.log and now else abs(end - now)
