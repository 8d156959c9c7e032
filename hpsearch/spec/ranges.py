"""Ranges and choices of a space that is written in Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def Float(low: float, high: float, *, log: bool = False, step: float | None = None) -> Any:
    """Real numbers from `low` to `high`, both included.

    >>> Float(1e-4, 1, log=True)
    {'low': 0.0001, 'high': 1.0, 'log': True}
    """
    return _range(float(low), float(high), log, None if step is None else float(step))


def Int(low: int, high: int, *, log: bool = False, step: int | None = None) -> Any:
    """Whole numbers from `low` to `high`, both included.

    >>> Int(1, 5)
    {'low': 1, 'high': 5}
    """
    return _range(low, high, log, step)


def Choice(choices: Sequence[Any]) -> Any:
    """One of several values, each of which may hold ranges and choices of its own.

    >>> Choice(["sgd", {"name": "adam", "beta1": Float(0.8, 0.99)}])
    {'choices': ['sgd', {'name': 'adam', 'beta1': {'low': 0.8, 'high': 0.99}}]}
    """
    return {"choices": list(choices)}


def _range(low: float, high: float, log: bool, step: float | None) -> dict[str, Any]:
    more = {"log": log or None, "step": step}
    return {"low": low, "high": high, **{k: v for k, v in more.items() if v is not None}}
