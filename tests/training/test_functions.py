"""Training code of the user's own: functions, generators and classes, stepped epoch by epoch."""

from __future__ import annotations

import doctest
import io
import logging
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import hpsearch.training.user_code.reports
from hpsearch.errors import BadConfigurationError, DivergedError, UserCodeError
from hpsearch.spec import TrialConfig
from hpsearch.training import launch
from hpsearch.training.user_code.classes import ClassTrainer
from hpsearch.training.user_code.functions import FunctionTrainer
from hpsearch.training.user_code.reports import read_metrics

EXAMPLES = Path(__file__).parents[2] / "search_spaces"
Trainers = Callable[..., FunctionTrainer | ClassTrainer]


@pytest.fixture
def trainers() -> Iterator[Trainers]:
    """Make a trainer of something in this file; all are closed."""
    made = []

    def make(
        name: str, *, max_epochs: int = 3, objective: str | None = None, **space: Any
    ) -> FunctionTrainer | ClassTrainer:
        config = TrialConfig(
            4,
            0,
            max_epochs,
            {"space": space},
            metric=objective or "",
            trainable=f"{__name__}:{name}",
            folder=".",
        )
        made.append(launch(config, None))
        return made[-1]

    yield make
    for trainer in made:
        trainer.close()


def metrics_of(trainer: FunctionTrainer | ClassTrainer, epochs: int) -> list[float]:
    """The losses of some epochs."""
    return [(trainer.train_epoch() or {})["loss"] for _ in range(epochs)]


EVENTS: list[str] = []


@pytest.fixture(autouse=True)
def no_events() -> None:
    EVENTS.clear()


def generator(config: dict[str, Any], trial: Any) -> Iterator[dict[str, Any]]:
    """Saves after it reports, as documented."""
    weights = trial.load_checkpoint()
    weights = torch.zeros(2) if weights is None else weights
    try:
        while trial.epoch < trial.max_epochs:
            EVENTS.append(f"train {trial.epoch + 1}")
            weights += config.get("lr", 1.0)  # in place: a checkpoint must be a copy
            yield {"loss": weights.sum()}
            trial.save_checkpoint(weights)
    finally:
        EVENTS.append("unwound")


def early_saver(config: dict[str, Any], trial: Any) -> Iterator[dict[str, float]]:
    """Saves before it reports."""
    start = trial.load_checkpoint() or 0
    for epoch in range(start + 1, 100):
        EVENTS.append(f"train {epoch}")
        trial.save_checkpoint(epoch, epoch=trial.epoch + 1)
        yield {"loss": float(epoch)}


def module_saver(config: dict[str, Any], trial: Any) -> None:
    net = nn.Linear(1, 1)
    if (state := trial.load_checkpoint()) is not None:
        net.load_state_dict(state)
    for epoch in range(trial.epoch + 1, trial.max_epochs + 1):
        torch.nn.init.constant_(net.weight, epoch)
        trial.report({"loss": net.weight}, checkpoint=net)


def careless(config: dict[str, Any], trial: Any) -> Iterator[dict[str, float]]:
    """Saves a whole module, which torch loads only by running what the file names."""
    while True:
        yield {"loss": 1.0}
        trial.save_checkpoint(torch.nn.Linear(1, 1))


def non_saver(config: dict[str, Any], trial: Any) -> Iterator[dict[str, float]]:
    for epoch in range(1, 100):
        EVENTS.append(f"train {epoch}")
        yield {"loss": float(epoch)}


def rare_saver(config: dict[str, Any], trial: Any) -> Iterator[dict[str, float]]:
    for epoch in range(1, 10):
        yield {"loss": float(epoch)}
        if epoch % 4 == 0 or epoch == 9:
            trial.save_checkpoint(epoch)


def empty_saver(config: dict[str, Any], trial: Any) -> Iterator[dict[str, float]]:
    trial.save_checkpoint(config["state"], epoch=1)
    yield {"loss": 1.0}


def reporter(config: dict[str, Any], trial: Any) -> None:
    start = trial.load_checkpoint() or 0
    for epoch in range(start + 1, config.get("epochs", trial.max_epochs) + 1):
        trial.report({"loss": 1.0 / epoch})
        trial.save_checkpoint(epoch)
    EVENTS.append("returned")


def drawer(config: dict[str, Any], trial: Any) -> Iterator[dict[str, Any]]:
    """Draws from the three global generators."""
    while True:
        yield {
            "loss": torch.rand(()),
            "numpy": np.random.rand(),
            "python": random.random(),
            "seed": trial.seed % 2**20,
        }


def describer(config: dict[str, Any], trial: Any) -> Iterator[dict[str, float]]:
    EVENTS.append(f"{config} {trial.number} {trial.max_epochs} {trial.device}")
    EVENTS.append(f"{torch.get_num_threads()}")
    while True:
        yield {"loss": trial.epoch}


RAISED: list[BaseException] = []


def raiser(config: dict[str, Any], trial: Any) -> Iterator[dict[str, float]]:
    yield {"loss": 1.0}
    raise RAISED[-1]


def silent(config: dict[str, Any], trial: Any) -> None:
    """Reports nothing."""


def stubborn(config: dict[str, Any], trial: Any) -> Iterator[dict[str, float]]:
    try:
        yield {"loss": 1.0}
    finally:
        raise RuntimeError("the cleanup broke")


class Net:
    """Training as a class."""

    def __init__(self, config: dict[str, Any], trial: Any) -> None:
        self.net, self.config, self.trial = nn.Linear(3, 1), config, trial

    def train_epoch(self) -> dict[str, Any] | None:
        if self.trial.epoch >= self.config.get("epochs", 100):
            return None
        with torch.no_grad():
            self.net.weight.mul_(0.5)
        return {"loss": self.net.weight.abs().sum()}

    def state_dict(self) -> dict[str, Any]:
        return {key: value.clone() for key, value in self.net.state_dict().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.net.load_state_dict(state)

    def close(self) -> None:
        EVENTS.append("closed")
        if "error" in self.config:
            raise self.config["error"]


class TestLockstep:
    @pytest.mark.parametrize("name", ["generator", "non_saver", "early_saver"])
    def test_an_epoch_is_trained_when_it_is_wanted(self, name: str, trainers: Trainers) -> None:
        trainer = trainers(name, max_epochs=9)
        assert (trainer.epoch, EVENTS) == (0, [])
        metrics_of(trainer, 2)
        assert (trainer.epoch, EVENTS) == (2, ["train 1", "train 2"])

    def test_a_plain_function_reports(self, trainers: Trainers) -> None:
        trainer = trainers("reporter")
        assert metrics_of(trainer, 3) == [1.0, 1 / 2, 1 / 3]

    def test_a_report_holds_the_seconds_of_its_epoch(self, trainers: Trainers) -> None:
        metrics = trainers("non_saver").train_epoch()
        assert metrics is not None
        assert 0 < metrics["seconds"] < 10

    def test_an_early_return_ends_the_trial(self, trainers: Trainers) -> None:
        trainer = trainers("reporter", epochs=2)
        metrics_of(trainer, 2)
        assert trainer.train_epoch() is None
        assert trainer.train_epoch() is None
        assert EVENTS == ["returned"]
        assert trainer.state_dict()["epoch"] == 2

    def test_a_return_before_any_report_is_a_bug(self, trainers: Trainers) -> None:
        with pytest.raises(UserCodeError, match="silent: returned before its first report"):
            trainers("silent").train_epoch()

    def test_a_function_is_told_of_its_trial(self, trainers: Trainers) -> None:
        trainer = trainers("describer", lr=0.5)
        assert metrics_of(trainer, 2) == [0, 1]
        assert ["{'lr': 0.5} 4 3 cpu", str(torch.get_num_threads())] == EVENTS


class TestEnding:
    def test_closing_unwinds_a_function_where_it_waits(self, trainers: Trainers) -> None:
        trainer = trainers("generator", max_epochs=9)
        metrics_of(trainer, 2)
        trainer.close()
        assert EVENTS == ["train 1", "train 2", "unwound"]
        trainer.close()
        assert trainer.train_epoch() is None

    def test_a_plain_function_unwinds_in_its_report(self, trainers: Trainers) -> None:
        trainer = trainers("reporter")
        metrics_of(trainer, 1)
        trainer.close()
        assert EVENTS == []

    def test_closing_what_never_started_starts_nothing(self, trainers: Trainers) -> None:
        trainers("generator").close()
        assert EVENTS == []

    def test_what_a_function_raises_then_is_logged(
        self, trainers: Trainers, caplog: pytest.LogCaptureFixture
    ) -> None:
        trainer = trainers("stubborn")
        trainer.train_epoch()
        with caplog.at_level(logging.WARNING):
            trainer.close()
        assert "stubborn (trial 4) raised after its end" in caplog.text
        assert "the cleanup broke" in caplog.text

    @pytest.mark.parametrize(
        "error", [ValueError("mine"), BadConfigurationError("no"), DivergedError("nan")]
    )
    def test_errors_of_the_function_are_passed_on(
        self, error: Exception, trainers: Trainers
    ) -> None:
        RAISED.append(error)
        trainer = trainers("raiser")
        trainer.train_epoch()
        with pytest.raises(type(error)) as caught:
            trainer.train_epoch()
        assert caught.value is error
        assert "raiser" in [entry.name for entry in caught.traceback]

    def test_a_function_cannot_end_its_process(self, trainers: Trainers) -> None:
        RAISED.append(SystemExit("no data"))
        trainer = trainers("raiser")
        trainer.train_epoch()
        line = raiser.__code__.co_firstlineno + 2
        said = rf"line {line} of .*test_functions\.py ended the program by SystemExit\('no data'\)"
        with pytest.raises(UserCodeError, match=said):
            trainer.train_epoch()


class TestCheckpoints:
    @pytest.mark.parametrize(
        "name", ["generator", "early_saver", "reporter", "module_saver", "Net"]
    )
    def test_two_epochs_a_checkpoint_and_two_more_equal_four(
        self, name: str, trainers: Trainers, tmp_path: Path
    ) -> None:
        whole = metrics_of(trainers(name, max_epochs=4), 4)
        first = trainers(name, max_epochs=4)
        metrics_of(first, 2)
        torch.save(first.state_dict(), tmp_path / "state.pt")
        first.close()
        second = trainers(name, max_epochs=4)
        second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=False))
        assert second.epoch == 2
        assert metrics_of(second, 2) == whole[2:]

    def test_what_would_need_code_to_be_loaded_is_told_when_it_is_saved(
        self, trainers: Trainers
    ) -> None:
        trainer = trainers("careless", max_epochs=3)
        trainer.train_epoch()
        with pytest.raises(UserCodeError, match=r"save_checkpoint: must .*Linear"):
            trainer.train_epoch()

    def test_a_function_that_saves_after_its_report_may_do_so(self, trainers: Trainers) -> None:
        trainer = trainers("generator", max_epochs=9)
        trainer.train_epoch()
        state = trainer.state_dict()
        assert state["epoch"] == 1
        assert torch.equal(torch.load(io.BytesIO(state["checkpoint"])), torch.ones(2))
        assert EVENTS == ["train 1"]
        assert metrics_of(trainer, 2) == [4.0, 6.0]
        trainer.state_dict()
        trainer.close()  # where it rests
        assert EVENTS == ["train 1", "train 2", "train 3", "unwound"]

    def test_one_that_does_not_save_trains_one_epoch_ahead_once(self, trainers: Trainers) -> None:
        trainer = trainers("non_saver", max_epochs=9)
        trainer.train_epoch()
        for _ in range(2):
            assert trainer.state_dict()["epoch"] == 0
        assert EVENTS == ["train 1", "train 2"]
        assert metrics_of(trainer, 1) == [2.0]
        trainer.state_dict()
        assert EVENTS == ["train 1", "train 2"]
        assert metrics_of(trainer, 1) == [3.0]

    @pytest.mark.parametrize(("name", "is_told"), [("non_saver", True), ("generator", False)])
    def test_one_that_does_not_save_is_warned_of_once(
        self, name: str, is_told: bool, trainers: Trainers
    ) -> None:
        trainer = trainers(name, max_epochs=9)
        trainer.train_epoch()
        assert isinstance(trainer, FunctionTrainer) and trainer.take_warnings() == []
        metrics_of(trainer, 3)
        told = [str(each) for each in trainer.take_warnings()]
        assert len(told) == is_told
        assert all("epoch 1 is not saved" in each for each in told)

    def test_one_that_saves_rarely_trains_ahead_once_a_save(self, trainers: Trainers) -> None:
        trainer = trainers("rare_saver", max_epochs=9)
        saved = []
        for _ in range(9):
            trainer.train_epoch()
            saved.append(trainer.state_dict()["epoch"])
        assert saved == [0, 0, 0, 0, 4, 4, 4, 4, 9]

    def test_what_a_function_raises_then_is_raised_in_its_epoch(self, trainers: Trainers) -> None:
        RAISED.append(ValueError("late"))
        trainer = trainers("raiser")
        trainer.train_epoch()
        assert trainer.state_dict()["epoch"] == 0
        with pytest.raises(ValueError, match="late"):
            trainer.train_epoch()

    @pytest.mark.parametrize("state", [None, {}, []], ids=repr)
    def test_a_state_that_holds_nothing_is_refused(self, state: Any, trainers: Trainers) -> None:
        trainer = trainers("empty_saver", state=state)
        with pytest.raises(UserCodeError, match="must hold what training continues from, but got"):
            trainer.train_epoch()

    @pytest.mark.parametrize("max_epochs", [1, 3])
    @pytest.mark.parametrize("name", ["generator", "early_saver", "reporter"])
    def test_the_last_epoch_is_saved(self, name: str, max_epochs: int, trainers: Trainers) -> None:
        trainer = trainers(name, max_epochs=max_epochs)
        metrics_of(trainer, max_epochs)
        assert trainer.state_dict()["epoch"] == max_epochs
        is_bounded = name != "early_saver"  # by trial.max_epochs
        assert (f"train {max_epochs + 1}" in EVENTS) is not is_bounded

    def test_a_running_function_starts_anew_from_a_state(self, trainers: Trainers) -> None:
        trainer = trainers("generator", max_epochs=9)
        metrics_of(trainer, 2)
        state = trainer.state_dict()
        metrics_of(trainer, 3)
        trainer.load_state_dict(state)
        assert (trainer.epoch, metrics_of(trainer, 1)) == (2, [6.0])


class TestSeeds:
    def test_the_same_trial_draws_the_same(self, trainers: Trainers) -> None:
        first, second = trainers("drawer").train_epoch(), trainers("drawer").train_epoch()
        assert first is not None and second is not None
        del first["seconds"], second["seconds"]
        assert first == second

    def test_other_trials_draw_other_numbers(self) -> None:
        drawn = []
        for number, seed in [(0, 0), (1, 0), (0, 1)]:
            config = TrialConfig(number, seed, 3, {"space": {}}, trainable=f"{__name__}:drawer")
            trainer = launch(config, None)
            metrics = trainer.train_epoch() or {}
            drawn += [metrics["loss"], metrics["numpy"], metrics["python"], metrics["seed"]]
            trainer.close()
        assert len(set(drawn)) == 12


class TestClasses:
    def test_train_epoch_by_epoch_and_are_closed(self, trainers: Trainers) -> None:
        trainer = trainers("Net")
        assert isinstance(trainer, ClassTrainer)
        first, second = metrics_of(trainer, 2)
        assert second == pytest.approx(first / 2)
        assert trainer.epoch == 2
        trainer.close()
        assert EVENTS == ["closed"]

    def test_may_end_early(self, trainers: Trainers) -> None:
        trainer = trainers("Net", epochs=1)
        trainer.train_epoch()
        assert trainer.train_epoch() is None

    def test_that_end_before_they_began_are_a_bug(self, trainers: Trainers) -> None:
        with pytest.raises(UserCodeError, match="Net: ended before its first epoch"):
            trainers("Net", epochs=0).train_epoch()

    def test_what_closing_raises_is_logged(
        self, trainers: Trainers, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.WARNING):
            trainers("Net", error=RuntimeError("the cleanup broke")).close()
        assert "the cleanup broke" in caplog.text


class TestReports:
    def test_numbers_of_numpy_and_torch_are_numbers(self) -> None:
        report = {
            "a": 1,
            "b": np.float32(0.5),
            "c": torch.tensor(2.0, requires_grad=True),
            "d": np.array([3]),
            "e": torch.tensor([[4]]),
            "val/loss-1.b": True,
        }
        metrics = read_metrics(report, 1)
        assert metrics == {"a": 1, "b": 0.5, "c": 2, "d": 3, "e": 4, "val/loss-1.b": 1}
        assert {type(value) for value in metrics.values()} == {float}

    @pytest.mark.parametrize(
        ("report", "expected"),
        [
            (0.5, "must map names to numbers, but got 0.5"),
            (None, "must map names to numbers, but got None"),
            ([("loss", 1.0)], "must map names to numbers"),
            ({"loss": None}, "loss must be a number, but got None"),
            ({"loss": "0.5"}, "loss must be a number, but got '0.5'"),
            ({"loss": [0.5]}, r"loss must be a number, but got \[0.5\]"),
            ({"loss": torch.zeros(2)}, "loss must be a number, but got tensor"),
            ({"loss": np.array(["a"])}, "loss must be a number, but got 'a'"),
            ({"loss": torch.tensor(1j)}, "loss must be a number, but got 1j"),
            ({1: 0.5}, "a metric's name must be .*, but got 1"),
            ({"": 0.5}, "a metric's name must be .*, but got ''"),
            ({"a\nb": 0.5}, r"a metric's name must be .* printable .*, but got 'a\\nb'"),
            ({"a\x00": 0.5}, "a metric's name must be .*, but got"),
            ({"\udc80": 0.5}, "a metric's name must be .*, but got"),
            ({"n" * 251: 0.5}, "a metric's name must be 1 to 250 printable characters, but got"),
            ({"loss": 1.0, "epoch": 1}, r"'epoch' must be 2 \(epochs count from 1\), but got 1"),
        ],
    )
    def test_that_are_none(self, report: Any, expected: str) -> None:
        with pytest.raises(UserCodeError, match=f"the report of epoch 2: .*{expected}"):
            read_metrics(report, 2)

    @pytest.mark.parametrize("value", [float("nan"), float("-inf"), torch.tensor(torch.inf)])
    def test_that_are_not_finite_mean_divergence(self, value: Any) -> None:
        with pytest.raises(DivergedError, match="other is (nan|-?inf) at epoch 2"):
            read_metrics({"loss": 1.0, "other": value}, 2)

    def test_may_say_their_epoch(self) -> None:
        assert read_metrics({"loss": 1.0, "epoch": 2}, 2) == {"loss": 1.0}

    def test_the_example_in_the_docstring(self) -> None:
        results = doctest.testmod(hpsearch.training.user_code.reports)
        assert (results.attempted, results.failed) == (1, 0)


class TestExample:
    @pytest.fixture(autouse=True)
    def one_thread(self) -> Iterator[None]:
        """As an actor with one CPU sets it; steps this small wait for each other's threads."""
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(before)
        sys.modules.pop("user_training_function", None)

    def trainer(self) -> FunctionTrainer | ClassTrainer:
        space = {"lr": 0.1, "momentum": 0.9, "width": 64, "batch_size": 32}
        config = TrialConfig(
            0,
            0,
            3,
            {"space": space},
            trainable="user_training_function.py:train",
            folder=str(EXAMPLES),
        )
        return launch(replace(config, metric="val_accuracy"), None)

    def test_learns_and_goes_on_from_its_checkpoint(self) -> None:
        whole, half, rest = self.trainer(), self.trainer(), self.trainer()
        accuracies = [(whole.train_epoch() or {})["val_accuracy"] for _ in range(3)]
        assert accuracies[-1] > 0.9
        for _ in range(2):
            half.train_epoch()
        rest.load_state_dict(half.state_dict())
        half.close()
        assert rest.epoch == 2
        assert (rest.train_epoch() or {})["val_accuracy"] == accuracies[2]
        assert whole.train_epoch() is None
