"""What the tests of MLflow's view share: a record, and a real SQLite store."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from hpsearch.outcome import Outcome
from hpsearch.record import Record
from hpsearch.spec import SearchSpec, draft_spec

PARAMS = {"optimizer": "adam", "optimizer.adam.lr": 0.01, "batch_size": 32}
NAME = "a-search"


def make_spec(**sections: Any) -> SearchSpec:
    draft = draft_spec(
        {
            "name": NAME,
            "objective": {"metric": "val_accuracy", "direction": "maximize"},
            "dataset": "digits",
            "model": {"name": "mlp", "hidden_sizes": [16, 8]},
            "optimizer": {
                "choices": [
                    {"name": "adam", "lr": {"low": 1e-4, "high": 1e-1, "log": True}},
                    {"name": "sgd", "lr": {"low": 1e-3, "high": 1.0, "log": True}},
                ]
            },
            "batch_size": {"choices": [32, 64]},
            **sections,
        }
    )
    assert draft.spec is not None, draft.problems
    return draft.spec


class Store:
    """A real store, and what a test asks of it."""

    def __init__(self, folder: Path, template: Path) -> None:
        self.path = folder / "mlflow.db"
        self.uri = f"sqlite:///{self.path}"
        self.artifacts = folder / "mlartifacts"
        self._template = template

    def make(self) -> Store:
        shutil.copy(self._template, self.path)
        return self

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(self.uri, registry_uri=self.uri)

    def execute(self, statement: str) -> None:
        with sqlite3.connect(self.path) as connection:
            connection.execute(statement)
        connection.close()

    def dump(self) -> list[str]:
        connection = sqlite3.connect(self.path)
        try:
            return list(connection.iterdump())
        finally:
            connection.close()

    def runs(self) -> list[Run]:
        experiment = self.client.get_experiment_by_name(NAME)
        if experiment is None:
            return []
        return list(self.client.search_runs([experiment.experiment_id]))

    def parent(self) -> Run:
        (parent,) = (run for run in self.runs() if "mlflow.parentRunId" not in run.data.tags)
        return parent

    def trials(self) -> dict[int, Run]:
        """Runs of trials by number; two of one number are an error."""
        children = [run for run in self.runs() if "hpsearch.trial" in run.data.tags]
        if not children:
            return {}
        parent_id = self.parent().info.run_id
        assert {run.data.tags["mlflow.parentRunId"] for run in children} <= {parent_id}
        numbers = [int(run.data.tags["hpsearch.trial"]) for run in children]
        assert len(set(numbers)) == len(numbers)
        return dict(sorted(zip(numbers, children, strict=True)))

    def curve(self, run: Run, metric: str) -> list[tuple[int, float]]:
        history = self.client.get_metric_history(run.info.run_id, metric)
        return sorted((point.step, point.value) for point in history)


def make_record(folder: Path) -> Record:
    facts = {"torch": "2.13.0", "git_commit": "abc"}
    return Record.create(folder / "record.journal", make_spec(), facts)


def add_trial(record: Record, values: list[float], outcome: Outcome | None = None) -> int:
    number = record.add_trial(PARAMS).number
    record.start_attempt(number)
    for epoch, value in enumerate(values, start=1):
        record.report(number, epoch, {"val_accuracy": value, "train_loss": 1.0 / epoch})
    if outcome is not None:
        record.end_trial(number, outcome)
    return number
