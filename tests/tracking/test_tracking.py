"""MLflow's view of a search, in real SQLite stores."""

from __future__ import annotations

import doctest
import math
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import mlflow
import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from mlflow.entities import Run
from torch import nn

from hpsearch.errors import TrackingError
from hpsearch.outcome import CheckWarning, Outcome
from hpsearch.record import EnsembleNote, Record
from hpsearch.tracking import (
    address_of_run,
    address_of_trials,
    log_report,
    register_best,
    register_ensemble,
    run_content,
    sync,
)
from hpsearch.tracking.models import load_registered
from tests.support.mlflow_store import NAME, PARAMS, Store, add_trial, make_record, make_spec


@pytest.fixture
def record(tmp_path: Path) -> Record:
    return make_record(tmp_path)


@pytest.fixture(scope="module")
def ended(
    tmp_path_factory: pytest.TempPathFactory, mlflow_template: Path
) -> tuple[Record, Store, dict[int, Run]]:
    """A search with a trial of each outcome, and one that runs."""
    folder = tmp_path_factory.mktemp("ended")
    record = Record.create(folder / "record.journal", make_spec())
    for outcome in Outcome:
        number = add_trial(record, [0.5, 0.6])
        traceback = "Traceback: in user code" if outcome is Outcome.FAILED else None
        reason = None if outcome is Outcome.COMPLETED else f"why {outcome}"
        record.end_trial(number, outcome, reason, traceback)
    add_trial(record, [0.5])
    store = Store(folder, mlflow_template).make()
    sync(record, store.uri, store.artifacts)
    return record, store, store.trials()


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Outcome.COMPLETED, "FINISHED"),
        (Outcome.STOPPED_EARLY, "FINISHED"),
        (Outcome.DIVERGED, "FAILED"),
        (Outcome.OUT_OF_MEMORY, "FAILED"),
        (Outcome.BAD_CONFIGURATION, "FAILED"),
        (Outcome.FAILED, "FAILED"),
        (Outcome.CANCELLED, "KILLED"),
    ],
)
def test_an_outcome_means_one_thing_to_mlflow(
    ended: tuple[Record, Store, dict[int, Run]], outcome: Outcome, status: str
) -> None:
    record, store, runs = ended
    (trial,) = (trial for trial in record.trials if trial.outcome is outcome)
    run = runs[trial.number]
    assert (run.info.status, run.data.tags["outcome"]) == (status, outcome.value)
    assert run.data.tags.get("reason") == trial.reason
    assert run.data.tags.get("traceback") == trial.traceback
    assert run.data.tags.get("stopped_early") == ("2" if outcome == "stopped_early" else None)
    assert (run.data.tags["epochs"], run.data.tags["attempts"]) == ("2", "1")
    assert run.info.start_time == int(trial.started_at * 1000)
    assert run.info.end_time == int((trial.ended_at or 0) * 1000)
    assert store.curve(run, "val_accuracy") == [(1, 0.5), (2, 0.6)]


def test_a_trial_is_a_child_run_with_its_values_and_curves(
    ended: tuple[Record, Store, dict[int, Run]],
) -> None:
    record, store, runs = ended
    run = runs[0]
    assert run.info.run_name == "trial-0000"
    assert run.data.tags["hpsearch.searches"] == NAME
    assert run.data.params == {
        "dataset.name": "digits",
        "model.name": "mlp",
        "model.hidden_sizes": "[16, 8]",
        "initializer.name": "torch_default",
        "optimizer.name": "adam",
        "optimizer.lr": "0.01",
        "batch_size": "32",
        "accumulate": "1",
    }
    assert store.curve(run, "train_loss") == [(1, 1.0), (2, 0.5)]
    times = [
        point.timestamp for point in store.client.get_metric_history(run.info.run_id, "train_loss")
    ]
    assert times == [int(at * 1000) for at in record.trials[0].reported_at.values()]


def test_what_the_checks_of_a_trial_warned_of_are_tags(record: Record, store: Store) -> None:
    number = add_trial(record, [0.5])
    names = ["redundant_bias", "mine.py:check"]
    record.note_warnings(number, [CheckWarning(name, f"{'so long' * 99}: no") for name in names])
    record.note_warnings(
        add_trial(record, [0.5]),
        [CheckWarning("loss_at_init", "first loss 9.0, a uniform guess has 2.3")],
    )
    sync(record, store.uri, store.artifacts)
    first, second = (_check_tags(store.trials()[each]) for each in (number, number + 1))
    assert set(first) == {"hpsearch.check.redundant_bias", "hpsearch.check.mine.py:check"}
    assert {len(text) for text in first.values()} == {250}
    assert second == {"hpsearch.check.loss_at_init": "first loss 9.0, a uniform guess has 2.3"}


def _check_tags(run: Run) -> dict[str, str]:
    return {k: v for k, v in run.data.tags.items() if k.startswith("hpsearch.check.")}


def test_a_trial_that_runs_is_a_run_that_runs(
    ended: tuple[Record, Store, dict[int, Run]],
) -> None:
    _, store, runs = ended
    run = runs[len(Outcome)]
    assert (run.info.status, run.info.end_time) == ("RUNNING", None)
    assert "outcome" not in run.data.tags
    assert store.parent().info.status == "RUNNING"
    assert store.curve(run, "val_accuracy") == [(1, 0.5)]


def test_a_search_that_goes_on_loses_what_its_end_told(record: Record, store: Store) -> None:
    record.end("stopped", "cancelled")
    sync(record, store.uri, store.artifacts)
    assert store.parent().data.tags["reason"] == "cancelled"
    record.go_on()
    sync(record, store.uri, store.artifacts)
    parent = store.parent()
    assert (parent.info.status, parent.data.tags["state"]) == ("RUNNING", "running")
    assert "reason" not in parent.data.tags


@pytest.mark.parametrize(
    ("state", "status"), [("finished", "FINISHED"), ("stopped", "KILLED"), ("failed", "FAILED")]
)
def test_the_search_is_the_parent_run(
    record: Record, store: Store, state: Any, status: str
) -> None:
    add_trial(record, [0.4], Outcome.STOPPED_EARLY)
    for value in (0.5, 0.3, 0.8):
        add_trial(record, [value], Outcome.COMPLETED)
    record.set_result(test_metrics={"accuracy": 0.75})
    record.end(state, "because")
    sync(record, store.uri, store.artifacts)

    parent = store.parent()
    tags = parent.data.tags
    assert (parent.info.run_name, parent.info.status) == (NAME, status)
    assert (tags["state"], tags["reason"], tags["seed"]) == (state, "because", "0")
    assert (tags["torch"], tags["git_commit"], tags["best_trial"]) == ("2.13.0", "abc", "3")
    assert parent.data.params["objective.metric"] == "val_accuracy"
    assert parent.data.params["batch_size"] == '{"choices": [32, 64]}'
    assert parent.info.start_time == int(record.created_at * 1000)
    assert parent.info.end_time == int((record.ended_at or 0) * 1000)
    assert store.curve(parent, "best_val_accuracy") == [(2, 0.5), (3, 0.5), (4, 0.8)]
    metrics = parent.data.metrics
    assert (metrics["trials"], metrics["epochs"], metrics["test_accuracy"]) == (4, 4, 0.75)
    assert (metrics["trials_completed"], metrics["trials_stopped_early"]) == (3, 1)
    assert metrics["trials_failed"] == 0


def test_rebuilding_twice_changes_nothing(record: Record, store: Store) -> None:
    add_trial(record, [0.5, math.nan], Outcome.DIVERGED)
    add_trial(record, [0.5, 0.6], Outcome.COMPLETED)
    add_trial(record, [0.1])
    record.set_result(test_metrics={"accuracy": 0.5})
    record.end("finished")
    sync(record, store.uri, store.artifacts)
    before = store.dump()
    sync(record, store.uri, store.artifacts)
    assert store.dump() == before


def test_a_run_that_was_created_and_nothing_else_is_found_again(
    record: Record, store: Store
) -> None:
    add_trial(record, [0.5], Outcome.COMPLETED)
    sync(record, store.uri, store.artifacts)
    parent = store.parent().info
    store.client.create_run(  # one of a user's, which is nobody's trial
        parent.experiment_id, tags={"mlflow.parentRunId": parent.run_id}, run_name="mine"
    )
    for table in ("metrics", "latest_metrics", "params"):
        store.execute(f"DELETE FROM {table}")
    store.execute("UPDATE runs SET status = 'RUNNING', end_time = NULL")
    sync(record, store.uri, store.artifacts)
    run = store.trials()[0]
    assert (run.info.status, run.data.params["optimizer.lr"]) == ("FINISHED", "0.01")
    assert store.curve(run, "val_accuracy") == [(1, 0.5)]


def test_a_search_of_the_same_name_gets_a_run_of_its_own(
    record: Record, store: Store, tmp_path: Path
) -> None:
    add_trial(record, [0.5], Outcome.COMPLETED)
    sync(record, store.uri, store.artifacts)
    other = Record.create(tmp_path / "other.journal", make_spec())
    add_trial(other, [0.9], Outcome.COMPLETED)
    sync(other, store.uri, store.artifacts)
    parents = [run for run in store.runs() if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in store.runs() if "mlflow.parentRunId" in run.data.tags]
    assert len(parents) == len(children) == 2
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {
        run.info.run_id for run in parents
    }


def test_values_that_are_not_finite_are_named_and_not_plotted(
    record: Record, store: Store
) -> None:
    record.add_trial(PARAMS)
    record.report(0, 1, {"val_accuracy": 0.5, "train_loss": math.inf})
    record.report(0, 2, {"val_accuracy": math.nan, "train_loss": -math.inf})
    sync(record, store.uri, store.artifacts)
    run = store.trials()[0]
    assert run.data.tags["nonfinite"] == "train_loss@1=inf, val_accuracy@2=nan, train_loss@2=-inf"
    assert (store.curve(run, "val_accuracy"), store.curve(run, "train_loss")) == ([(1, 0.5)], [])


def test_what_is_too_long_or_oddly_named_is_written_as_far_as_mlflow_goes(
    tmp_path: Path, store: Store
) -> None:
    spec = make_spec(model={"name": "mlp", "note": "x" * 7000, "a/../b": 1})
    record = Record.create(tmp_path / "record.journal", spec)
    record.add_trial(PARAMS)
    record.report(0, 1, {"val_accuracy": 0.5, "top@5 (%)": 50.0})
    record.end_trial(0, Outcome.FAILED, "y" * 9000, "z" * 9000 + " ValueError")
    sync(record, store.uri, store.artifacts)
    run = store.trials()[0]
    note = run.data.params["model.note"]
    assert (len(note), note[-10:]) == (6000, "x ... (cut)"[-10:])
    assert run.data.params["model.a/_x002E_./b"] == "1"
    assert len(run.data.tags["reason"]) == 8000
    assert run.data.tags["traceback"].endswith("z ValueError")
    assert run.data.metrics["top_x0040_5 _x0028__x0025__x0029_"] == 50.0


def test_more_than_one_batch_can_hold_is_written(tmp_path: Path, store: Store) -> None:
    model = {"name": "mlp", **{f"keyword_{i}": i for i in range(150)}}
    record = Record.create(tmp_path / "record.journal", make_spec(model=model))
    record.add_trial(PARAMS)
    metrics = {f"metric_{i}": float(i) for i in range(120)}
    for epoch in range(1, 11):
        record.report(0, epoch, metrics)
    sync(record, store.uri, store.artifacts)
    run = store.trials()[0]
    assert len(run.data.params) > 150
    assert all(
        store.curve(run, f"metric_{i}") == [(epoch, i) for epoch in range(1, 11)]
        for i in range(120)
    )


def test_the_environment_of_another_mlflow_program_does_not_matter(
    record: Record, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync(record, store.uri, store.artifacts)
    monkeypatch.setenv("MLFLOW_RUN_ID", store.parent().info.run_id)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "0")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "another")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'another.db'}")
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", f"sqlite:///{tmp_path / 'another.db'}")
    number = add_trial(record, [0.5], Outcome.COMPLETED)
    sync(record, store.uri, store.artifacts)
    assert store.trials()[number].data.params["optimizer.lr"] == "0.01"
    example = np.zeros((2, 4), dtype=np.float32)
    trial = record.trials[number]
    register_best(record, store.uri, trial, nn.Linear(4, 2), example)
    assert store.client.get_model_version(NAME, "1").run_id == store.trials()[0].info.run_id
    assert not (tmp_path / "another.db").exists()


def test_the_address_of_a_search_names_its_run(record: Record, store: Store) -> None:
    with pytest.raises(TrackingError, match="no run of search"):
        address_of_run(record, store.uri, "")
    sync(record, store.uri, store.artifacts)
    experiment = store.client.get_experiment_by_name(NAME)
    run = store.parent()
    address = address_of_run(record, store.uri, "/mlflow")
    page = f"/#/experiments/{experiment.experiment_id}/runs/{run.info.run_id}"
    assert address.endswith(f"{page}?workflowType=machine_learning")


def test_the_address_of_trials_lists_them_best_first(record: Record, store: Store) -> None:
    with pytest.raises(TrackingError, match="no runs of search"):
        address_of_trials(record, store.uri, "")
    sync(record, store.uri, store.artifacts)
    experiment = store.client.get_experiment_by_name(NAME)
    address = address_of_trials(record, store.uri, "http://127.0.0.1:5000")
    page, _, query = address.partition("?")
    assert page == f"http://127.0.0.1:5000/#/experiments/{experiment.experiment_id}/runs"
    wanted = {name: value for name, (value,) in parse_qs(query).items()}
    found = store.client.search_runs(
        [experiment.experiment_id],
        filter_string=wanted["searchFilter"],
        order_by=[f"{wanted['orderByKey']} {'ASC' if wanted['orderByAsc'] == 'true' else 'DESC'}"],
    )
    assert len(found) == len(record.trials)
    values = [run.data.metrics.get(record.spec.objective.metric) for run in found]
    known = [value for value in values if value is not None]
    assert known == sorted(known, reverse=record.spec.objective.direction == "maximize")


def test_the_report_is_with_the_search(record: Record, store: Store, tmp_path: Path) -> None:
    report = tmp_path / "report.md"
    report.write_text("# A report")
    with pytest.raises(TrackingError, match=f"no run of search '{NAME}'"):
        log_report(record, store.uri, [report])
    sync(record, store.uri, store.artifacts)
    log_report(record, store.uri, [report])
    run_id = store.parent().info.run_id
    assert [file.path for file in store.client.list_artifacts(run_id)] == ["report.md"]
    (copied,) = store.artifacts.rglob("report.md")
    assert copied.read_text() == "# A report"


class Net(nn.Module):
    """With what behaves otherwise in training."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


@pytest.fixture
def loading(store: Store) -> None:
    """MLflow loads models by its own settings, those of the process."""
    mlflow.set_tracking_uri(store.uri)
    mlflow.set_registry_uri(store.uri)


@pytest.mark.usefixtures("loading")
def test_the_registered_model_scores_the_same(record: Record, store: Store) -> None:
    add_trial(record, [0.5], Outcome.COMPLETED)
    sync(record, store.uri, store.artifacts)
    torch.manual_seed(0)
    model, x = Net(), torch.randn(64, 4)
    model(x)  # running statistics that aren't the initial ones
    trial = record.trials[0]
    uri = register_best(record, store.uri, trial, model, x[:5].numpy(), {"accuracy": 0.7})
    assert model.training

    model.eval()
    for name in (uri, f"models:/{NAME}@best"):
        loaded = mlflow.pytorch.load_model(name)
        assert isinstance(loaded, Net)
        assert not loaded.training
        assert torch.equal(loaded(x), model(x))
    served = mlflow.pyfunc.load_model(uri)
    np.testing.assert_array_equal(served.predict(x.numpy()), model(x).detach().numpy())
    assert served.metadata.signature.inputs.inputs[0].shape == (-1, 4)
    assert served.input_example.shape == (5, 4)

    version = store.client.get_model_version(NAME, "1")
    run = store.trials()[0]
    assert (uri, version.run_id) == (f"models:/{NAME}/1", run.info.run_id)
    assert run.data.metrics["test_accuracy"] == 0.7
    (output,) = run.outputs.model_outputs
    logged = store.client.get_logged_model(output.model_id)
    assert (logged.artifact_location, logged.status) == (version.source, "READY")
    assert logged.metrics[0].key == "test_accuracy"
    assert register_best(record, store.uri, trial, model, x[:5].numpy()) == uri  # not again


def test_mlflow_stays_where_its_user_has_it(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = make_record(tmp_path)
    add_trial(record, [0.5], Outcome.COMPLETED)
    sync(record, store.uri, store.artifacts)
    register_best(record, store.uri, record.trials[0], Net(), np.zeros((5, 4), np.float32))
    mlflow.set_registry_uri(f"sqlite:///{tmp_path}/another.db")
    assert isinstance(load_registered(NAME, store.uri), Net)
    assert mlflow.get_registry_uri() == f"sqlite:///{tmp_path}/another.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere")
    assert mlflow.get_tracking_uri() == "http://elsewhere"


@pytest.mark.parametrize(
    "step",
    [
        "log_model_artifacts",
        "finalize_logged_model",
        "log_batch",
        "create_model_version",
        "set_registered_model_alias",
        "set_logged_model_tags",
    ],
)
def test_a_model_whose_driver_died_on_the_way_is_registered_once(
    record: Record, store: Store, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    trial = record.trials[add_trial(record, [0.5], Outcome.COMPLETED)]
    sync(record, store.uri, store.artifacts)
    example = np.zeros((2, 4), dtype=np.float32)

    def register() -> str:
        return register_best(record, store.uri, trial, Net(), example, {"accuracy": 0.7})

    def dies(*arguments: object, **keywords: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(MlflowClient, step, dies)
        register()
    assert register() == f"models:/{NAME}/1"
    run = store.trials()[0]
    assert len(store.client.search_logged_models([run.info.experiment_id])) == 1
    assert len(store.client.search_model_versions(f"name = '{NAME}'")) == 1
    assert str(store.client.get_model_version_by_alias(NAME, "best").version) == "1"
    assert store.curve(run, "test_accuracy") == [(1, 0.7)]


@pytest.mark.parametrize("step", ["log_model_artifacts", "create_model_version"])
def test_an_ensemble_is_registered_once_for_its_trials(
    record: Record, store: Store, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    for value in (0.5, 0.6, 0.7):
        trial = record.trials[add_trial(record, [value], Outcome.COMPLETED)]
    sync(record, store.uri, store.artifacts)
    example = np.zeros((2, 4), dtype=np.float32)
    register_best(record, store.uri, trial, Net(), example)

    def register(*trials: int) -> str:
        record.set_ensemble(EnsembleNote(trials, {}, {}))
        return register_ensemble(record, store.uri, Net(), example, {})

    def dies(*arguments: object, **keywords: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(MlflowClient, step, dies)
        register(2, 1)
    assert register(2, 1) == f"models:/{NAME}/2"
    assert register(2, 1) == f"models:/{NAME}/2"
    aliases = store.client.get_registered_model(NAME).aliases
    assert {name: str(version) for name, version in aliases.items()} == {
        "best": "1",
        "ensemble": "2",
    }
    assert register(2, 1, 0) == f"models:/{NAME}/3", "another one, after the search was extended"
    assert str(store.client.get_model_version_by_alias(NAME, "ensemble").version) == "3"
    experiment = store.parent().info.experiment_id
    assert len(store.client.search_logged_models([experiment])) == 3
    assert isinstance(load_registered(NAME, store.uri, "ensemble"), Net)


def test_scores_of_an_ensemble_are_metrics_of_the_search(record: Record, store: Store) -> None:
    for value in (0.5, 0.6):
        add_trial(record, [value], Outcome.COMPLETED)
    record.set_ensemble(EnsembleNote((1, 0), {"val_accuracy": 0.9}, {"test_accuracy": 0.8}))
    record.end("finished")
    sync(record, store.uri, store.artifacts)
    run = store.parent()
    assert store.curve(run, "ensemble_val_accuracy") == [(2, 0.9)]
    assert store.curve(run, "ensemble_test_accuracy") == [(2, 0.8)]


def test_a_model_needs_the_run_of_its_trial(record: Record, store: Store) -> None:
    sync(record, store.uri, store.artifacts)
    add_trial(record, [0.5], Outcome.COMPLETED)
    example = np.zeros((2, 4), dtype=np.float32)
    with pytest.raises(TrackingError, match="no run of trial 0"):
        register_best(record, store.uri, record.trials[0], Net(), example)


def test_mlflow_is_not_imported_before_it_is_used() -> None:
    program = "import sys, hpsearch.tracking; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_examples_of_the_docstrings_hold() -> None:
    tried = doctest.testmod(run_content)
    assert (tried.failed, tried.attempted > 0) == (0, True)
