"""Ranges and choices of a space that is written in Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hpsearch.spec.priors import Confidence


def Float(
    low: float,
    high: float,
    *,
    log: bool = False,
    step: float | None = None,
    prior: float | None = None,
    confidence: Confidence | None = None,
) -> Any:
    """Real numbers from `low` to `high`, both included; the best is expected near the `prior`.

    >>> Float(1e-4, 1, log=True, prior=0.01)
    {'low': 0.0001, 'high': 1.0, 'log': True, 'prior': 0.01}
    """
    more = {"log": log or None, "step": step, "prior": prior, "confidence": confidence}
    return {"low": float(low), "high": float(high), **_given(more)}


def Int(
    low: int,
    high: int,
    *,
    log: bool = False,
    step: int | None = None,
    powers_of_two: bool = False,
    prior: int | None = None,
    confidence: Confidence | None = None,
) -> Any:
    """Whole numbers from `low` to `high`, both included; the best is expected near the `prior`.

    >>> Int(1, 5)
    {'low': 1, 'high': 5}
    >>> Int(16, 256, powers_of_two=True)
    {'low': 16, 'high': 256, 'powers_of_two': True}
    """
    more = {
        "log": log or None,
        "step": step,
        "powers_of_two": powers_of_two or None,
        "prior": prior,
        "confidence": confidence,
    }
    return {"low": low, "high": high, **_given(more)}


#: no choice is expected to be good; None may be a choice
_NO_PRIOR = object()


def Choice(
    choices: Sequence[Any], *, prior: Any = _NO_PRIOR, confidence: Confidence | None = None
) -> Any:
    """One of several values, each of which may hold ranges and choices of its own.

    The `prior` is the choice that is expected to be the best, or its name.

    >>> Choice(["sgd", {"name": "adam", "beta1": Float(0.8, 0.99)}], prior="adam")
    {'choices': ['sgd', {'name': 'adam', 'beta1': {'low': 0.8, 'high': 0.99}}], 'prior': 'adam'}
    """
    given = {} if prior is _NO_PRIOR else {"prior": prior}
    return {"choices": list(choices), **given, **_given({"confidence": confidence})}


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
