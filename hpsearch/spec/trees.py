"""Trees of constants, ranges and choices: what a spec says of a trial."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field

from hpsearch.errors import Problem, nearest_names
from hpsearch.spec.powers import is_power_of_two, powers_of_two
from hpsearch.spec.priors import (
    DEFAULT_CONFIDENCE,
    PRIOR_KEYS,
    Confidence,
    choice_prior_problems,
    confidence_problems,
    index_of,
    range_prior_problems,
)

#: of an integer range: samplers compute with 64-bit floats
MAX_INTEGER = 2**53
MAX_STEPS = 1_000_000_000
Scalar = str | int | float | bool | None


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Range(Frozen):
    """Numbers from `low` to `high`, both included; integers when both ends are."""

    low: int | float = Field(description="the lower end, included")
    high: int | float = Field(description="the upper end, included")
    log: bool = Field(False, description="search on a logarithmic scale")
    step: int | float | None = Field(None, description="the distance between two values")
    powers_of_two: bool = Field(
        False, description="powers of two only, on a logarithmic scale; both ends are such"
    )
    prior: int | float | None = Field(
        None, description="a value that is expected to be good: trials begin with it and near it"
    )
    confidence: Confidence = Field(
        DEFAULT_CONFIDENCE, description="how surely the best value is near the prior"
    )

    @property
    def is_integer(self) -> bool:
        """Whether the range holds integers only."""
        return is_integer_range(self.low, self.high)

    @property
    def whole_numbers(self) -> Sequence[int]:
        """The whole numbers that it holds, ascending."""
        if self.powers_of_two:
            return powers_of_two(self.low, self.high)
        step = max(1, int(self.step or 1))
        return range(math.ceil(self.low), math.floor(self.high) + 1, step)


class Choices(Frozen):
    """One of several values, each of which may hold ranges of its own."""

    choices: tuple[Any, ...]
    #: the index of the choice that is expected to be good
    prior_index: int | None = None
    confidence: Confidence = DEFAULT_CONFIDENCE

    @property
    def labels(self) -> tuple[Scalar, ...]:
        """The value that stands for each choice in the record: itself, its name, or its text."""
        return _labels(self.choices)


#: a constant, a range, choices, or a list or mapping of those
Tree = Any


@dataclass(frozen=True)
class Unreadable:
    """Stands in a tree where a problem was found, so that its neighbours can be checked."""

    value: Any


def parse_tree(value: Any, path: str, problems: list[Problem]) -> Tree:
    """Turn plain values into a tree, noting every malformed range or choice in `problems`."""
    if isinstance(value, Range | Choices):
        return value
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            problems.append(Problem(path, "keys must be texts", list(value)))
            return Unreadable(value)
        if "choices" in value:
            return _parse_choices(value, path, problems)
        if "low" in value or "high" in value:
            return _parse_range(value, path, problems)
        return {key: parse_tree(child, join(path, key), problems) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [parse_tree(child, join(path, i), problems) for i, child in enumerate(value)]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    problems.append(Problem(path, "must be a number, text, list or mapping", value))
    return Unreadable(value)


def named(value: object) -> object:
    """Write out a component that is only its name: `relu` is short for `{name: relu}`."""
    return {"name": value} if isinstance(value, str) else value


def _parse_choices(value: Mapping[str, Any], path: str, problems: list[Problem]) -> Tree:
    before = len(problems)
    extra = [key for key in value if key not in ("choices", *PRIOR_KEYS)]
    problems += [Problem(join(path, key), "must not stand beside choices", key) for key in extra]
    choices = value["choices"]
    if not isinstance(choices, list | tuple) or not choices:
        problems.append(Problem(join(path, "choices"), "must be a list of values", choices))
        return Unreadable(value)
    place = join(path, "choices")
    seen: set[object] = set()
    for choice in choices:
        key = _comparable(choice)
        if key in seen:  # 1, 1.0 and true are equal, to Optuna as well
            problems.append(Problem(place, "must differ from each other", choice))
        seen.add(key)
    parsed = tuple(
        parse_tree(choice, join(place, i), problems) for i, choice in enumerate(choices)
    )
    if len(problems) > before:
        return Unreadable(value) if extra else Choices(choices=parsed)
    return _with_prior(Choices(choices=parsed), value, path, problems)


def _with_prior(
    choices: Choices, value: Mapping[str, Any], path: str, problems: list[Problem]
) -> Choices:
    """Return choices with the prior that stands beside them: a choice's value, label or name."""
    given = {key: value[key] for key in PRIOR_KEYS if key in value}
    if "prior" in given:
        given["prior"] = _labels([given["prior"]])[0]
    found = list(choice_prior_problems(given, choices.labels, path))
    problems += found
    if found or "prior" not in given:
        return choices
    index = index_of(given["prior"], choices.labels)
    confidence = given.get("confidence", DEFAULT_CONFIDENCE)
    return choices.model_copy(update={"prior_index": index, "confidence": confidence})


def _comparable(value: Any) -> object:
    """Return what can be hashed, and equals that of another value where the two are equal."""
    if isinstance(value, Mapping):
        return frozenset((key, _comparable(child)) for key, child in value.items())
    return tuple(map(_comparable, value)) if isinstance(value, list | tuple) else value


def _parse_range(value: Mapping[str, Any], path: str, problems: list[Problem]) -> Tree:
    found = [*_range_problems(value, path)]
    if found:
        problems += found
        return Unreadable(value)
    return Range(**value)


def _range_problems(value: Mapping[str, Any], path: str) -> list[Problem]:
    known = ("low", "high", "log", "step", "powers_of_two", *PRIOR_KEYS)
    found = [
        Problem(join(path, key), "must be a key of a range", key, nearest_names(key, known))
        for key in value
        if key not in known
    ]
    for key in ("low", "high", "step"):
        if (key in value and not _is_number(value[key])) or (key not in value and key != "step"):
            found.append(Problem(join(path, key), "must be a finite number", value.get(key)))
    log, step = value.get("log", False), value.get("step")
    for key in ("log", "powers_of_two"):
        if not isinstance(value.get(key, False), bool):
            found.append(Problem(join(path, key), "must be true or false", value[key]))
    if found:
        return [*found, *confidence_problems(value, path)]
    low, high = value["low"], value["high"]
    ends = {"low": low, "high": high}
    if low >= high:
        found.append(Problem(path, "low must be less than high", ends))
    if log and low <= 0:
        found.append(Problem(path, "a log range must have low > 0", ends))
    if is_integer_range(low, high) and max(abs(low), abs(high)) > MAX_INTEGER:
        found.append(Problem(path, f"ends must lie within ±{MAX_INTEGER}", ends))
    if log and step is not None:
        found.append(Problem(path, "log and step exclude each other", dict(value)))
    if step is not None and not 0 < step <= high - low:
        found.append(Problem(path, "step must be > 0 and at most high - low", step))
    elif step is not None and (high - low) / step > MAX_STEPS:
        found.append(Problem(path, f"step must leave at most {MAX_STEPS:,} values", dict(value)))
    elif step is not None and _remainder(high, low, step):
        found.append(Problem(path, "step must divide high - low", dict(value)))
    if value.get("powers_of_two"):
        found += _power_problems(ends, step, path)
    return found or [*range_prior_problems(value, path)]


def _power_problems(ends: Mapping[str, float], step: float | None, path: str) -> Iterator[Problem]:
    if step is not None:
        yield Problem(path, "step and powers_of_two exclude each other", {**ends, "step": step})
    if not all(map(is_power_of_two, ends.values())):
        inside = ", ".join(map(str, powers_of_two(ends["low"], ends["high"]))) or "none"
        rule = f"with powers_of_two both ends must be whole powers of two (it holds {inside})"
        yield Problem(path, rule, dict(ends))


def is_integer_range(low: float, high: float) -> bool:
    """Whether a range with these ends holds integers only."""
    return isinstance(low, int) and isinstance(high, int)


def _remainder(high: float, low: float, step: float) -> Decimal:
    """What is left of high - low after whole steps, in decimals: 0.3 is three times 0.1."""
    return (Decimal(str(high)) - Decimal(str(low))) % Decimal(str(step))


def _is_number(value: object) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) < float("inf")  # false for NaN too
    )


#: the types of pydantic's messages, as YAML has them
_TYPES = {
    "a valid dictionary.*": "a mapping",
    "a valid (?:array|list|tuple)": "a list",
    "a valid boolean": "true or false",
    "a valid integer": "an integer",
    "a valid string": "a text",
    "a valid number": "a number",
    r"^\w+ (should have at (?:least|most) \d+ items?) after validation, not \d+": r"\1",
}


def rule_of(message: str) -> str:
    """Word a message of pydantic as a rule.

    >>> rule_of("Input should be a valid number")
    'must be a number'
    >>> rule_of("List should have at least 2 items after validation, not 1")
    'must have at least 2 items'
    """
    for prefix in ("Value error, ", "Assertion failed, ", "Input ", "String "):
        message = message.removeprefix(prefix)
    for pattern, ours in _TYPES.items():
        message = re.sub(pattern, ours, message)
    message = message.replace("should", "must")
    return message[0].lower() + message[1:]


def join(path: str, key: object) -> str:
    """Join a path of a spec and a key: `optimizer.lr`, `choices.0`."""
    return f"{path}.{key}" if path else str(key)


def to_plain(tree: Tree) -> Any:
    """Turn a tree back into the plain values that a user would have written."""
    if isinstance(tree, Range):
        return tree.model_dump(exclude_defaults=True)
    if isinstance(tree, Choices):
        return {"choices": [to_plain(choice) for choice in tree.choices], **_plain_prior(tree)}
    if isinstance(tree, Mapping):
        return {key: to_plain(child) for key, child in tree.items()}
    if isinstance(tree, list | tuple):
        return [to_plain(child) for child in tree]
    return tree


def _plain_prior(choices: Choices) -> dict[str, Any]:
    if choices.prior_index is None:
        return {}
    prior = {"prior": choices.labels[choices.prior_index]}
    is_default = choices.confidence == DEFAULT_CONFIDENCE
    return prior if is_default else {**prior, "confidence": choices.confidence}


def mapped(tree: Any, leaf: Callable[[Any], Any]) -> Any:
    """Return nested mappings and lists with each of their leaves replaced."""
    if isinstance(tree, Mapping):
        return {key: mapped(child, leaf) for key, child in tree.items()}
    if isinstance(tree, list | tuple):
        return [mapped(child, leaf) for child in tree]
    return leaf(tree)


def _labels(choices: Sequence[Tree]) -> tuple[Scalar, ...]:
    labels: dict[Scalar, None] = {}
    counts: Counter[Scalar] = Counter()
    for choice in choices:
        base = label = _label(choice)
        while label in labels:
            counts[base] += 1
            label = f"{base}#{counts[base] + 1}"
        labels[label] = None
    return tuple(labels)


def _name(tree: Tree) -> str:
    """Return the name of a component, of anything else nothing."""
    name = tree.get("name") if isinstance(tree, Mapping) else None
    return name if isinstance(name, str) else ""


def _is_searched(tree: Tree) -> bool:
    """Whether there are ranges or choices in a tree."""
    if isinstance(tree, Mapping | list):
        return any(map(_is_searched, tree.values() if isinstance(tree, Mapping) else tree))
    return isinstance(tree, Range | Choices)


def _label(choice: Tree) -> Scalar:
    if name := _name(choice):
        return name
    if choice is None or isinstance(choice, str | int | float | bool):
        return choice
    names = [_name(each) for each in choice] if isinstance(choice, list) else []
    if names and all(names) and _is_searched(choice):  # each range has the label in its name
        return ", ".join(names)
    plain = to_plain(choice)
    return yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, width=10**6).strip()
