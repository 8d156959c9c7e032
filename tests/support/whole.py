"""What the tests of integrity share: a search that is whole, for them to break."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Run
from torch import nn

from hpsearch.integrity.check import Findings, check_search
from hpsearch.outcome import Outcome
from hpsearch.record import Record
from hpsearch.runs import Runs, SearchFolder
from hpsearch.tracking import register_best, sync
from hpsearch.training.checkpoints import CheckpointStore
from tests.support.specs import make_spec

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


def make_whole_search(path: Path) -> None:
    """Make a runs folder with one search that has ended, with all that belongs to it."""
    place = Runs(path)
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
