"""What is tried before the sampler is asked, and that searches that have begun keep to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hpsearch.driver import earlier_of
from hpsearch.outcome import Outcome
from hpsearch.record import Record
from hpsearch.samplers.warm_start import transfers
from hpsearch.spec import Scalar
from hpsearch.tuning.sampling import first_points, note_default
from tests.support.specs import make_spec

SPACE = {"x": {"low": 0, "high": 10, "prior": 3}, "y": {"choices": ["a", "b"]}}
DEFAULT = {"x": 3, "y": "a"}
PLAIN = {"x": {"low": 0, "high": 10}, "y": {"choices": ["a", "b"]}}


def record_of(
    folder: Path, first: Any = (), name: str = "record", space: Any = SPACE, **search: Any
) -> Record:
    spec = make_spec(folder, name=name, trainable="train.py:train", space=space, search=search)
    return Record.create(folder / f"{name}.journal", spec, first_points=first)


def after(earlier: Record, **settings: Any) -> Record:
    """Begin a search that knows an earlier one."""
    record = record_of(Path(earlier.spec.folder), **settings)
    note_default(record, transfers(record.spec, [earlier_of(earlier)]))
    return record


@pytest.fixture
def earlier(tmp_path: Path) -> Record:
    """A search whose default configuration reached 0.6, and another one 0.9."""
    record = record_of(tmp_path, name="earlier", space=PLAIN)
    note_default(record)
    for params, score in ((record.default, 0.6), ({"x": 8, "y": "b"}, 0.9)):
        assert params is not None
        trial = record.add_trial(params)
        record.report(trial.number, 1, {"val_accuracy": score})
        record.end_trial(trial.number, Outcome.COMPLETED)
    return record


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


def test_is_not_tried_again_after_an_earlier_search(earlier: Record) -> None:
    """A narrower space has another default; gains count from that of the earlier search."""
    narrower = {"x": {"low": 6, "high": 10}, "y": {"choices": ["a", "b"]}}
    record = after(earlier, name="second", space=narrower)
    assert record.default is None and first_points(record) == []
    known = Record.reopen(record.place, record.name).default_result
    assert known is not None and known == record.default_result
    assert (known.search, known.trial, known.values) == ("earlier", 0, {1: 0.6})
    record.end_trial(record.add_trial({"x": 8, "y": "b"}).number, Outcome.CANCELLED)
    third = after(record, name="third", space=narrower)  # no result of the second holds
    assert third.default == {"x": 8, "y": "a"} and third.earlier_default is None


def test_is_known_over_several_searches(earlier: Record) -> None:
    second = after(earlier, name="second", space=PLAIN)
    trial = second.add_trial({"x": 7, "y": "b"})
    second.report(trial.number, 1, {"val_accuracy": 0.8})
    second.end_trial(trial.number, Outcome.COMPLETED)
    assert after(second, name="third", space=PLAIN).default_result == earlier.default_result


def test_a_default_of_priors_is_tried_unless_it_has_been(earlier: Record) -> None:
    assert after(earlier, name="second").default == DEFAULT
    trial = earlier.add_trial(DEFAULT)
    earlier.report(trial.number, 1, {"val_accuracy": 0.7})
    earlier.end_trial(trial.number, Outcome.COMPLETED)
    assert after(earlier, name="third").default is None


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.CANCELLED, None])
def test_is_tried_where_the_earlier_search_has_no_result_of_it(
    tmp_path: Path, outcome: Outcome | None
) -> None:
    earlier = record_of(tmp_path, name="earlier", space=PLAIN)
    note_default(earlier)
    assert earlier.default is not None
    begun = earlier.add_trial(earlier.default)
    if outcome is not None:
        earlier.end_trial(begun.number, outcome)
    trial = earlier.add_trial({"x": 8, "y": "b"})
    earlier.report(trial.number, 1, {"val_accuracy": 0.9})
    earlier.end_trial(trial.number, Outcome.COMPLETED)
    assert after(earlier, name="second", space=PLAIN).default == earlier.default
