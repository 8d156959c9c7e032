"""The record: what is written can be read again, and means the right thing to Optuna."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from hpsearch.errors import RecordError, SearchExistsError, SearchNotFoundError, SpecError
from hpsearch.outcome import CheckWarning, Outcome
from hpsearch.record import Record
from hpsearch.spec import SearchSpec, draft_spec

PARAMS = {"optimizer": "adam", "optimizer.adam.lr": 0.01, "batch_size": 32}


def make_spec(direction: str = "maximize") -> SearchSpec:
    draft = draft_spec(
        {
            "name": "a-search",
            "objective": {"metric": "val_accuracy", "direction": direction},
            "dataset": "digits",
            "model": {"name": "mlp", "hidden_sizes": [16]},
            "optimizer": {
                "choices": [
                    {"name": "adam", "lr": {"low": 1e-4, "high": 1e-1, "log": True}},
                    {"name": "sgd", "lr": {"low": 1e-3, "high": 1.0, "log": True}},
                ]
            },
            "batch_size": {"choices": [32, 64]},
        }
    )
    assert draft.spec is not None, draft.problems
    return draft.spec


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "record.journal"


@pytest.fixture
def record(path: Path) -> Record:
    return Record.create(path, make_spec(), {"torch": "2.13.0"})


def reopened(path: Path) -> Record:
    return Record.open(path, "a-search")


def frozen(record: Record, number: int) -> optuna.trial.FrozenTrial:
    return record.study.get_trials()[number]


def test_everything_written_can_be_read_again(record: Record, path: Path) -> None:
    trial = record.add_trial(PARAMS)
    record.start_attempt(0)
    record.note_warnings(0, [CheckWarning("loss_at_init", "first loss 9.000")])
    record.report(0, 1, {"val_accuracy": 0.5, "train_loss": 1.0})
    record.report(0, 2, {"val_accuracy": 0.6, "train_loss": 0.5})
    record.set_checkpoint(0, "trial-0000/epoch-0002.pt")
    record.end_trial(0, Outcome.COMPLETED)
    record.add_trial({**PARAMS, "batch_size": 64})
    record.set_result(test_metrics={"accuracy": 0.55})
    record.end("finished")

    again = reopened(path)
    assert again.trials == record.trials
    assert (again.spec, again.facts) == (record.spec, {"torch": "2.13.0"})
    assert (again.state, again.result) == ("finished", {"test_metrics": {"accuracy": 0.55}})
    assert (again.created_at, again.ended_at) == (record.created_at, record.ended_at)
    assert again.best == trial
    assert [trial.number for trial in again.running()] == [1]


def test_a_configuration_alone_tells_a_worker_what_to_train(record: Record) -> None:
    trial = record.add_trial(PARAMS)
    config = record.config(trial)
    assert config.values["optimizer"] == {"name": "adam", "lr": 0.01}
    assert config.values["batch_size"] == 32
    assert (config.number, config.seed, config.max_epochs) == (0, 0, 27)


@pytest.mark.parametrize(
    ("outcome", "state", "value"),
    [
        (Outcome.COMPLETED, TrialState.COMPLETE, 0.6),
        (Outcome.STOPPED_EARLY, TrialState.PRUNED, 0.6),
        (Outcome.DIVERGED, TrialState.PRUNED, None),
        (Outcome.OUT_OF_MEMORY, TrialState.PRUNED, None),
        (Outcome.BAD_CONFIGURATION, TrialState.PRUNED, None),
        (Outcome.FAILED, TrialState.FAIL, None),
        (Outcome.CANCELLED, TrialState.FAIL, None),
    ],
)
def test_an_outcome_means_one_thing_to_optuna(
    record: Record, outcome: Outcome, state: TrialState, value: float | None
) -> None:
    record.add_trial(PARAMS)
    record.report(0, 1, {"val_accuracy": 0.5})
    record.report(0, 2, {"val_accuracy": 0.6})
    record.end_trial(0, outcome, "why")
    trial = frozen(record, 0)
    assert (trial.state, trial.params) == (state, PARAMS)
    assert trial.intermediate_values == {1: 0.5, 2: 0.6}  # the last one too
    assert trial.value == value


def test_a_running_trial_is_in_the_record_before_it_reports(record: Record, path: Path) -> None:
    record.add_trial(PARAMS)
    assert frozen(record, 0).state is TrialState.RUNNING
    assert reopened(path).trials[0].params == PARAMS


def test_values_that_are_not_finite_are_kept_but_compared_with_nothing(
    record: Record, path: Path
) -> None:
    record.add_trial(PARAMS)
    record.report(0, 1, {"val_accuracy": 0.5, "train_loss": float("inf")})
    record.report(0, 2, {"val_accuracy": float("nan"), "train_loss": float("nan")})
    trial = reopened(path).trials[0]
    assert trial.curve[1]["train_loss"] == float("inf")
    assert trial.curve[2]["train_loss"] != trial.curve[2]["train_loss"]
    assert (trial.metric("train_loss"), trial.metric("val_accuracy")) == ({}, {1: 0.5})
    assert (trial.last("val_accuracy"), trial.epochs) == (0.5, 2)


@pytest.mark.parametrize(("direction", "best"), [("maximize", 2), ("minimize", 1)])
def test_only_trials_of_the_full_budget_compete_for_best(
    path: Path, direction: str, best: int
) -> None:
    record = Record.create(path, make_spec(direction))
    outcomes = [Outcome.STOPPED_EARLY, *[Outcome.COMPLETED] * 3, Outcome.STOPPED_EARLY]
    for number, (value, outcome) in enumerate(
        zip([0.0, 0.3, 0.7, 0.5, 1.0], outcomes, strict=True)
    ):
        record.add_trial(PARAMS)
        record.report(number, 1, {"val_accuracy": value})
        record.end_trial(number, outcome)
    assert record.best is not None
    assert record.best.number == best
    assert {trial.number for trial in record.ranked()} == {1, 2, 3}


def test_a_second_record_of_one_name_is_refused(record: Record, path: Path) -> None:
    with pytest.raises(SearchExistsError, match="a-search"):
        Record.create(path, make_spec())


def test_a_record_that_is_not_there_is_refused(path: Path) -> None:
    with pytest.raises(SearchNotFoundError, match=r"record\.journal"):
        reopened(path)
    path.write_text("")
    with pytest.raises(RecordError, match="no complete record"):
        reopened(path)


def test_a_journal_cut_at_any_byte_loads_up_to_the_last_whole_entry_and_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = tmp_path / "whole.journal"
    record = Record.create(whole, make_spec())
    begins = whole.stat().st_size  # from here on the search is there
    record.add_trial(PARAMS)
    record.report(0, 1, {"val_accuracy": 0.5})
    record.end_trial(0, Outcome.COMPLETED)
    record.add_trial(PARAMS)
    content = whole.read_bytes()
    cut = tmp_path / "cut.journal"
    for size in range(begins, len(content) + 1):
        cut.write_bytes(content[:size])
        known = Record.open(cut, "a-search").trials  # a reader passes over the rest
        caplog.clear()
        taken_over = Record.reopen(cut, "a-search")
        is_whole = content[size - 1 : size] == b"\n"
        assert ("incomplete last entry" in caplog.text) == (not is_whole)
        whole_ones = max(len(known) - 1, 0)
        assert taken_over.trials == known
        assert known[:whole_ones] == record.trials[:whole_ones]
        taken_over.add_trial(PARAMS)
        again = Record.open(cut, "a-search")
        assert [trial.number for trial in again.trials] == list(range(len(known) + 1))


def test_a_tail_of_zeros_is_dropped(record: Record, path: Path) -> None:
    record.add_trial(PARAMS)
    with path.open("ab") as file:
        file.write(bytes(100) + b"\n" + bytes(50))
    assert len(Record.reopen(path, "a-search").trials) == 1


def test_what_a_dead_driver_owed_to_optuna_is_written(record: Record, path: Path) -> None:
    for number in range(2):
        record.add_trial(PARAMS)
        record.report(number, 1, {"val_accuracy": 0.5})
    record.end_trial(0, Outcome.STOPPED_EARLY, "asha at epoch 1")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))  # all but Optuna's state of trial 0
    assert frozen(reopened(path), 0).state is TrialState.RUNNING
    taken_over = Record.reopen(path, "a-search")
    assert frozen(taken_over, 0).state is TrialState.PRUNED
    assert taken_over.trials[0].outcome is Outcome.STOPPED_EARLY


def test_sessions_leave_out_the_time_between_two_drivers(record: Record, path: Path) -> None:
    record.add_trial(PARAMS)
    record.report(0, 1, {"val_accuracy": 0.5})
    died_at = record.trials[0].reported_at[1]
    again = Record.reopen(path, "a-search")
    again.go_on()
    assert again.sessions[0] == [again.created_at, died_at]
    began_again = again.sessions[1][0]
    assert began_again > died_at
    used = again.seconds_used(began_again + 5)
    assert used == pytest.approx(died_at - again.created_at + 5)
    again.end("finished")
    ended_at = reopened(path).sessions[1][1]
    assert ended_at is not None
    used = died_at - again.created_at + ended_at - began_again
    assert reopened(path).seconds_used(ended_at + 60) == pytest.approx(used)


def test_a_larger_budget_is_kept(record: Record, path: Path) -> None:
    record.end("finished")
    record.go_on(record.spec.extended(trials=5))
    again = reopened(path)
    assert (again.state, again.spec.search.trials, again.ended_at) == ("running", 37, None)
    with pytest.raises(SpecError, match=r"search\.epochs: must be a budget"):
        again.spec.extended(epochs=5)
    with pytest.raises(SpecError, match=r"search\.disk_quota: must be a budget"):
        again.spec.extended(num_bytes=5)


def test_reports_together_are_written_as_one(tmp_path: Path) -> None:
    """A reader sees all of them or none; what is noted after them is seen, too."""
    record = Record.create(tmp_path / "record.journal", make_spec())
    for _ in range(3):
        record.add_trial(PARAMS)
    size = (tmp_path / "record.journal").stat().st_size
    with record.batch():
        for number in range(3):
            record.report(number, 1, {"val_accuracy": 0.1 * number})
        assert (tmp_path / "record.journal").stat().st_size == size
    record.end_trial(0, Outcome.COMPLETED)
    read = Record.open(tmp_path / "record.journal", record.name)
    assert [trial.curve[1]["val_accuracy"] for trial in read.trials] == [0.0, 0.1, 0.2]
    assert read.trials[0].outcome is Outcome.COMPLETED


def test_ends_together_are_written_as_one(tmp_path: Path) -> None:
    """A driver that dies before that leaves all of these trials unfinished, after it none."""
    path = tmp_path / "record.journal"
    record = Record.create(path, make_spec())
    for _ in range(3):
        number = record.add_trial(PARAMS).number
        record.report(number, 1, {"val_accuracy": 0.5})
    with record.batch():
        for number in range(3):
            record.end_trial(number, Outcome.STOPPED_EARLY)
        assert [each.outcome for each in reopened(path).trials] == [None] * 3
    read = reopened(path)
    assert [each.outcome for each in read.trials] == [Outcome.STOPPED_EARLY] * 3
    assert [each.state.name for each in read.study.trials] == ["PRUNED"] * 3
