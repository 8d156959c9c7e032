"""What a user expects of a range or of choices: a value likely to be good, and how surely."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal, get_args

from hpsearch.errors import Problem, nearest_names
from hpsearch.spec.powers import is_power_of_two

Confidence = Literal["low", "medium", "high"]
CONFIDENCES: tuple[Confidence, ...] = get_args(Confidence)
DEFAULT_CONFIDENCE: Confidence = "medium"
#: keys that may stand beside the ends of a range, and beside choices
PRIOR_KEYS = ("prior", "confidence")
#: characters of a choice's YAML that an error shows
_SHOWN = 40


def fitting_number(
    value: Any,
    low: float,
    high: float,
    step: float | None,
    is_integer: bool,
    powers_of_two: bool = False,
) -> int | float:
    """Return a number of a range in the range's type; ValueError with the rule that it breaks."""
    kinds = (int,) if is_integer else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not math.isfinite(value):
        raise ValueError("must be an integer" if is_integer else "must be a number")
    if not low <= value <= high:
        raise ValueError(f"must be from {low:g} to {high:g}")
    if step and (Decimal(str(value)) - Decimal(str(low))) % Decimal(str(step)):
        raise ValueError(f"must be {low:g} plus a multiple of {step:g}")
    if powers_of_two and not is_power_of_two(value):
        raise ValueError("must be a power of two")
    return value if is_integer else float(value)


def range_prior_problems(value: Mapping[str, Any], path: str) -> Iterator[Problem]:
    """Yield what is wrong with the prior of a range whose ends and step are right."""
    yield from confidence_problems(value, path)
    if "prior" not in value:
        return
    low, high, step = value["low"], value["high"], value.get("step")
    is_integer = isinstance(low, int) and isinstance(high, int) and isinstance(step, int | None)
    try:
        powers_of_two = value.get("powers_of_two", False)
        fitting_number(value["prior"], low, high, step, is_integer, powers_of_two)
    except ValueError as error:
        yield Problem(f"{path}.prior", str(error), value["prior"])


def choice_prior_problems(
    value: Mapping[str, Any], labels: Sequence[Any], path: str
) -> Iterator[Problem]:
    """Yield what is wrong with the prior of choices that have these labels."""
    yield from confidence_problems(value, path)
    if "prior" not in value:
        return
    prior, place = value["prior"], f"{path}.prior"
    if not any(_is_same(prior, label) for label in labels):
        texts = [label for label in labels if isinstance(label, str)]
        rule = f"must be one of {listed(labels)}"
        yield Problem(place, rule, prior, nearest_names(prior, texts))
    elif len(labels) == 1:
        yield Problem(place, "must be left out where there is one choice only", prior)


def listed(labels: Sequence[Any]) -> str:
    """Write labels for an error; of a list of components, whose label is YAML, as much as tells.

    >>> listed([None, "sgd", "[{name: train, task: reconstruction, epochs: 2}]"])
    "None, 'sgd', '[{name: train, task: reconstruction, epo…'"
    """
    shown = (
        f"{each[:_SHOWN]}…" if str(each)[:1] in "[{" and len(each) > _SHOWN else each
        for each in labels
    )
    return ", ".join(map(repr, shown))


def index_of(prior: Any, labels: Sequence[Any]) -> int | None:
    """Return which of the labels a prior is, if it is one."""
    return next((i for i, label in enumerate(labels) if _is_same(prior, label)), None)


def confidence_problems(value: Mapping[str, Any], path: str) -> Iterator[Problem]:
    """Yield what is wrong with the confidence beside a prior."""
    if "confidence" not in value:
        return
    place, confidence = f"{path}.confidence", value["confidence"]
    if confidence not in CONFIDENCES:
        rule = f"must be {', '.join(CONFIDENCES[:-1])} or {CONFIDENCES[-1]}"
        yield Problem(place, rule, confidence, nearest_names(confidence, CONFIDENCES))
    if "prior" not in value:
        yield Problem(place, "must be given with a prior only", confidence)


def _is_same(a: Any, b: Any) -> bool:
    """Whether two scalars are one choice: 1, 1.0 and true are three."""
    return type(a) is type(b) and bool(a == b)
