"""Accelerate: a tracker that reports what is logged, and states kept by the Accelerator.

accelerator = Accelerator(log_with=ReportTracker())
accelerator.init_trackers("project")
model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
for epoch in range(load_state(accelerator), num_epochs):
    ...
    save_state(accelerator, epoch)  # before the report
    accelerator.log({"val_accuracy": accuracy}, step=epoch)
"""

from __future__ import annotations

from typing import Any, Literal

from accelerate import Accelerator
from accelerate.tracking import GeneralTracker

from hpsearch.integrations.files import epoch_of, new_checkpoint, newest_checkpoint
from hpsearch.reporting import is_trial, report


class ReportTracker(GeneralTracker):
    """Reports what `accelerator.log` is given.

    `at` says whether the `step` of `log` is an epoch or a step. All processes report, so that all
    stop at the same report.
    """

    name = "hpsearch"
    requires_logging_directory = False
    main_process_only = False

    def __init__(self, at: Literal["epoch", "step"] = "epoch") -> None:
        super().__init__()
        self.at = at

    @property
    def tracker(self) -> None:
        """Nothing that the user could call."""

    def log(self, values: dict[str, Any], step: int | None = None, **more: Any) -> None:
        """Report numbers; what is none is left out."""
        metrics = {name: value for name, value in values.items() if _is_number(value)}
        if not metrics:
            return
        if self.at == "epoch":
            report(metrics, epoch=step, on_stop="raise")
        else:
            report(metrics, step=step, on_stop="raise")


def save_state(accelerator: Accelerator, epoch: int) -> None:
    """Save the state after an epoch, which counts from 0, by `accelerator.save_state`."""
    if not is_trial():
        return
    with new_checkpoint(epoch + 1, is_main=accelerator.is_main_process) as folder:
        accelerator.wait_for_everyone()  # what a killed run left is gone
        accelerator.save_state(str(folder))
        accelerator.wait_for_everyone()


def load_state(accelerator: Accelerator) -> int:
    """Load the newest state, after `prepare`; returns the epoch to start at, 0 without one."""
    newest = newest_checkpoint()
    if newest is None:
        return 0
    accelerator.load_state(str(newest))
    return epoch_of(newest)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) or getattr(value, "numel", lambda: 0)() == 1
