"""Runs of MLflow that users' code has open when its trial is stopped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient

from hpsearch.spec import TrialConfig
from hpsearch.training import launch
from tests.support.commands import training
from tests.support.mlflow_store import Store


def train(config: dict[str, Any], trial: Any) -> Iterator[dict[str, float]]:
    with mlflow.start_run(), mlflow.start_run(nested=True):
        for epoch in range(1, 3 + trial.max_epochs):
            yield {"loss": 1 / epoch}


@pytest.fixture(autouse=True)
def own_store(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)


def statuses(uri: str) -> list[str]:
    return [run.info.status for run in MlflowClient(uri).search_runs(["0"])]


@pytest.mark.parametrize("epochs", [1, 3], ids=["stopped early", "trained to its last epoch"])
def test_a_function_s_runs_end_finished(epochs: int, store: Store, tmp_path: Path) -> None:
    config = TrialConfig(
        0, 0, 3, {"space": {}}, trainable=f"{__name__}:train", folder=str(tmp_path)
    )
    trainer = launch(config, None)
    for _ in range(epochs):
        trainer.train_epoch()
    trainer.close()
    assert statuses(store.uri) == ["FINISHED", "FINISHED"]
    assert mlflow.active_run() is None


@pytest.mark.parametrize("on_stop", ["raise", "terminate"])
def test_a_script_s_run_ends_finished(on_stop: str, store: Store, tmp_path: Path) -> None:
    script = f"""
        import hpsearch, mlflow
        with mlflow.start_run():
            for epoch in range(9):
                hpsearch.report(epoch=epoch, accuracy=0.5, on_stop={on_stop!r})
    """
    with training(tmp_path, script, {"stop_grace": 60.0}, space={}) as trainer:
        trainer.train_epoch()
    assert statuses(store.uri) == ["FINISHED"]


def test_a_script_s_own_handler_of_sigterm_is_called(store: Store, tmp_path: Path) -> None:
    script = """
        import hpsearch, mlflow, pathlib, signal, sys
        def handle(*_):
            hpsearch.report(epoch=9, accuracy=0.1)  # taken, and dropped
            pathlib.Path("handled").touch()
            sys.exit()
        signal.signal(signal.SIGTERM, handle)
        with mlflow.start_run():
            hpsearch.report(epoch=1, accuracy=0.5)
            hpsearch.report(epoch=2, accuracy=0.6)
    """
    with training(tmp_path, script, {"stop_grace": 60.0}, space={}) as trainer:
        assert [trainer.train_epoch(), trainer.train_epoch()][1]["accuracy"] == 0.6
    assert (tmp_path / "handled").exists()
    assert statuses(store.uri) == ["FINISHED"]
