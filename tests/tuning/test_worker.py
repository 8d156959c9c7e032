"""What a worker reports of trials that end badly, and which failures it doesn't believe."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hpsearch.components import Data
from hpsearch.outcome import Outcome
from hpsearch.process import keep_process
from hpsearch.spec import TrialConfig
from hpsearch.tuning.on_ray.actor import TrialActor
from hpsearch.tuning.report import Report
from hpsearch.tuning.trial_errors import UsedWorkerError

Workers = Callable[[str], TrialActor]


@pytest.fixture(autouse=True)
def own_process() -> Iterator[None]:
    """A worker has its process for itself."""
    restore = keep_process()
    yield
    restore()


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    """Start a worker on a function in this file."""
    made = []

    def start(function: str) -> TrialActor:
        worker = TrialActor.__new__(TrialActor)  # Tune's own set-up makes folders and loggers
        worker.setup({"trial": config(tmp_path, function, 0)}, checkpoints=str(tmp_path / "c"))
        made.append(worker)
        return worker

    yield start
    for worker in made:
        worker.cleanup()


def config(folder: Path, function: str, number: int) -> TrialConfig:
    name = f"{__name__}:{function}"
    return TrialConfig(
        number, 0, 2, {"space": {}}, metric="score", trainable=name, folder=str(folder)
    )


def step(worker: TrialActor) -> Report:
    report: Report = worker.step()["report"]
    return report


def failing(config: dict[str, Any], trial: Any) -> Iterator[dict[str, float]]:
    raise RuntimeError("always")
    yield {}


def failing_later(config: dict[str, Any], trial: Any) -> Iterator[dict[str, float]]:
    yield {"score": 1.0}
    if trial.number == 1:
        raise RuntimeError("in the second epoch")
    yield {"score": 1.0}


def failing_once_used(config: dict[str, Any], trial: Any) -> Iterator[dict[str, float]]:
    if trial.number == 1:
        raise RuntimeError("the second time")
    yield {"score": 1.0}


def failing_at_its_end(config: dict[str, Any], trial: Any) -> Iterator[dict[str, float]]:
    for _ in range(trial.max_epochs):
        yield {"score": 0.25}
    raise RuntimeError("the disk is full")


def exiting(config: dict[str, Any], trial: Any) -> Iterator[dict[str, float]]:
    yield {"score": 1.0}
    sys.exit("no data")


def with_another_metric(config: dict[str, Any], trial: Any) -> Iterator[dict[str, float]]:
    yield {"loss": 1.0}


def staying(config: dict[str, Any], trial: Any) -> Iterator[dict[str, float]]:
    os.environ["LEFT"] = str(trial.number)
    if trial.number == 0:
        raise RuntimeError("once")
    yield {"score": 1.0}


class Exiting:
    """Ends the program in its first epoch."""

    def __init__(self, config: dict[str, Any], trial: Any) -> None:
        """Nothing to make."""

    def train_epoch(self) -> dict[str, float]:
        sys.exit("no data")

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to load."""


def test_a_failure_after_the_last_epoch_comes_with_its_metrics(workers: Workers) -> None:
    worker = workers("failing_at_its_end")
    assert step(worker).outcome is None
    report = step(worker)
    assert (report.epoch, report.metrics["score"]) == (2, 0.25)
    assert (report.outcome, report.why) == (Outcome.FAILED, "RuntimeError: the disk is full")
    assert report.error is not None
    assert report.error.function == "failing_at_its_end"


@pytest.mark.parametrize("function", ["exiting", "Exiting"])
def test_code_that_ends_the_program_fails_its_trial(function: str, workers: Workers) -> None:
    worker = workers(function)
    report = step(worker) if function == "Exiting" else [step(worker) for _ in range(2)][1]
    assert report.outcome is Outcome.FAILED
    assert f"of {__file__} ended the program by SystemExit('no data')" in str(report.why)


def test_a_failure_of_a_fresh_worker_is_believed_in_a_used_one(
    workers: Workers, tmp_path: Path
) -> None:
    worker = workers("failing")
    assert step(worker).outcome is Outcome.FAILED
    worker.reset_config({"trial": config(tmp_path, "failing", 1)})
    assert step(worker).outcome is Outcome.FAILED


def test_another_failure_of_a_used_worker_before_a_report_is_not(
    workers: Workers, tmp_path: Path
) -> None:
    worker = workers("failing_once_used")
    step(worker)
    worker.reset_config({"trial": config(tmp_path, "failing_once_used", 1)})
    with pytest.raises(UsedWorkerError, match="the second time"):
        worker.step()


def test_a_later_failure_of_a_used_worker_is(workers: Workers, tmp_path: Path) -> None:
    worker = workers("failing_later")
    step(worker)
    worker.reset_config({"trial": config(tmp_path, "failing_later", 1)})
    assert step(worker).outcome is None
    assert step(worker).why == "RuntimeError: in the second epoch"


def test_the_process_is_put_back_before_the_same_trial_is_tried_again(workers: Workers) -> None:
    worker = workers("staying")
    assert step(worker).outcome is Outcome.FAILED
    assert "LEFT" not in os.environ


def test_an_objective_that_never_comes_fails_the_trial_and_its_lack_is_said(
    workers: Workers,
) -> None:
    worker = workers("with_another_metric")
    first, second = step(worker), step(worker)
    assert "the report of epoch 1 lacks the objective 'score'" in str(*first.warnings)
    assert "no report held the objective 'score', only 'loss'" in str(second.why)


class Gain(nn.Linear):
    """Reads a file beside the spec whenever it is called."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return float(Path("gain.txt").read_text()) * super().forward(x)


def build(input_shape: tuple[int, ...], output_size: int) -> nn.Module:
    return Gain(input_shape[0], output_size)


def test_components_find_the_spec_s_folder_too(wine: Data, tmp_path: Path) -> None:
    (tmp_path / "gain.txt").write_text("0.5")
    values = {
        "model": {"name": f"{__name__}:build"},
        "optimizer": {"name": "sgd", "lr": 0.1},
        "batch_size": 32,
    }
    worker = TrialActor.__new__(TrialActor)
    trial = TrialConfig(0, 0, 2, values, folder=str(tmp_path))
    here = Path.cwd()
    worker.setup({"trial": trial}, wine, str(tmp_path / "c"))
    assert step(worker).why is None
    assert Path.cwd() == tmp_path
    worker.cleanup()
    assert Path.cwd() == here


def test_a_process_that_hangs_is_ended_and_shows_where() -> None:
    code = (
        "import threading\nfrom hpsearch.process import given_up_after\n"
        "def hang(): threading.Event().wait()\n"
        "with given_up_after(0.1): hang()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "in hang" in done.stderr
