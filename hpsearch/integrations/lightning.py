"""Lightning: `trainer.fit(model, ckpt_path=attach(trainer))`, or its two parts.

trainer = Trainer(..., callbacks=[ReportCallback()])
trainer.fit(model, ckpt_path=ckpt_path())
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import Callback, LightningModule, Trainer

from hpsearch.integrations.files import new_checkpoint, newest_checkpoint
from hpsearch.reporting import is_trial, report

_SUFFIX = ".ckpt"


class ReportCallback(Callback):
    """Saves a checkpoint and reports the metrics of each validation.

    With `every="epoch"` a report is an epoch; of several validations in it the last counts, and
    epochs without one are left out. With `every="validation"` each validation is reported with
    the step, for specs with `command.steps_per_epoch`. All ranks report, so that all stop at the
    same report. A callback whose state must be in the checkpoint stands before this one.
    """

    def __init__(self, every: Literal["epoch", "validation"] = "epoch") -> None:
        self.every = every
        self._is_due = False
        self._reported: dict[str, Any] = {}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not is_trial() or trainer.sanity_checking or trainer.state.fn != "fit":
            return
        self._is_due = True
        if self.every == "validation":
            self._save_and_report(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._is_due:
            self._save_and_report(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if is_trial() and self._reported:  # the script may have been killed before it could
            report(self._reported["metrics"], **self._reported["where"], on_stop="raise")

    def state_dict(self) -> dict[str, Any]:
        return dict(self._reported)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._reported = dict(state_dict)

    def _save_and_report(self, trainer: Trainer) -> None:
        self._is_due = False
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        epoch, step = trainer.current_epoch, trainer.global_step
        where = {"epoch": epoch} if self.every == "epoch" else {"step": step}
        self._reported = {"metrics": metrics, "where": where}
        with new_checkpoint(step, _SUFFIX, trainer.is_global_zero) as path:
            trainer.save_checkpoint(path)
        report(metrics, **where, on_stop="raise")


def ckpt_path() -> Path | None:
    """Return the checkpoint for `trainer.fit(ckpt_path=...)` to continue; None at the start."""
    return newest_checkpoint(_SUFFIX)


def attach(trainer: Trainer, every: Literal["epoch", "validation"] = "epoch") -> Path | None:
    """Add a ReportCallback to a trainer, and return what `ckpt_path` does."""
    trainer.callbacks.append(ReportCallback(every))  # type: ignore[attr-defined]
    return ckpt_path()
