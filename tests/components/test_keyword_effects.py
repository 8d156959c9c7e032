"""Every keyword of every component does something, wherever the component may stand.

Two legal values give two trials that differ in a metric, a weight or a prediction (or two data
sets, or suggestions). What is registered later is tested by being there: where its effect needs
something beside it, or can't be seen, `tests/support/effect_tables.py` has to say so.
"""

from __future__ import annotations

import dataclasses
import inspect
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import hpsearch.samplers
import hpsearch.training  # noqa: F401  # all of them are registered
from hpsearch import registry
from hpsearch.errors import HpsearchError, TrialError
from hpsearch.spec import COMPONENT_SECTIONS, SECTIONS, TrialConfig
from tests.support.effect_files import write_files
from tests.support.effect_places import InTrial, places_of
from tests.support.effect_tables import (
    ALIKE,
    CONTEXTS,
    FIELDS,
    NEEDED,
    PLAIN,
    SAME,
    UNSEEN,
    UNSEEN_FIELDS,
    UNSEEN_SECTIONS,
    Context,
    first_pattern,
)
from tests.support.effect_values import is_choice, other_values
from tests.support.effects import TRIAL, Observation, differ, observe_trial

Refusal = (HpsearchError, TrialError)


@dataclass(frozen=True)
class Case:
    """A keyword of a component."""

    family: str
    component: str
    keyword: str

    def __str__(self) -> str:
        return f"{self.family}.{self.component}.{self.keyword}"

    @property
    def parameter(self) -> inspect.Parameter:
        """What its signature says."""
        return registry.get(self.family, self.component).keywords[self.keyword]

    @property
    def context(self) -> Context:
        """What it needs."""
        return CONTEXTS.get(first_pattern(CONTEXTS, str(self)), Context())

    @property
    def section(self) -> dict[str, Any]:
        """The component as it is without the keyword."""
        needed = NEEDED.get(f"{self.family}.{self.component}", {})
        return {"name": self.component, **needed, **self.context.keywords}

    @property
    def now(self) -> Any:
        """The value that it has without the keyword."""
        return self.section.get(self.keyword, self.parameter.default)

    @property
    def values(self) -> Iterator[Any]:
        """Other values than that."""
        yield from self.context.values or other_values(self.parameter, self.now, self.component)

    def observe(self, place: Any, folder: Path, **changed: Any) -> Observation | None:
        """Return what is seen with a value; None where it's refused."""
        try:
            seen: Observation = place.observe(
                {**self.section, **changed}, self.context.beside, folder
            )
        except Refusal as error:
            return {"refused": [str(error)]} if self.context.refuses else None
        return seen

    def without_effect(self, place: Any, folder: Path) -> list[Any] | None:
        """Return the values, two by two, that nothing tells apart; None if it stands not there."""
        if (first := self.observe(place, folder)) is None:
            return None
        seen = [(self.now, first)]
        for value in self.values:
            if (one := self.observe(place, folder, **{self.keyword: value})) is not None:
                seen.append((value, one))
            if len(seen) > 1 and not is_choice(self.parameter):
                break
        if len(seen) == 1:
            return ["no other value is taken"]
        same = SAME.get(first_pattern(SAME, str(self)), ())
        return [
            (one, other)
            for (one, a), (other, b) in itertools.combinations(seen, 2)
            if not (one in same and other in same) and not differ(a, b)
        ]


#: families that are no part of a trial's configuration → the test that their keywords matter
ELSEWHERE = {
    "agent": "training/test_reinforcement.py",
    "environment": "training/test_reinforcement.py",
    "early_stopping": "early_stopping/test_stopping_keywords.py",
    "launcher": "training/test_launchers.py",
    "metric_source": "training/command/test_sources.py",
}
FAMILIES = [family for family in registry.INJECTED if family not in ELSEWHERE]
NAMES = [(family, name) for family in FAMILIES for name in registry.names(family)]
CASES = [
    Case(family, name, keyword)
    for family, name in NAMES
    for keyword in registry.get(family, name).keywords
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files")
    write_files(path)
    return path


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_keyword_has_an_effect(case: Case, folder: Path) -> None:
    places = {each.name: each for each in places_of(case.family, case.component)}
    found = {name: case.without_effect(place, folder) for name, place in places.items()}
    taken = {name: pairs for name, pairs in found.items() if pairs is not None}
    assert taken, f"{case} stands nowhere"
    dead = {name: pairs for name, pairs in taken.items() if pairs}
    excused = [name for name in taken if first_pattern(UNSEEN, f"{case}@{name}")]
    assert dead.keys() <= set(excused), dead
    assert set(excused) <= dead.keys(), "a table says that it can't be seen, but it is"


def without_keywords(family: str, name: str) -> dict[str, Any]:
    return {"name": name, **NEEDED.get(f"{family}.{name}", {})}


@pytest.mark.parametrize(("family", "name"), NAMES)
def test_a_trial_is_the_same_each_time(family: str, name: str, folder: Path) -> None:
    """Bit for bit, so that it is the keyword's doing where two differ."""
    section = without_keywords(family, name)
    for place in places_of(family, name):
        if not isinstance(place, InTrial):
            continue
        try:
            first = place.observe(section, {}, folder)
        except Refusal:
            continue
        again = place.observe(section, {"a section that nobody reads": None}, folder)
        assert not differ(first, again, rounding=0)


@pytest.mark.parametrize("family", sorted({family for family, _ in NAMES}))
def test_names_mean_different_things(family: str, folder: Path) -> None:
    seen: dict[str, dict[str, Observation]] = {}
    for name in registry.names(family):
        section = without_keywords(family, name)
        for place in places_of(family, name):
            try:
                seen.setdefault(place.name, {})[name] = place.observe(section, {}, folder)
            except Refusal:
                continue
    alike = {
        f"{family}: {one} {other}"
        for by_name in seen.values()
        for one, other in itertools.combinations(by_name, 2)
        if not differ(by_name[one], by_name[other])
    }
    assert alike == {pair for pair in ALIKE if pair.startswith(f"{family}: ")}


class TestOfATrial:
    """What a trial is made of beside components."""

    def test_nothing_is_left_out(self) -> None:
        sections = set(SECTIONS) - COMPONENT_SECTIONS.keys()
        assert PLAIN.keys() | UNSEEN_SECTIONS.keys() == sections
        fields = {each.name for each in dataclasses.fields(TrialConfig)} - {"values"}
        assert FIELDS.keys() | UNSEEN_FIELDS.keys() == fields
        assert not FIELDS.keys() & UNSEEN_FIELDS.keys()

    @pytest.mark.parametrize("section", PLAIN)
    def test_a_section_has_an_effect(self, section: str) -> None:
        values = PLAIN[section]
        seen = [observe_trial("wine", {"batch_size": 10, section: value}) for value in values]
        assert all(differ(*pair) for pair in itertools.combinations(seen, 2))

    @pytest.mark.parametrize("name", FIELDS)
    def test_a_field_has_an_effect(self, name: str) -> None:
        sections = {"lr_schedule": {"name": "cosine"}}
        fields = {**TRIAL, name: FIELDS[name]}
        assert differ(observe_trial("wine", sections), observe_trial("wine", sections, **fields))


class TestTables:
    """No entry of the tables is left over."""

    def test_of_families(self) -> None:
        tests = Path(__file__).parents[1]
        assert all((tests / path).is_file() for path in ELSEWHERE.values())

    def test_of_components(self) -> None:
        known = {f"{family}.{name}" for family, name in NAMES}
        assert NEEDED.keys() <= known
        pairs = [pair.replace(": ", " ").split() for pair in ALIKE]
        assert {f"{family}.{name}" for family, *names in pairs for name in names} <= known

    @pytest.mark.parametrize("table", [CONTEXTS, SAME], ids=["contexts", "same"])
    def test_of_keywords(self, table: dict[str, Any]) -> None:
        assert {first_pattern(table, str(case)) for case in CASES} - {""} == table.keys()

    def test_of_what_cannot_be_seen(self) -> None:
        places = [
            f"{case}@{place.name}"
            for case in CASES
            for place in places_of(case.family, case.component)
        ]
        assert {first_pattern(UNSEEN, each) for each in places} - {""} == UNSEEN.keys()
