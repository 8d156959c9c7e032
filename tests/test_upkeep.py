"""The check and the removal of garbage, on searches that are broken for real."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from optuna.trial import TrialState
from torch import nn

from hpsearch.errors import TrackingError
from hpsearch.outcome import Outcome
from hpsearch.record import Record
from hpsearch.runs import Runs, SearchFolder
from hpsearch.tracking import register_best, sync
from hpsearch.training.checkpoints import CheckpointStore
from hpsearch.upkeep.check import Findings, check_search
from hpsearch.upkeep.garbage import Garbage, find_garbage, remove
from hpsearch.upkeep.record_rules import record_problems
from tests.conftest import make_spec

PARAMS = {"model.dropout": 0.1, "optimizer": "adam", "optimizer.adam.lr": 0.01, "batch_size": 32}
BEST = 1


def add_trial(
    record: Record, values: list[float], outcome: Outcome | None = None, reason: str | None = None
) -> int:
    number = record.add_trial(PARAMS).number
    record.start_attempt(number)
    for epoch, value in enumerate(values, start=1):
        record.report(number, epoch, {"val_accuracy": value, "train_loss": 1.0 / epoch})
    if outcome is not None:
        record.end_trial(number, outcome, reason)
    return number


def add_checkpoint(record: Record, folder: SearchFolder, number: int) -> Path:
    path = CheckpointStore(folder.checkpoints, number).save(3, {"epoch": 3})
    record.set_checkpoint(number, str(path.relative_to(folder.checkpoints)))
    return path


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runs folder with one search that has ended, with all that belongs to it."""
    place = Runs(tmp_path_factory.mktemp("runs"))
    folder = place.create(make_spec())
    record = folder.open_record()
    add_trial(record, [0.1, 0.2, 0.5], Outcome.COMPLETED)
    add_trial(record, [0.6, 0.7])
    record.report(BEST, 3, {"val_accuracy": 0.8, "train_loss": float("inf")})
    add_checkpoint(record, folder, BEST)
    record.end_trial(BEST, Outcome.COMPLETED)
    add_trial(record, [0.3], Outcome.STOPPED_EARLY, "asha at epoch 1")
    add_trial(record, [], Outcome.FAILED, "ValueError")
    add_trial(record, [0.4, 0.4], Outcome.COMPLETED, "returned")
    record.set_result(test_metrics={"accuracy": 0.75})
    record.end("finished")
    sync(record, place.tracking_uri, place.artifacts)
    example = np.zeros((2, 4), dtype=np.float32)
    best, model = record.trials[BEST], nn.Linear(4, 2)
    register_best(record, place.tracking_uri, best, model, example, {"accuracy": 0.75})
    return place.path


class Search:
    """A copy of that search, to be broken."""

    def __init__(self, path: Path) -> None:
        self.place = Runs(path)
        self.folder = self.place.search("small")

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(self.place.tracking_uri, registry_uri=self.place.tracking_uri)

    @property
    def runs(self) -> list[Run]:
        experiment = self.client.get_experiment_by_name("small")
        assert experiment is not None
        return list(self.client.search_runs([experiment.experiment_id]))

    def run(self, number: int) -> Run:
        return next(r for r in self.runs if r.data.tags.get("hpsearch.trial") == str(number))

    def run_id(self, number: int) -> str:
        return str(self.run(number).info.run_id)

    def parent(self) -> Run:
        return next(run for run in self.runs if "mlflow.parentRunId" not in run.data.tags)

    def copy_run(self, run: Run, **tags: str) -> None:
        self.client.create_run(run.info.experiment_id, tags={**run.data.tags, **tags})

    def execute(self, statement: str) -> None:
        with sqlite3.connect(self.place.path / "mlflow.db") as connection:
            assert connection.execute(statement).rowcount > 0
        connection.close()

    def check(self) -> Findings:
        return check_search(self.folder.open_record(), self.folder, self.place.tracking_uri)


@pytest.fixture
def search(intact: Path, tmp_path: Path) -> Search:
    return Search(shutil.copytree(intact, tmp_path / "runs"))


def test_nothing_is_wrong_with_an_intact_search(search: Search) -> None:
    assert search.check() == Findings(
        (
            "5 trials and 9 epochs of the record with the rules of a search",
            "5 trials of the record with Optuna's study",
            "the spec and the checkpoints of the record with the files",
            "the search and 5 trials of the record with MLflow's runs",
            "17 points of their curves with MLflow's",
        ),
        (),
    )


def lose_a_run(search: Search) -> str:
    search.client.delete_run(search.run_id(2))
    return r"MLflow: must have one run of trial 2, but got \[\]"


def double_a_run(search: Search) -> str:
    search.copy_run(search.run(0))
    return r"MLflow: must have one run of trial 0, but got \['\w+', '\w+'\]"


def add_a_run(search: Search) -> str:
    search.copy_run(search.run(0), **{"hpsearch.trial": "9"})
    return r"MLflow: must have no run of trial 9, .*, but got \['\w+'\]"


def double_the_search(search: Search) -> str:
    search.copy_run(search.parent())
    return r"MLflow: must have one run of search small, but got \['\w+', '\w+'\]"


def double_a_point(search: Search) -> str:
    search.client.log_metric(search.run_id(0), "val_accuracy", 0.2, timestamp=1, step=2)
    return r"trial 0: val_accuracy at step 2: must be \[0.2\], but got \[0.2, 0.2\]"


def add_a_point(search: Search) -> str:
    search.client.log_metric(search.run_id(0), "val_accuracy", 0.2, step=4)
    return r"trial 0: val_accuracy at step 4: must be \[\], but got \[0.2\]"


def add_a_metric(search: Search) -> str:
    search.client.log_metric(search.run_id(0), "val_loss", 0.2, step=1)
    return r"trial 0: val_loss at step 1: must be \[\], but got \[0.2\]"


def lose_a_point(search: Search) -> str:
    point = f"run_uuid = '{search.run_id(0)}' AND step = 2 AND key = 'train_loss'"
    search.execute(f"DELETE FROM metrics WHERE {point}")
    return r"trial 0: train_loss at step 2: must be \[0.5\], but got \[\]"


def change_a_point(search: Search) -> str:
    point = f"run_uuid = '{search.run_id(0)}' AND step = 2 AND key = 'val_accuracy'"
    search.execute(f"UPDATE metrics SET value = 0.25 WHERE {point}")
    return r"trial 0: val_accuracy at step 2: must be \[0.2\], but got \[0.25\]"


def double_a_point_of_the_search(search: Search) -> str:
    run_id = search.parent().info.run_id
    search.client.log_metric(run_id, "best_val_accuracy", 0.5, timestamp=1, step=1)
    return r"the search: best_val_accuracy at step 1: must be \[0.5\], but got \[0.5, 0.5\]"


def let_a_run_go_on(search: Search) -> str:
    search.client.update_run(search.run_id(3), status="RUNNING")
    return "trial 3: must be FAILED, but got 'RUNNING'"


def let_the_search_go_on(search: Search) -> str:
    search.client.update_run(search.parent().info.run_id, status="RUNNING")
    return "the search: must be FINISHED, but got 'RUNNING'"


def change_a_tag(search: Search) -> str:
    search.client.set_tag(search.run_id(2), "outcome", "completed")
    return "trial 2: tag outcome: must be 'stopped_early', but got 'completed'"


def lose_a_param(search: Search) -> str:
    param = f"run_uuid = '{search.run_id(2)}' AND key = 'batch_size'"
    search.execute(f"DELETE FROM params WHERE {param}")
    return "trial 2: param batch_size: must be '32', but got None"


@pytest.mark.parametrize(
    "break_it",
    [
        lose_a_run,
        double_a_run,
        add_a_run,
        double_the_search,
        double_a_point,
        add_a_point,
        add_a_metric,
        lose_a_point,
        change_a_point,
        double_a_point_of_the_search,
        let_a_run_go_on,
        let_the_search_go_on,
        change_a_tag,
        lose_a_param,
    ],
)
def test_what_is_wrong_in_mlflow_is_found(
    search: Search, break_it: Callable[[Search], str]
) -> None:
    problem = break_it(search)
    (found,) = search.check().problems
    assert re.search(f"{problem}$", found)


def test_a_lost_search_is_lost_with_all_its_runs(search: Search) -> None:
    search.client.delete_run(search.parent().info.run_id)
    rules = ["search small", *(f"trial {number}" for number in range(5))]
    assert search.check().problems == tuple(
        f"MLflow: must have one run of {what}, but got []" for what in rules
    )


def test_a_store_that_is_out_of_reach_is_said_to_be(search: Search) -> None:
    (search.place.path / "file").touch()
    uri = f"sqlite:///{search.place.path / 'file' / 'mlflow.db'}"
    with pytest.raises(TrackingError, match="can't be used"):
        check_search(search.folder.open_record(), search.folder, uri)


def lose_a_checkpoint(folder: SearchFolder) -> str:
    (folder.checkpoints / "trial-0001" / "epoch-0003.pt").unlink()
    return "trial 1: must have its checkpoint, .*, but got 'trial-0001/epoch-0003.pt'"


def keep_a_checkpoint(folder: SearchFolder) -> str:
    CheckpointStore(folder.checkpoints, 0).save(3, {"epoch": 3})
    return "trial-0000: must not be there: it is of no unfinished trial, and of none of the best"


def name_a_checkpoint_otherwise(folder: SearchFolder) -> str:
    (folder.checkpoints / "trial-0001" / "epoch-0002.tmp").touch()
    return "epoch-0002.tmp: must be a checkpoint, named epoch-NNNN.pt"


def change_the_spec(folder: SearchFolder) -> str:
    folder.spec.write_text(folder.spec.read_text().replace("trials: 4", "trials: 5"))
    return "spec.yaml: must be the spec of the record"


@pytest.mark.parametrize(
    "break_it",
    [lose_a_checkpoint, keep_a_checkpoint, name_a_checkpoint_otherwise, change_the_spec],
)
def test_what_is_wrong_in_the_files_is_found(
    search: Search, break_it: Callable[[SearchFolder], str]
) -> None:
    problem = break_it(search.folder)
    (found,) = search.check().problems
    assert re.search(f"{problem}$", found)


def leave_an_epoch_out(record: Record) -> str:
    number = add_trial(record, [0.1])
    record.report(number, 3, {"val_accuracy": 0.3})
    return "trial 0: must have epochs from 1 without a gap, but got [1, 3]"


def train_too_long(record: Record) -> str:
    add_trial(record, [0.1, 0.2, 0.3, 0.4])
    return "trial 0: must have at most 3 epochs, but got 4"


def complete_too_soon(record: Record) -> str:
    add_trial(record, [0.1, 0.2], Outcome.COMPLETED)
    return "trial 0: must have trained 3 epochs, for it completed, but got 2"


def report_without_an_attempt(record: Record) -> str:
    record.add_trial(PARAMS)
    record.report(0, 1, {"val_accuracy": 0.1})
    return "trial 0: must have an attempt, for it has epochs, but got 0"


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


def test_nothing_is_wrong_with_a_search_that_was_extended(search: Search) -> None:
    record = search.folder.take_over()
    spec = record.spec.extended(trials=1)
    record.go_on(spec)
    search.folder.write_spec(spec)
    number = add_trial(record, [0.6, 0.7, 0.9])
    add_checkpoint(record, search.folder, number)
    record.end_trial(number, Outcome.COMPLETED)
    shutil.rmtree(search.folder.checkpoints / "trial-0001")
    record.end("finished")
    sync(record, search.place.tracking_uri)
    assert search.check().problems == ()


def test_a_search_that_was_cut_off_is_compared_in_full(search: Search) -> None:
    record = search.folder.take_over()
    record.go_on()
    number = add_trial(record, [0.1])
    newest = add_checkpoint(record, search.folder, number)
    newest.with_name("epoch-0004.tmp").touch()
    sync(record, search.place.tracking_uri)
    assert search.check().problems == ()
    record.report(number, 2, {"val_accuracy": 0.2})
    (problem,) = search.check().problems
    assert problem.endswith("val_accuracy at step 2: must be [0.2], but got []")


def test_a_search_that_is_driven_is_not_wrong_while_it_goes_on(tmp_path: Path) -> None:
    place = Runs(tmp_path)
    folder = place.create(make_spec())
    with folder.drive():
        driver = folder.take_over()
        add_trial(driver, [0.1])
        read_before = folder.open_record()
        driver.report(0, 2, {"val_accuracy": 0.2})
        add_trial(driver, [0.1])
        add_checkpoint(driver, folder, 1)
        findings = check_search(read_before, folder, place.tracking_uri)
        assert findings.problems == ()
        assert "nothing with MLflow" in findings.compared[-1]
        assert not (tmp_path / "mlflow.db").exists()

        stray = CheckpointStore(folder.checkpoints, 7).save(1, {"epoch": 1}).parent
        (problem,) = check_search(read_before, folder, place.tracking_uri).problems
        assert problem.startswith(f"{stray}: must not be there")


def ended_process() -> int:
    """Return the id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def make_garbage(place: Runs, name: str) -> tuple[SearchFolder, dict[Path, int]]:
    """Make a search with garbage of each kind; returns it with what is garbage, in bytes."""
    folder = place.create(make_spec(name=name))
    record = folder.open_record()
    for value in (0.5, 0.8):
        number = add_trial(record, [0.1, 0.2, value])
        add_checkpoint(record, folder, number)
        record.end_trial(number, Outcome.COMPLETED)
    runs_still = CheckpointStore(folder.checkpoints, add_trial(record, [0.1]))
    runs_still.save(1, {"epoch": 1})
    worse = folder.checkpoints / "trial-0000" / "epoch-0003.pt"
    unfinished = runs_still.folder / "epoch-0002.tmp"
    draft = folder.path / f".report.md.{ended_process()}"
    for path in (unfinished, draft, folder.ray / "generation" / "trial.json"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")
    (folder.path / f".report.html.{os.getpid()}").touch()  # somebody writes it now
    return folder, {worse.parent: worse.stat().st_size, unfinished: 5, draft: 5}


def sizes(garbage: list[Garbage]) -> dict[Path, int]:
    return {item.path: item.num_bytes for item in garbage}


def files(path: Path) -> set[Path]:
    return {file for file in path.rglob("*") if file.is_file() and file.name != "driver.lock"}


def test_garbage_is_found_and_removed_and_nothing_else(tmp_path: Path) -> None:
    place = Runs(tmp_path)
    folder, expected = make_garbage(place, "cut-off")
    dead = tmp_path / f".half.{ended_process()}"
    alive = tmp_path / f".half.{os.getpid()}"
    other = tmp_path / f".cache.{ended_process()}"
    for path in (dead / "checkpoints", alive / "checkpoints", other):
        path.mkdir(parents=True)
    expected[dead] = 0
    before = files(tmp_path)

    found = find_garbage(place)
    assert sizes(found) == expected
    assert files(tmp_path) == before
    assert remove(found) == sum(expected.values())
    gone = {path for path in before if {path, *path.parents} & expected.keys()}
    assert (len(gone), files(tmp_path)) == (3, before - gone)
    assert not dead.exists()
    assert alive.exists() and other.exists()
    assert find_garbage(place) == []
    assert remove(found) == 0
    assert folder.ray.is_dir()  # of a search that can be resumed


def test_rays_files_go_when_the_search_has_ended(tmp_path: Path) -> None:
    place = Runs(tmp_path)
    folder, expected = make_garbage(place, "ended")
    record = folder.open_record()
    record.end_trial(2, Outcome.STOPPED_EARLY)
    record.end("finished")
    assert set(sizes(find_garbage(place))) == {
        *(path for path in expected if path.suffix != ".tmp"),
        folder.checkpoints / "trial-0002",
        folder.ray,
    }
    remove(find_garbage(place))
    assert not folder.ray.exists()
    assert {path.name for path in folder.checkpoints.iterdir()} == {"trial-0001"}


def test_a_search_that_is_driven_is_left_alone(tmp_path: Path) -> None:
    place = Runs(tmp_path)
    folder, expected = make_garbage(place, "driven")
    before = files(tmp_path)
    found = find_garbage(place)
    assert sizes(found) == expected
    with folder.drive():  # after it was found, and while it is looked for
        assert find_garbage(place) == []
        assert remove(found) == 0
    assert files(tmp_path) == before


def test_a_record_that_cannot_be_read_holds_up_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = Runs(tmp_path)
    _, expected = make_garbage(place, "readable")
    broken, _ = make_garbage(place, "broken")
    broken.journal.write_bytes(b"")
    assert sizes(find_garbage(place)) == expected
    assert "broken is passed over" in caplog.text
