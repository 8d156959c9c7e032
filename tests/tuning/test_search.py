"""Whole searches on real Ray, with a real MLflow store, from this process."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType

from hpsearch.analysis.plain import trial_log
from hpsearch.components import load_data
from hpsearch.errors import RunsError, SearchExistsError, SearchFailedError, SpecError
from hpsearch.integrity.check import check_search
from hpsearch.outcome import Outcome
from hpsearch.record import Record, TrialRecord
from hpsearch.runs import Runs
from hpsearch.searches import run_search
from hpsearch.tuning.on_ray import (
    experiment,
)
from tests.support.specs import make_spec

pytestmark = pytest.mark.usefixtures("ray_cluster")

MISBEHAVING = """
import os
import time
from pathlib import Path
import torch
from hpsearch import BadConfigurationError

def train(config, trial):
    for epoch in range(1, 4):
        if epoch == 2:
            misbehave(config["mode"])
        yield {"score": epoch / 10}

def misbehave(mode):
    if mode == "raise":
        raise KeyError("a bug")
    if mode == "nothing":
        yield_none()
    if mode == "memory":
        torch.empty(2**60, dtype=torch.uint8)
    if mode == "bad":
        raise BadConfigurationError("width must be even")

def diverge(config, trial):
    yield {"score": 0.5}
    yield {"score": float("nan")}

def dies_once(config, trial):
    marker = Path(config["marker"])
    for epoch in range((trial.load_checkpoint() or 0) + 1, 4):
        if epoch == 2 and not marker.exists():
            marker.touch()
            os._exit(1)
        yield {"score": epoch / 10}
        trial.save_checkpoint(epoch)

def dies_always(config, trial):
    yield {"score": 0.1}
    os._exit(1)

def dies_after_its_end(config, trial):
    marker = Path(config["marker"])
    try:
        for epoch in range(1, 4):
            yield {"score": epoch / 10}
    finally:  # when the worker takes the next trial
        if not marker.exists():
            marker.touch()
            os._exit(1)

def quick(config, trial):
    marker = Path(config["marker"])
    if not marker.exists():
        marker.touch()
        os._exit(1)
    (marker.parent / f"process-{os.getpid()}").touch()
    for epoch in range(1, 4):
        if len(list(marker.parent.glob("process-*"))) < 2:  # the other worker is starting
            time.sleep(0.25)
        yield {"score": 0.5, "process": os.getpid()}

def plain(config, trial):
    for epoch in range(1, 4):
        yield {"score": epoch / 10}

def wrong_metric(config, trial):
    yield {"accuracy": 0.5}
"""


@pytest.fixture
def user_code(tmp_path: Path) -> Path:
    # A module of its own name: Ray's workers keep what they imported.
    name = f"user_{abs(hash(str(tmp_path)))}.py"
    (tmp_path / name).write_text(MISBEHAVING)
    return tmp_path / name


def children(runs: Path, name: str) -> dict[int, Run]:
    client = MlflowClient(Runs(runs).tracking_uri)
    experiment = client.get_experiment_by_name(name)
    found = client.search_runs([experiment.experiment_id], run_view_type=ViewType.ALL)
    tags = [(run.data.tags.get("hpsearch.trial"), run) for run in found]
    return {int(number): run for number, run in tags if number is not None}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> tuple[Path, Record]:
    runs = tmp_path_factory.mktemp("runs")
    report = run_search(make_spec(search={"trials": 8, "max_concurrent": 2}), runs)
    assert report.state == "finished"
    return runs, Runs(runs).search("small").open_record()


def test_a_search_ends_with_every_trial_in_a_true_state(finished: tuple[Path, Record]) -> None:
    _, record = finished
    assert len(record.trials) == 8
    for trial in record.trials:
        assert trial.outcome in (Outcome.COMPLETED, Outcome.STOPPED_EARLY)
        assert sorted(trial.curve) == list(range(1, trial.epochs + 1))
        assert (trial.outcome is Outcome.COMPLETED) == (trial.epochs == 3)
        assert trial.attempts == 1
    assert record.best is not None
    assert record.objective(record.best) > 0.85


def test_mlflow_has_a_parent_and_a_child_for_each_trial(finished: tuple[Path, Record]) -> None:
    runs, record = finished
    runs_by_number = children(runs, "small")
    assert sorted(runs_by_number) == list(range(8))
    client = MlflowClient(Runs(runs).tracking_uri)
    for trial in record.trials:
        run = runs_by_number[trial.number]
        assert run.info.status == "FINISHED"
        history = client.get_metric_history(run.info.run_id, "val_accuracy")
        assert {m.step: m.value for m in history} == trial.metric("val_accuracy")


def test_only_the_best_checkpoint_is_kept(finished: tuple[Path, Record]) -> None:
    runs, record = finished
    files = [path.relative_to(runs) for path in runs.glob("small/checkpoints/**/*.pt")]
    assert record.best is not None
    assert files == [Path("small/checkpoints", str(record.best.checkpoint))]


def test_the_registered_model_scores_what_the_report_says(
    finished: tuple[Path, Record], tmp_path: Path
) -> None:
    runs, record = finished
    mlflow.set_tracking_uri(Runs(runs).tracking_uri)
    model = mlflow.pytorch.load_model("models:/small/1")
    data = load_data({"name": "digits"}, seed=0)
    raw = data.as_raw(data.test.x)
    with torch.inference_mode():
        predicted = model(torch.from_numpy(raw)).argmax(1).numpy()
    accuracy = float(np.mean(predicted == data.test.y))
    assert accuracy == pytest.approx(record.result["test_metrics"]["test_accuracy"], abs=1e-6)


def test_the_report_is_written_and_given_back(finished: tuple[Path, Record]) -> None:
    runs, record = finished
    folder = Runs(runs).search("small")
    assert "val_accuracy" in folder.report_md.read_text()
    assert "plotly" in folder.report_html.read_text().lower()
    assert "trial" in folder.spec.read_text()


def test_the_same_spec_gives_the_same_search_with_one_slot(tmp_path: Path) -> None:
    spec = make_spec(search={"trials": 6})
    first = run_search(spec, tmp_path / "one").record.trials
    again = run_search(spec, tmp_path / "two").record.trials
    assert [trial.params for trial in again] == [trial.params for trial in first]
    for earlier, later in zip(first, first[1:], strict=False):
        assert later.started_at >= (earlier.ended_at or 0)  # nothing is drawn ahead
    assert [losses(trial) for trial in again] == [losses(trial) for trial in first]


def losses(trial: TrialRecord) -> dict[int, float]:
    return trial.metric("val_loss")


def test_a_search_without_ranges_trains_its_one_configuration_and_shows_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = make_spec(
        model={"name": "mlp", "hidden_sizes": [16]},
        optimizer="adam",
        batch_size=64,
        search={"trials": 1},
    )
    report = run_search(spec, tmp_path)
    assert report.best is not None
    assert isinstance(report.trials, pd.DataFrame)
    assert len(report.curves) == 3
    assert "val_accuracy" in report.to_markdown()
    checking, search = capsys.readouterr().out.splitlines()[:2]
    assert checking == "small: checking it while Ray starts"
    assert search.startswith(f"search small in {tmp_path / 'small'}: ")


def test_cross_validation_ends_with_a_refit(tmp_path: Path) -> None:
    spec = make_spec(dataset={"name": "wine", "folds": 3}, batch_size=16, search={"trials": 2})
    report = run_search(spec, tmp_path)
    assert set(report.test_metrics or {}) == {"test_loss", "test_accuracy"}


def test_trials_that_end_themselves_leave_their_best_weights(tmp_path: Path) -> None:
    """The record, the best trial, its checkpoint and the registered model say the same."""
    spec = make_spec(
        optimizer={"name": "sgd", "lr": {"low": 0.3, "high": 2.0, "log": True}},
        initializer={"name": "large"},
        batch_size=32,
        callbacks=[{"name": "early_stopping", "patience": 1}],
        checks=["loss_at_init", "eval_mode"],
        search={"early_stopping": {"name": "none", "max_epochs": 30}},
    )
    report = run_search(spec, tmp_path)
    record, best = report.record, report.best
    assert best is not None
    for trial in record.trials:
        curve = trial.metric("val_loss")
        assert (trial.outcome, trial.reason) == (Outcome.COMPLETED, "callback early_stopping")
        assert 2 <= trial.epochs < 30
        assert curve[trial.epochs] == min(curve.values())
        assert str(trial.warnings[0]).startswith("loss_at_init: warning: first loss")
    scores = [trial.last("val_accuracy") for trial in record.trials]
    assert record.objective(best) == max(score for score in scores if score is not None)
    assert trial_log(best).splitlines()[1] == str(best.warnings[0])
    folder = Runs(tmp_path).search("small")
    assert check_search(record, folder, Runs(tmp_path).tracking_uri).problems == ()
    assert "| `loss_at_init` | 4 | trial 0: first loss" in report.to_markdown()
    mlflow.set_tracking_uri(Runs(tmp_path).tracking_uri)
    model = mlflow.pytorch.load_model("models:/small/1")
    data = load_data({"name": "digits"}, seed=0)
    raw = data.as_raw(data.val.x)
    with torch.inference_mode():
        predicted = model(torch.from_numpy(raw)).argmax(1).numpy()
    accuracy = float(np.mean(predicted == data.val.y))
    assert accuracy == pytest.approx(record.objective(best), abs=1e-6)
    history = MlflowClient(Runs(tmp_path).tracking_uri).get_metric_history(
        children(tmp_path, "small")[best.number].info.run_id, "val_accuracy"
    )
    assert {m.step: m.value for m in history} == best.metric("val_accuracy")


def test_regression_minimizes_a_loss(tmp_path: Path) -> None:
    spec = make_spec(
        dataset="diabetes",
        objective={"metric": "val_loss", "direction": "minimize"},
        search={"trials": 3, "early_stopping": "none"},
    )
    spec = spec.model_copy(
        update={
            "search": spec.search.model_copy(
                update={
                    "early_stopping": spec.search.early_stopping.model_copy(
                        update={"max_epochs": 2}
                    )
                }
            )
        }
    )
    report = run_search(spec, tmp_path)
    values = report.trials["objective"]
    assert report.best is not None
    assert report.record.objective(report.best) == values.min()
    assert "test_r2" in (report.test_metrics or {})


MODES = ["raise", "memory", "bad", "fine"]


def test_a_trial_that_ends_badly_ends_alone(tmp_path: Path, user_code: Path) -> None:
    spec = make_spec(
        name="bad",
        objective={"metric": "score"},
        trainable=f"{user_code.name}:train",
        folder=tmp_path,
        space={"mode": {"choices": MODES}},
        search={"trials": 4, "sampler": "grid"},
    )
    report = run_search(spec, tmp_path / "runs")
    by_mode = {trial.params["mode"]: trial for trial in report.record.trials}
    outcomes = {mode: trial.outcome for mode, trial in by_mode.items()}
    assert outcomes == {
        "raise": Outcome.FAILED,
        "memory": Outcome.OUT_OF_MEMORY,
        "bad": Outcome.BAD_CONFIGURATION,
        "fine": Outcome.COMPLETED,
    }
    assert "KeyError" in (by_mode["raise"].traceback or "")
    assert "width must be even" in (by_mode["bad"].reason or "")
    assert report.best is by_mode["fine"]
    runs = children(tmp_path / "runs", "bad")
    for trial in report.record.trials:
        expected = "FINISHED" if trial.outcome is Outcome.COMPLETED else "FAILED"
        assert runs[trial.number].info.status == expected
        if trial.reason:
            assert runs[trial.number].data.tags["reason"] == trial.reason
    markdown = report.to_markdown()
    assert "width must be even" in markdown


def test_a_diverging_trial_is_stopped_at_its_first_nan(tmp_path: Path, user_code: Path) -> None:
    report = run_search(user_spec(user_code, "diverge", trials=1), tmp_path / "runs")
    trial = report.record.trials[0]
    assert (trial.outcome, trial.epochs) == (Outcome.DIVERGED, 1)
    assert trial.reason == "score is nan at epoch 2"


def test_a_trial_whose_worker_dies_is_tried_again(tmp_path: Path, user_code: Path) -> None:
    spec = user_spec(user_code, "dies_once", trials=1, marker=str(tmp_path / "marker"))
    trial = run_search(spec, tmp_path / "runs").record.trials[0]
    assert (trial.outcome, trial.attempts, trial.epochs) == (Outcome.COMPLETED, 2, 3)
    assert trial.metric("score") == {1: 0.1, 2: 0.2, 3: 0.3}


def test_a_trial_whose_worker_dies_as_it_takes_it_is_tried_again(
    tmp_path: Path, user_code: Path
) -> None:
    marker = tmp_path / "marker"
    spec = user_spec(user_code, "dies_after_its_end", trials=3, marker=str(marker))
    trials = run_search(spec, tmp_path / "runs").record.trials
    assert marker.exists()
    assert [(trial.outcome, trial.epochs) for trial in trials] == [(Outcome.COMPLETED, 3)] * 3


def test_trials_shorter_than_a_workers_start_keep_all_slots_busy(
    tmp_path: Path, user_code: Path
) -> None:
    spec = user_spec(user_code, "quick", trials=120, marker=str(tmp_path / "marker"))
    search = spec.search.model_copy(update={"max_concurrent": 2})
    record = run_search(spec.model_copy(update={"search": search}), tmp_path / "runs").record
    processes = Counter(trial.curve[1]["process"] for trial in record.trials)
    assert len(processes) == 2  # the other's, and that of the one that died
    assert min(processes.values()) >= 4


def test_a_trial_that_kills_its_workers_is_given_up(tmp_path: Path, user_code: Path) -> None:
    report = run_search(user_spec(user_code, "dies_always", trials=1), tmp_path / "runs")
    [trial] = report.record.trials
    assert trial.outcome is Outcome.FAILED
    assert "its worker died 3 times: ActorDiedError: " in (trial.reason or "")


def test_a_search_whose_first_trials_all_fail_alike_stops(tmp_path: Path, user_code: Path) -> None:
    spec = user_spec(user_code, "wrong_metric", trials=50)
    search = spec.search.model_copy(update={"dry_epoch": False})
    spec = spec.model_copy(update={"search": search})
    with pytest.raises(SearchFailedError, match=r"first 5 trials all failed.*'score'"):
        run_search(spec, tmp_path / "runs")
    record = Runs(tmp_path / "runs").search("user").open_record()
    assert record.state == "failed"
    assert 5 <= len(record.trials) <= 7
    assert all(trial.outcome is not None for trial in record.trials)


def test_a_budget_of_epochs_ends_the_search(tmp_path: Path) -> None:
    report = run_search(make_spec(search={"trials": 100, "epochs": 6}), tmp_path)
    assert report.state == "finished"
    assert 6 <= sum(trial.epochs for trial in report.record.trials) <= 8
    assert "6 epochs" in (report.record.reason or "")
    assert not list(report.record.running())


def test_a_time_limit_ends_the_search(tmp_path: Path) -> None:
    spec = make_spec(search={"trials": 10_000, "time_limit": 6})
    report = run_search(spec, tmp_path)
    assert report.state == "finished"
    assert 0 < len(report.record.trials) < 10_000
    assert "time_limit" in (report.record.reason or "")
    assert not list(report.record.running())


def test_bad_input_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    with pytest.raises(SpecError, match="val_acuracy"):
        run_search(make_spec(objective={"metric": "val_acuracy"}), runs)
    with pytest.raises(SpecError, match="batch_size"):
        run_search(make_spec(batch_size=5000), runs)
    assert not runs.exists()


def test_a_name_that_exists_is_refused(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    with pytest.raises(SearchExistsError, match="another name"):
        run_search(make_spec(), tmp_path)


def test_a_runs_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunsError, match="must be a writable folder"):
        run_search(make_spec(), tmp_path / "file" / "runs")


def user_spec(code: Path, function: str, trials: int, **space: object):  # type: ignore[no-untyped-def]
    return make_spec(
        name="user",
        objective={"metric": "score"},
        trainable=f"{code.name}:{function}",
        folder=code.parent,
        space={"x": {"low": 0.0, "high": 1.0}, **space},
        search={"trials": trials, "sampler": "random"},
    )


def test_a_search_is_a_sequence_of_generations(
    tmp_path: Path, user_code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiment, "GENERATION_TRIALS", 3)
    record = run_search(user_spec(user_code, "plain", trials=5), tmp_path / "runs").record
    assert [trial.number for trial in record.trials] == list(range(5))
    assert record.state == "finished"
    assert all(trial.outcome is not None for trial in record.trials)
    assert len(list((tmp_path / "runs" / "user" / "ray").glob("generation-*"))) == 2
