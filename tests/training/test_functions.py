"""Training code of the user's own: functions, generators and classes, stepped epoch by epoch."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hpsearch.errors import BadConfigurationError, DivergedError, UserCodeError
from hpsearch.spec import TrialConfig
from hpsearch.training import launch
from hpsearch.training.user_code.classes import ClassTrainer
from hpsearch.training.user_code.functions import FunctionTrainer
from tests.support import training_functions
from tests.support.training_functions import EVENTS, RAISED, Trainers, metrics_of

EXAMPLES = Path(__file__).parents[2] / "search_spaces"


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
        line = training_functions.raiser.__code__.co_firstlineno + 2
        place = rf"line {line} of .*training_functions\.py"
        said = rf"{place} ended the program by SystemExit\('no data'\)"
        with pytest.raises(UserCodeError, match=said):
            trainer.train_epoch()


class TestSeeds:
    def test_the_same_trial_draws_the_same(self, trainers: Trainers) -> None:
        first, second = trainers("drawer").train_epoch(), trainers("drawer").train_epoch()
        assert first is not None and second is not None
        del first["seconds"], second["seconds"]
        assert first == second

    def test_other_trials_draw_other_numbers(self) -> None:
        drawn = []
        for number, seed in [(0, 0), (1, 0), (0, 1)]:
            config = TrialConfig(
                number, seed, 3, {"space": {}}, trainable=f"{training_functions.__name__}:drawer"
            )
            trainer = launch(config, None)
            metrics = trainer.train_epoch() or {}
            drawn += [metrics["loss"], metrics["numpy"], metrics["python"], metrics["seed"]]
            trainer.close()
        assert len(set(drawn)) == 12


class TestExample:
    @pytest.fixture(autouse=True)
    def forgotten(self) -> Iterator[None]:
        yield
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
