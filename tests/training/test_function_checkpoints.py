"""Checkpoints of users' training functions and classes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch

from hpsearch.errors import UserCodeError
from hpsearch.training.user_code.functions import FunctionTrainer
from tests.support.training_functions import EVENTS, RAISED, Trainers, metrics_of


class TestCheckpoints:
    @pytest.mark.parametrize(
        "name",
        [
            *("generator", "early_saver", "reporter", "module_saver"),
            *("folder_saver", "file_saver", "Net"),
        ],
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

    def test_files_that_are_not_there_are_told_when_they_are_saved(
        self, trainers: Trainers
    ) -> None:
        with pytest.raises(UserCodeError, match=r"save_checkpoint: must be a file.*'not-there'"):
            trainers("missing_saver", max_epochs=3).train_epoch()

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
