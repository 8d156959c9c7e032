"""The check of a population's copies, each broken for real."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpsearch.integrity.record_rules import record_problems
from hpsearch.outcome import CopiedFrom, Outcome, StoppedBy
from hpsearch.record import Record
from tests.support.specs import make_spec
from tests.support.whole import PARAMS, add_trial

SAMPLER = {"name": "pbt", "population": 2, "perturbation_interval": 1, "quantile_fraction": 0.5}


def copy(record: Record, trial: int = 1, epoch: int = 1, replaces: int = 0, **params: Any) -> int:
    number = record.add_trial({**PARAMS, **params}, CopiedFrom(trial, epoch, replaces)).number
    record.start_attempt(number)
    record.report(number, epoch + 1, {"val_accuracy": 0.5})
    return number


def stop(record: Record, number: int) -> None:
    record.end_trial(number, Outcome.STOPPED_EARLY, stopped_by=StoppedBy("pbt", 1))


def copy_what_is_to_come(record: Record) -> str:
    stop(record, 0)
    copy(record, trial=1, epoch=2)
    return (
        "trial 2: copied_from.epoch: must be an epoch that trial 1 had trained by then, but got 2"
    )


def copy_a_later_trial(record: Record) -> str:
    stop(record, 0)
    copy(record, trial=5)
    return "trial 2: copied_from.trial: must be an earlier trial, but got 5"


def replace_twice(record: Record) -> str:
    stop(record, 0)
    copy(record)
    copy(record)
    return "trial 0: must be replaced by one trial at most, but got 2"


def replace_what_goes_on(record: Record) -> str:
    record.report(0, 2, {"val_accuracy": 0.3})
    copy(record)
    return (
        "trial 2: copied_from.replaces: must be a trial that ended at epoch 1 or before it, but "
        "got 'trial 0, epoch 2'"
    )


def copy_the_worse(record: Record) -> str:
    stop(record, 1)
    copy(record, trial=0, replaces=1)
    return (
        "trial 2: copied_from: must be the copy that follows from epoch 1: of trial None, but got "
        "'trial 0 at epoch 1, in place of trial 1'"
    )


def change_what_is_inherited(record: Record) -> str:
    stop(record, 0)
    params = {name: value for name, value in PARAMS.items() if name != "optimizer.adam.lr"}
    number = record.add_trial(
        {**params, "optimizer": "sgd", "optimizer.sgd.lr": 0.1}, CopiedFrom(1, 1, 0)
    ).number
    return f"trial {number}: optimizer: must be 'adam', as in trial 1, but got 'sgd'"


def leave_an_epoch_out(record: Record) -> str:
    stop(record, 0)
    number = copy(record)
    record.report(number, 4, {"val_accuracy": 0.5})
    return f"trial {number}: must have epochs from 2 without a gap, but got [2, 4]"


@pytest.fixture
def record(tmp_path: Path) -> Record:
    spec = make_spec(
        tmp_path, search={"sampler": SAMPLER, "early_stopping": {"max_epochs": 3}, "trials": 9}
    )
    record = Record.create(tmp_path / "record.journal", spec)
    add_trial(record, [0.1])
    add_trial(record, [0.2])
    return record


def test_a_copy_that_is_as_it_should_be_is_no_problem(record: Record) -> None:
    stop(record, 0)
    copy(record)
    assert list(record_problems(record)) == []


@pytest.mark.parametrize(
    "damage",
    [
        *(copy_what_is_to_come, copy_a_later_trial, replace_twice, replace_what_goes_on),
        *(copy_the_worse, change_what_is_inherited, leave_an_epoch_out),
    ],
)
def test_what_is_wrong_with_a_copy_is_found(
    record: Record, damage: Callable[[Record], str]
) -> None:
    expected = damage(record)
    assert expected in list(record_problems(record))


def test_a_copy_in_a_search_of_independent_trials_is_found(tmp_path: Path) -> None:
    record = Record.create(tmp_path / "record.journal", make_spec(tmp_path))
    add_trial(record, [0.1])
    add_trial(record, [0.2])
    stop(record, 0)
    copy(record)
    expected = "trial 2: copied_from: must not exist with the sampler auto"
    assert [each for each in record_problems(record) if each.startswith(expected)]
