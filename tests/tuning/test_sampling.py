"""What is tried before the sampler is asked, and that searches that have begun keep to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hpsearch.record import Record
from hpsearch.spec import Scalar
from hpsearch.tuning.sampling import first_points, note_default
from tests.support.specs import make_spec

SPACE = {"x": {"low": 0, "high": 10, "prior": 3}, "y": {"choices": ["a", "b"]}}
DEFAULT = {"x": 3, "y": "a"}


def record_of(folder: Path, first: Any = (), **search: Any) -> Record:
    spec = make_spec(folder, trainable="train.py:train", space=SPACE, search=search)
    return Record.create(folder / "record.journal", spec, first_points=first)


def test_the_default_configuration_is_the_first(tmp_path: Path) -> None:
    record = record_of(tmp_path, [{"x": 8, "y": "b"}])
    note_default(record)
    assert first_points(record) == [DEFAULT, {"x": 8, "y": "b"}]
    assert first_points(Record.reopen(record.place, record.name)) == first_points(record)


def test_points_of_the_users_come_before_it(tmp_path: Path) -> None:
    given: dict[str, Scalar] = {"x": 7}
    transferred: dict[str, Scalar] = {"x": 8, "y": "b"}
    spec = make_spec(tmp_path, trainable="train.py:train", space=SPACE, search={"points": [given]})
    record = Record.create(tmp_path / "record.journal", spec, first_points=[given, transferred])
    note_default(record)
    assert first_points(record) == [given, DEFAULT, transferred]


def test_is_tried_once(tmp_path: Path) -> None:
    record = record_of(tmp_path, [DEFAULT])
    note_default(record)
    assert first_points(record) == [DEFAULT]


def test_a_search_that_has_trials_keeps_what_it_began_with(tmp_path: Path) -> None:
    record = record_of(tmp_path, [{"x": 8}])
    record.add_trial({"x": 8, "y": "b"})
    note_default(record)
    assert record.default is None and first_points(record) == [{"x": 8}]


@pytest.mark.parametrize(
    "search", [{"sampler": "grid"}, {"trials": 1, "points": [{"x": 1}]}], ids=["grid", "points"]
)
def test_searches_that_leave_no_room_for_it(tmp_path: Path, search: dict[str, Any]) -> None:
    record = record_of(tmp_path, search.get("points", ()), **search)
    note_default(record)
    assert record.default is None
