"""A script of the user's as a trainer: `train_epoch` lets it run up to its next epoch."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Mapping
from typing import Any

from hpsearch.code_snapshot import check_unchanged
from hpsearch.errors import UserCodeError
from hpsearch.spec import Command, TrialConfig
from hpsearch.training.command.arguments import placeholders
from hpsearch.training.command.epoch_log import EpochLog
from hpsearch.training.command.epochs import EpochMetrics
from hpsearch.training.command.folders import TrialFolders
from hpsearch.training.command.nodes import OtherNodes
from hpsearch.training.command.run import CommandRun
from hpsearch.training.protocol import AfterLastEpochError


class CommandTrainer:
    """Trains by a command.

    The script stands still in `hpsearch.report` between two calls of `train_epoch`; one whose
    metrics are read from what it writes runs on.
    """

    end_reason = "exited"

    def __init__(
        self,
        config: TrialConfig,
        folders: TrialFolders | None = None,
        others: OtherNodes | None = None,
    ) -> None:
        assert config.command is not None
        self._config = config
        self._others = others
        self._folders = folders or TrialFolders.temporary()
        self._command = Command.model_validate(config.command)
        log = EpochLog(self._folders.log)
        self._epochs = EpochMetrics(
            config.metric, self._command.steps_per_epoch, config.max_epochs, log
        )
        self._epochs.resume(self.state_dict(), self._has_checkpoint())
        self._run: CommandRun | None = None
        self._has_ended = False

    @property
    def epoch(self) -> int:
        """Epochs reported so far."""
        return self._epochs.epoch

    def train_epoch(self) -> dict[str, float] | None:
        """Let the script run up to its next epoch; None if it has ended instead.

        Raises UserCodeError for a script that never reported the objective, CommandError with the
        last lines of standard error where it failed, LostProcessError where it was killed.
        """
        started = time.perf_counter()
        while (metrics := self._epochs.take()) is None:
            if self._has_ended:
                return None
            self._wait()
        metrics.setdefault("seconds", time.perf_counter() - started)
        if self.epoch == self._config.max_epochs:
            try:
                self._let_it_finish()
            except Exception as error:  # of the script
                raise AfterLastEpochError(metrics, error) from error
        return metrics

    def state_dict(self) -> dict[str, Any]:
        """Return how far the script got; its checkpoints are files of its own."""
        return self._epochs.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Start the script again, which finds its checkpoints."""
        self.close()
        self._has_ended = False
        folder = self._folders.checkpoints
        if state["epoch"] and not folder.is_dir():
            rule = "the checkpoints of the script must stay while the search runs"
            raise UserCodeError(f"{folder}: {rule}, but the folder is gone")
        self._epochs.resume(state, self._has_checkpoint())

    def close(self) -> None:
        """Stop the script: an exception or SIGTERM, then SIGKILL."""
        run, self._run = self._run, None
        if run is not None:
            run.stop()

    def _has_checkpoint(self) -> bool:
        folder = self._folders.checkpoints
        return folder.is_dir() and any(folder.iterdir())

    def _wait(self) -> None:
        """Let the script run until something happens."""
        if self._run is None:
            if self._config.trainable is None:  # else it is imported from the copy
                check_unchanged(self._config.code, self._config.folder)
            self._forget_unreported()
            self._run = CommandRun(
                self._config, self._command, self._folders, self._epochs, self._others
            )
        if self._run.wait():
            run, self._run, self._has_ended = self._run, None, True
            run.check_end(self._epochs, self._config.metric)

    def _forget_unreported(self) -> None:
        """Remove checkpoints that are older than the first report.

        How many epochs they were trained is unknown, so that those to come would be miscounted;
        steps are counted by the script.
        """
        folder = self._folders.checkpoints
        if self._epochs.known == 0 and self._command.steps_per_epoch is None and folder.is_dir():
            shutil.rmtree(folder)

    def _let_it_finish(self) -> None:
        """After the last epoch wait for the end of the script.

        One that doesn't know how many epochs there are would train on: it has its grace to end.
        """
        is_told = {"max_epochs", "max_steps"} & set(placeholders(self._command.run))
        deadline = math.inf if is_told else time.monotonic() + self._command.stop_grace
        while not self._has_ended and time.monotonic() <= deadline:
            if self._epochs.has_more and not is_told:
                break
            self._wait()
        self.close()
