"""What an exception leaves in a trial's report and record, and when failures are alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hpsearch.errors import UserCodeError
from hpsearch.outcome import Outcome, RaisedError
from hpsearch.record import Record, TrialRecord
from hpsearch.spec import TrialConfig
from hpsearch.training.user_code.functions import FunctionTrainer
from hpsearch.training.user_code.reports import read_metrics
from hpsearch.tuning.failures import common_failure
from hpsearch.tuning.on_ray.searcher import death_reason
from hpsearch.tuning.trial_errors import report_error, shown_traceback
from tests.support.records import make_spec


def broken(number: int) -> None:
    if number % 2:
        raise OSError(f"trial {number}: no such server: db1")
    raise OSError(f"trial {number}: no such server: db1")


def raised(number: int) -> Exception:
    try:
        broken(number)
    except OSError as error:
        return error
    raise AssertionError


def failed(number: int) -> TrialRecord:
    report = report_error(1, raised(number))
    trial = TrialRecord(number, {}, {}, 0.0, outcome=report.outcome, note=report.reason)
    trial.error, trial.traceback = report.error, report.traceback
    trial.ended_at = 3.0 + number / 10
    return trial


def test_what_users_stopped_is_passed_over_where_failures_are_compared() -> None:
    trials = [failed(number) for number in (1, 3)]
    stopped = TrialRecord(5, {}, {}, 0.0, outcome=Outcome.STOPPED_BY_USER, ended_at=9.0)
    assert common_failure([*trials, stopped], 2) == common_failure(trials, 2) is not None
    stopped.outcome = Outcome.STOPPED_EARLY
    assert common_failure([*trials, stopped], 2) is None


def test_a_report_has_the_type_the_message_and_the_line_as_fields() -> None:
    report = report_error(1, raised(1))
    line = broken.__code__.co_firstlineno + 2
    message = "trial 1: no such server: db1"
    assert report.error == RaisedError("OSError", message, __file__, line, "broken")
    assert (report.outcome, report.reason) == (Outcome.FAILED, None)
    assert report.why == f"OSError: {message}"
    assert "Traceback" in (report.traceback or "")


def test_an_error_without_a_place_or_a_message_has_none() -> None:
    assert report_error(1, ValueError()).error == RaisedError("ValueError", "")
    assert report_error(1, ValueError()).why == "ValueError"


def shown(caught: pytest.ExceptionInfo[BaseException]) -> list[str]:
    """Return the lines of a traceback as a worker has it, without the test's own frame."""
    assert caught.tb.tb_next is not None
    return shown_traceback(caught.value.with_traceback(caught.tb.tb_next)).splitlines()


def test_a_traceback_begins_in_the_users_code(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("def train(config, trial):\n    yield {'x': {}['a']}\n")
    config = TrialConfig(0, 0, 3, {"space": {}}, trainable="own.py:train", folder=str(tmp_path))
    with pytest.raises(KeyError) as caught:
        FunctionTrainer(config, "cpu").train_epoch()
    lines = shown(caught)
    assert lines[1] == f'  File "{tmp_path / "own.py"}", line 2, in train'
    assert (len(lines), lines[-1]) == (5, "KeyError: 'a'")


def test_an_error_of_ours_stands_by_itself() -> None:
    with pytest.raises(UserCodeError) as caught:
        read_metrics({"loss": "much"}, 1)
    message = "the report of epoch 1: loss must be a number, but got 'much'"
    assert shown(caught) == [f"hpsearch.errors.UserCodeError: {message}"]


def test_failures_are_alike_by_type_and_line_whatever_they_say() -> None:
    odd, even = [failed(1), failed(3)], [failed(2)]
    assert common_failure(odd, 2) == f"the first 2 trials all failed: {odd[0].reason}"
    assert common_failure([*odd, *even], 3) is None
    running = TrialRecord(4, {}, {}, 0.0)
    assert common_failure([*odd, running], 2) is not None
    stopped = TrialRecord(5, {}, {}, 0.0, outcome=Outcome.STOPPED_EARLY, ended_at=5.0)
    assert common_failure([*odd, stopped], 2) is None
    assert common_failure([], 1) is None
    assert common_failure(odd, 3) is None


def test_the_newest_are_those_that_ended_last() -> None:
    good = TrialRecord(0, {}, {}, 0.0, outcome=Outcome.COMPLETED, ended_at=2.0)
    late = TrialRecord(2, {}, {}, 0.0, outcome=Outcome.COMPLETED, ended_at=4.0)
    odd = [failed(1), failed(3)]
    assert common_failure([good, *odd], 2) == f"the last 2 trials all failed: {odd[0].reason}"
    assert common_failure([good, *odd, late], 2) is None
    cancelled = TrialRecord(6, {}, {}, 0.0, outcome=Outcome.CANCELLED, ended_at=9.0)
    assert common_failure([good, *odd, cancelled], 2) is not None
    assert common_failure([good, *odd], 2, since=3.2) is None


@pytest.mark.parametrize("error", [RaisedError("OSError", "gone", "a.py", 3, "f"), None])
def test_a_record_keeps_the_fields(tmp_path: Path, error: RaisedError | None) -> None:
    record = Record.create(tmp_path / "record.journal", make_spec())
    record.add_trial({"lr": 0.1, "width": 64})
    record.end_trial(0, Outcome.FAILED, None if error else "died", "Traceback", error=error)
    read = Record.open(tmp_path / "record.journal", "demo").trials[0]
    assert read == record.trials[0]
    if error is not None:
        assert (read.error, read.reason) == (error, "OSError: gone")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, "its process ended without a reason that Ray knows"),
        (OSError("gone\nfor good"), "OSError: gone"),
    ],
)
def test_a_death_has_a_reason(error: Any, expected: str) -> None:
    assert death_reason(error) == expected
