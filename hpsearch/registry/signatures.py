"""What a factory's signature says: types, and marks beside them in its annotations."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar, get_args

Factory = Callable[..., Any]
_Mark = TypeVar("_Mark")


@dataclass(frozen=True)
class Recommended:
    """The range of a keyword that searches begin with: `auto` or `{}` in a spec stands for it.

    Its prior is the keyword's default, or `prior` where that lies outside.
    """

    low: float
    high: float
    log: bool = False
    prior: float | None = None

    def to_dict(self, default: Any = None) -> dict[str, Any]:
        """Return the range as a spec would write it, for a keyword with this default."""
        prior = self._usual(default)
        return {
            "low": self.low,
            "high": self.high,
            **({"log": True} if self.log else {}),
            **({} if prior is None else {"prior": prior, "confidence": "low"}),
        }

    def _usual(self, default: Any) -> float | None:
        is_number = isinstance(default, int | float) and not isinstance(default, bool)
        fits = is_number and self.low <= default <= self.high
        return default if fits else self.prior


@dataclass(frozen=True)
class KerasDefault:
    """What Keras has where a keyword, or a section, isn't given: see `defaults` of a spec.

    All are those of Keras 3.15.1: of its constructors, or of `Model.fit`.
    """

    value: Any


@dataclass(frozen=True)
class MetricName:
    """Marks a keyword that is the name of a metric of every epoch."""


def parameters_of(factory: Factory) -> dict[str, inspect.Parameter]:
    """Return a factory's parameters by name, their annotations evaluated if they can be."""
    try:
        signature = inspect.signature(factory, eval_str=True)
    except NameError:  # a name that is imported for type checkers only
        signature = inspect.signature(factory)
    return dict(signature.parameters)


def marked(parameter: inspect.Parameter, kind: type[_Mark]) -> _Mark | None:
    """Return the mark of this kind in a parameter's annotation, at any depth of a union."""
    return _mark_in(parameter.annotation, kind)


def _mark_in(annotation: Any, kind: type[_Mark]) -> _Mark | None:
    if isinstance(annotation, kind):
        return annotation
    marks = (_mark_in(part, kind) for part in get_args(annotation))
    return next((mark for mark in marks if mark is not None), None)


def is_real(parameter: inspect.Parameter) -> bool:
    """Whether a parameter's numbers are real ones."""
    types = set(_types_in(parameter.annotation))
    return float in types and int not in types


def _types_in(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in get_args(annotation):
        yield from _types_in(part)


def as_real(value: Any) -> Any:
    """Return a whole number, or those of a list, as real ones."""
    if isinstance(value, list):
        return [as_real(item) for item in value]
    return float(value) if type(value) is int else value
