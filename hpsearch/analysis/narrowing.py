"""Where a search should look next: bounds that its best trials press against, ranges and choices
that they leave aside.

Coordinates are those of a range's scale, from 0 at its low end to 1 at its high end. Thresholds
are defaults of this project; the chances are those of trials that are spread evenly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from hpsearch.analysis.blocks import Code, Section, Table, as_rows
from hpsearch.analysis.leaders import leaders
from hpsearch.formatting import show
from hpsearch.record import Record, TrialRecord
from hpsearch.space import Parameter, PowersOfTwo
from hpsearch.spec import Scalar

#: trials with a result from which on something is said, and of these the best that are looked at
MIN_TRIALS, MIN_TOP, TOP_SHARE = 20, 8, 0.1
#: half of the best in the outer tenth press against that end (1 % of 8 trials by chance)
OUTER, PRESSING = 0.1, 0.5
#: by this part of the range's width it is moved then
EXTENSION = 0.5
#: the best with this margin on both sides, if that is a part of the range (5 %)
MARGIN, NARROW = 0.1, 0.7
#: a choice goes, and a range narrows, where so many would be among the best by the share of
#: trials there, and none is
EXPECTED = 3.0

Numeric = FloatDistribution | IntDistribution


@dataclass(frozen=True)
class NewRange:
    """Another range of a hyperparameter; `is_wider` where an end was moved outwards."""

    name: str
    before: tuple[float, float]
    after: tuple[float, float]
    is_wider: bool
    why: str


@dataclass(frozen=True)
class FewerChoices:
    """Choices of a hyperparameter that stay, by their labels."""

    name: str
    before: tuple[Scalar, ...]
    after: tuple[Scalar, ...]
    why: str


Change = NewRange | FewerChoices


def next_changes(record: Record) -> list[Change]:
    """Return what the next search should search otherwise; empty while there is no telling."""
    ranked = leaders(record)
    if len(ranked) < MIN_TRIALS:
        return []
    top = ranked[: max(MIN_TOP, math.ceil(TOP_SHARE * len(ranked)))]
    found = (_change(parameter, ranked, top) for parameter in record.space.parameters)
    return [change for change in found if change is not None]


def next_section(record: Record) -> list[Section]:
    """Return the changes as a table, if there are any."""
    changes = [] if record.state == "running" else next_changes(record)
    if not changes:
        return []
    rows = as_rows(
        (f"`{each.name}`", _shown(each.before), _shown(each.after), each.why) for each in changes
    )
    command = Code(f"hpsearch next {record.name} > {record.name}-next.yaml")
    table = Table(("hyperparameter", "searched", "next", "why"), rows)
    return [Section("Where to look next", (table, "As a spec that is ready to run:", command))]


def described(change: Change) -> str:
    """`optimizer.lr: 0.001 to 1, next 0.01 to 0.3: the best 8 trials …`."""
    return f"{change.name}: {_shown(change.before)}, next {_shown(change.after)}: {change.why}"


def read_change(plain: Mapping[str, Any]) -> Change:
    """Return the change of which these are the fields, such as JSON has them."""
    ends = {key: tuple(plain[key]) for key in ("before", "after")}
    kind = NewRange if "is_wider" in plain else FewerChoices
    change: Change = kind(**{**plain, **ends})
    return change


def _shown(values: Sequence[Scalar]) -> str:
    is_range = len(values) == 2 and all(isinstance(each, float) for each in values)
    return (" to " if is_range else ", ").join(map(show, values))


def _change(
    parameter: Parameter, ranked: list[TrialRecord], top: list[TrialRecord]
) -> Change | None:
    name, distribution = parameter.name, parameter.distribution
    values = [trial.params[name] for trial in top if name in trial.params]
    if distribution.single() or not values:
        return None
    if isinstance(distribution, CategoricalDistribution):
        tried = [trial.params[name] for trial in ranked if name in trial.params]
        return _fewer_choices(name, distribution, tried, values)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    if len(values) < MIN_TOP or distribution.step not in (None, 1):
        return None
    tried = [trial.params[name] for trial in ranked if name in trial.params]
    return _new_range(name, distribution, _numbers(tried), _numbers(values))


def _fewer_choices(
    name: str, distribution: CategoricalDistribution, tried: list[Scalar], best: list[Scalar]
) -> FewerChoices | None:
    expected = {
        label: len(best) * tried.count(label) / len(tried) for label in distribution.choices
    }
    gone = [label for label in distribution.choices if label not in best]
    gone = [label for label in gone if expected[label] >= EXPECTED]
    if not gone:
        return None
    left = tuple(label for label in distribution.choices if label not in gone)
    counts = ", ".join(f"{show(label)} by {tried.count(label)}" for label in gone)
    why = f"tried by trials, but none of the best {len(best)}: {counts}"
    return FewerChoices(name, tuple(distribution.choices), left, why)


def _numbers(values: list[Scalar]) -> list[float]:
    return [float(value) for value in values if value is not None]


def _new_range(
    name: str, distribution: Numeric, tried: list[float], values: list[float]
) -> NewRange | None:
    low, high = float(distribution.low), float(distribution.high)
    scale = math.log if distribution.log else float
    width = scale(high) - scale(low)
    places, all_places = (
        np.array([(scale(value) - scale(low)) / width for value in each])
        for each in (values, tried)
    )
    ends = [
        (-EXTENSION, "low", float(np.mean(places < OUTER))),
        (1 + EXTENSION, "high", float(np.mean(places > 1 - OUTER))),
    ]
    begin, end = max(0.0, places.min() - MARGIN), min(1.0, places.max() + MARGIN)
    begin, end = (begin, end) if end - begin < NARROW else (0.0, 1.0)
    if not _is_known((all_places < begin) | (all_places > end), len(values)):
        begin, end = 0.0, 1.0
    why = f"the best {len(values)} trials lie from {show(min(values))} to {show(max(values))}"
    pressed = next((each for each in ends if each[2] >= PRESSING), None)
    if pressed is not None:
        place, which, share = pressed
        begin, end = (place, end) if which == "low" else (begin, place)
        why = f"{share:.0%} of the best {len(values)} trials press against the {which} end"
    if (begin, end) == (0.0, 1.0):
        return None
    after = (
        _value(distribution, begin, scale(low), width),
        _value(distribution, end, scale(low), width),
    )
    if not after[0] < after[1] or after == (low, high):
        return None
    return NewRange(name, (low, high), after, pressed is not None, why)


def _is_known(are_outside: NDArray[np.bool_], num_best: int) -> bool:
    """Whether so many were tried outside of a new range that some of the best would be there, were
    it as good as elsewhere: a sampler that has settled early has hardly looked."""
    return bool(num_best * are_outside.mean() >= EXPECTED)


def _value(distribution: Numeric, place: float, first: float, width: float) -> float:
    """Return the value at a place of the scale; an end of the range as it is."""
    if place in (0.0, 1.0):
        return float(distribution.high if place else distribution.low)
    number = first + place * width
    value = math.exp(number) if distribution.log else number
    if isinstance(distribution, PowersOfTwo):
        return 2.0 ** max(round(math.log2(value)), 0)
    if distribution.low >= 0:  # what is never negative stays so
        value = max(value, 0.0)
    is_integer = isinstance(distribution, IntDistribution)
    return float(round(value)) if is_integer else float(f"{value:.2g}")
