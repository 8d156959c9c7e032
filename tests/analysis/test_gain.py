"""What the report says of a search beside the default configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpsearch.analysis.content import findings
from hpsearch.analysis.gain import gain
from hpsearch.analysis.importance import importances
from hpsearch.analysis.response import Response
from hpsearch.outcome import DefaultResult
from hpsearch.record import Outcome, Record
from tests.support.records import add, make_spec

DEFAULT = {"lr": 0.1, "width": 64}
OTHER = {"lr": 0.2, "width": 64}


@pytest.fixture
def record(tmp_path: Path) -> Record:
    record = Record.create(tmp_path / "record.journal", make_spec())
    record.set_default(DEFAULT)
    return record


def test_is_the_difference_to_the_default_in_full(record: Record) -> None:
    add(record, [0.5, 0.8], **DEFAULT)
    add(record, [0.6, 0.95], **OTHER)
    expected = "+0.15 in score (0.95 against 0.8) over the default configuration (trial 0)"
    assert gain(record) == expected
    best = findings(record, importances(record), Response(record))[0]
    assert expected in str(best.blocks[0])


def test_is_told_at_the_epoch_where_the_default_was_stopped(record: Record) -> None:
    add(record, [0.5, 0.6], Outcome.STOPPED_EARLY, **DEFAULT)
    add(record, [0.6, 0.7, 0.95], **OTHER)
    assert gain(record) == (
        "+0.1 in score (0.7 against 0.6) over the default configuration (trial 0) "
        "after 2 epochs, where that was stopped early"
    )


def test_there_may_be_none(record: Record) -> None:
    add(record, [0.9], **DEFAULT)
    add(record, [0.8], **OTHER)
    assert gain(record) == "no trial was better than the default configuration (trial 0)"


def test_the_default_may_have_no_result(record: Record) -> None:
    add(record, [], Outcome.DIVERGED, **DEFAULT)
    add(record, [0.8], **OTHER)
    assert gain(record) == (
        "the default configuration (trial 0) has no result to compare with: diverged"
    )


def test_nothing_is_said_where_no_default_was_tried(tmp_path: Path) -> None:
    record = Record.create(tmp_path / "record.journal", make_spec())
    add(record, [0.9], **DEFAULT)
    assert gain(record) is None
    record.set_default(OTHER)
    assert gain(record) is None


def test_is_the_difference_to_the_default_of_an_earlier_search(tmp_path: Path) -> None:
    record = Record.create(tmp_path / "record.journal", make_spec())
    known = DefaultResult("before", 0, Outcome.COMPLETED, {1: 0.5, 2: 0.8})
    record.set_earlier_default(known)
    add(record, [0.6, 0.95], **OTHER)
    expected = "over the default configuration (trial 0 of before)"
    assert gain(record) == f"+0.15 in score (0.95 against 0.8) {expected}"
