"""A user's training function as a trainer.

    def train(config, trial):                   # a generator yields its metrics each epoch
        model = ...
        if (saved := trial.load_checkpoint()) is not None:
            model.load_state_dict(saved)
        while trial.epoch < trial.max_epochs:
            yield {"train_loss": ..., "val_accuracy": ...}
            trial.save_checkpoint(model.state_dict())

What stands after the loop runs after the last epoch. A plain function does the same with
`trial.report(metrics)`.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Mapping
from typing import Any

import torch

from hpsearch.errors import UserCodeError
from hpsearch.outcome import CheckWarning
from hpsearch.spec import TrialConfig
from hpsearch.training.protocol import AfterLastEpochError
from hpsearch.training.user_code.lockstep import Lockstep
from hpsearch.training.user_code.reports import Objective, read_metrics
from hpsearch.training.user_code.trial import FunctionTrial, Saved, call_user_code, program_of


class FunctionTrainer:
    """Trains by a training function, which runs in the thread that calls `train_epoch`."""

    end_reason = "returned"

    def __init__(
        self, config: TrialConfig, device: torch.device | str, objective: str | None = None
    ) -> None:
        self._config = config
        self._device = torch.device(device)
        self._objective = Objective(objective)
        self._warnings: list[CheckWarning] = []
        self._seconds_ahead = 0.0
        self._begin(Saved())

    @property
    def epoch(self) -> int:
        """Epochs reported so far."""
        return self._trial.epoch

    def train_epoch(self) -> dict[str, float] | None:
        """Run the function up to its next report, after the last to its end; None if it returned.

        A report without the objective gets its last value. Raises UserCodeError for one that is
        no mapping of names to numbers, and at the end if none held the objective; DivergedError
        for one that isn't finite; whatever the function raises, as AfterLastEpochError once all
        epochs are reported.
        """
        started = time.perf_counter()
        if not self._lockstep.advance():
            if self.epoch == 0:
                raise UserCodeError(f"{self._config.trainable}: returned before its first report")
            self._objective.require(str(self._config.trainable))
            return None
        self._warn_if_unsaved()
        metrics = read_metrics(self._lockstep.item, self.epoch + 1)
        self._warn(self._objective.fill_in(metrics, self.epoch + 1))
        metrics.setdefault("seconds", time.perf_counter() - started + self._seconds_ahead)
        self._seconds_ahead = 0.0
        self._trial.epoch += 1
        if self.epoch == self._config.max_epochs:
            self._finish(metrics)
        return metrics

    def state_dict(self) -> dict[str, Any]:
        """Return what the function saved last, and how many epochs that was trained.

        A function that saves after its report is let run up to that. The epochs may still be
        fewer than were reported; 0 and None if it never saved.
        """
        if self._saved.epoch < self.epoch and self._saved.follows_report:
            self._let_it_save()
        return {
            "epoch": self._saved.epoch,
            "checkpoint": self._saved.checkpoint,
            "objective": self._objective.last,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Start the function again from a state."""
        self.close()
        self._objective.last = state.get("objective")  # older states have none
        self._begin(Saved(state["epoch"], state["checkpoint"]))

    def take_warnings(self) -> list[CheckWarning]:
        """Return what the user should know of the reports since the last call."""
        warnings, self._warnings = self._warnings, []
        return warnings

    def close(self) -> None:
        """End the function where it waits; its `finally` blocks run."""
        self._lockstep.close()

    def _begin(self, saved: Saved) -> None:
        name = f"{self._config.trainable} (trial {self._config.number})"
        self._saved = saved
        self._lockstep = Lockstep(self._run, name, *program_of(self._config))
        self._trial = FunctionTrial(self._config, self._device, saved, self._lockstep)

    def _run(self) -> None:
        result = call_user_code(self._config, self._trial)
        if not inspect.isgenerator(result):
            return
        try:
            for metrics in result:
                self._lockstep.put(metrics)
        finally:
            result.close()

    def _let_it_save(self) -> None:
        """Let the function run to its next save.

        One that has none before its next report has trained that epoch ahead. It isn't let run
        again until it has saved after a report.
        """
        started = time.perf_counter()
        self._saved.follows_report = self._lockstep.advance_to_rest()
        self._seconds_ahead += time.perf_counter() - started

    def _finish(self, metrics: dict[str, float]) -> None:
        """Let the function run to its end: what follows its loop, and its last checkpoint."""
        self._objective.require(str(self._config.trainable))
        try:
            self._lockstep.advance(is_last=True)
        except Exception as error:
            raise AfterLastEpochError(metrics, error) from error
        if self._lockstep.was_cut_short:
            fact = f"reports more than trial.max_epochs ({self.epoch}) epochs"
            advice = "the last epoch was discarded, and code after the loop did not run"
            self._warn(CheckWarning("report", f"{fact}: {advice}"))

    def _warn_if_unsaved(self) -> None:
        """Warn once of a function that trains on without having saved its first epoch."""
        if self.epoch == 1 and self._saved.checkpoint is None:
            fact = "epoch 1 is not saved: it is trained again after a retry or a pause, and a "
            rest = "trial that never saves leaves no model; call trial.save_checkpoint each epoch"
            self._warn(CheckWarning("checkpoint", fact + rest))

    def _warn(self, warning: CheckWarning | None) -> None:
        if warning is not None:
            self._warnings.append(warning)
