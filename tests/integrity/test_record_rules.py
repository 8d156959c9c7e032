"""The check of a record, and of Optuna's study, each broken for real."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.trial import TrialState

from hpsearch.integrity.record_rules import record_problems
from hpsearch.outcome import Outcome
from hpsearch.record import Record
from tests.support.specs import make_spec
from tests.support.whole import PARAMS, add_trial


def leave_an_epoch_out(record: Record) -> str:
    number = add_trial(record, [0.1])
    record.report(number, 3, {"val_accuracy": 0.3})
    return "trial 0: must have epochs from 1 without a gap, but got [1, 3]"


def train_too_long(record: Record) -> str:
    add_trial(record, [0.1, 0.2, 0.3, 0.4])
    return "trial 0: must have at most 3 epochs, but got 4"


def complete_too_soon(record: Record) -> str:
    add_trial(record, [0.1, 0.2], Outcome.COMPLETED)
    return "trial 0: must have trained 3 epochs, since it completed, but got 2"


def report_without_an_attempt(record: Record) -> str:
    record.add_trial(PARAMS)
    record.report(0, 1, {"val_accuracy": 0.1})
    return "trial 0: must have an attempt, since it has epochs, but got 0"


def end_with_a_trial_that_runs(record: Record) -> str:
    add_trial(record, [0.1])
    record.end("stopped")
    return "trial 0: must have ended, as the search has (stopped), but got None"


def end_before_the_start(record: Record) -> str:
    add_trial(record, [])
    start = record.trials[0].started_at
    record._set(
        0, "end", {"outcome": "failed", "reason": None, "at": start - 1, "traceback": None}
    )
    record._write_state(record.trials[0], Outcome.FAILED)
    return f"trial 0: must end at or after its start at {start}, but got {start - 1}"


def end_by_half(record: Record) -> str:
    add_trial(record, [0.1])
    at = record.trials[0].started_at
    record._set(0, "end", {"outcome": "diverged", "reason": None, "at": at, "traceback": None})
    return "trial 0 of Optuna's study: must be PRUNED, but got 'RUNNING'"


def report_by_half(record: Record) -> str:
    add_trial(record, [0.1])
    at = record.trials[0].started_at
    record._set(0, "epoch:2", {"metrics": {"val_accuracy": 0.2}, "at": at})
    return "trial 0 of Optuna's study: must have 0.2 at epoch 2, but got None"


def report_to_optuna_alone(record: Record) -> str:
    add_trial(record, [0.1])
    record._storage.set_trial_intermediate_value(record._trial_ids[0], 1, 0.9)
    return "trial 0 of Optuna's study: must have 0.1 at epoch 1, but got 0.9"


def report_more_to_optuna(record: Record) -> str:
    add_trial(record, [0.1])
    record._storage.set_trial_intermediate_value(record._trial_ids[0], 2, 0.9)
    return "trial 0 of Optuna's study: must have None at epoch 2, but got 0.9"


def end_at_no_time(record: Record) -> str:
    add_trial(record, [])
    record._set(0, "end", {"outcome": "failed", "reason": None, "at": None, "traceback": None})
    record._write_state(record.trials[0], Outcome.FAILED)
    return (
        f"trial 0: must end at or after its start at {record.trials[0].started_at}, but got None"
    )


def rate_otherwise(record: Record) -> str:
    add_trial(record, [0.1, 0.2, 0.3])
    at = record.trials[0].reported_at[3]
    record._set(0, "end", {"outcome": "completed", "reason": None, "at": at, "traceback": None})
    record._storage.set_trial_state_values(record._trial_ids[0], TrialState.COMPLETE, [0.9])
    return "trial 0 of Optuna's study: must have the value 0.3, but got 0.9"


@pytest.mark.parametrize(
    "break_it",
    [
        leave_an_epoch_out,
        train_too_long,
        complete_too_soon,
        report_without_an_attempt,
        end_with_a_trial_that_runs,
        end_before_the_start,
        end_by_half,
        report_by_half,
        report_to_optuna_alone,
        report_more_to_optuna,
        end_at_no_time,
        rate_otherwise,
    ],
)
def test_what_is_wrong_in_a_record_is_found(
    tmp_path: Path, break_it: Callable[[Record], str]
) -> None:
    place = tmp_path / "record.journal"
    problem = break_it(Record.create(place, make_spec()))
    assert list(record_problems(Record.open(place, "small"))) == [problem]


def test_a_study_with_more_trials_than_the_record_is_found(tmp_path: Path) -> None:
    record = Record.create(tmp_path / "record.journal", make_spec())
    read_before = Record.open(tmp_path / "record.journal", "small")
    add_trial(record, [0.1])
    assert list(record_problems(read_before)) == [
        "Optuna's study: must have the 0 trials of the record, but got 1"
    ]


def test_numbers_that_have_a_gap_are_found(tmp_path: Path) -> None:
    record = Record.create(tmp_path / "record.journal", make_spec())
    for _ in range(2):
        add_trial(record, [])
    record.trials[1].number = 2
    first, *_ = record_problems(record)
    assert first == "trials: must be numbered from 0 without a gap, but got [0, 2]"
