"""Training code as a class, with its checkpoints and its end."""

from __future__ import annotations

import logging

import pytest

from hpsearch.errors import UserCodeError
from hpsearch.training.user_code.classes import ClassTrainer
from tests.support.training_functions import EVENTS, Trainers, metrics_of


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
