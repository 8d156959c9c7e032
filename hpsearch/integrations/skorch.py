"""skorch: `NeuralNetClassifier(..., callbacks=[ReportCallback()])`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skorch.callbacks import Callback

from hpsearch.integrations.files import new_checkpoint, newest_checkpoint
from hpsearch.reporting import is_trial, report

_SUFFIX = ".skorch"
_NO_METRICS = ("epoch", "train_batch_count", "valid_batch_count")


class ReportCallback(Callback):
    """Saves parameters, optimizer and history, and reports the last row of the history.

    A restarted script resumes after the last epoch that was saved, up to `max_epochs`.
    """

    def on_train_begin(self, net: Any, **more: Any) -> None:
        self.max_epochs_ = net.max_epochs
        newest = newest_checkpoint(_SUFFIX)
        if newest is None or net.history:
            return
        net.load_params(**_files(newest))
        net.max_epochs = max(0, net.max_epochs - len(net.history))
        if net.history:  # the script may have been killed before it could
            self._report(net)

    def on_train_end(self, net: Any, **more: Any) -> None:
        net.max_epochs = self.max_epochs_

    def on_epoch_end(self, net: Any, **more: Any) -> None:
        if not is_trial():
            return
        with new_checkpoint(len(net.history), _SUFFIX) as folder:
            folder.mkdir()
            net.save_params(**_files(folder))
        self._report(net)

    def _report(self, net: Any) -> None:
        row = net.history[-1]
        report(_metrics(row), epoch=len(net.history), on_stop="raise")


def _files(folder: Path) -> dict[str, Path]:
    modules = {f"f_{name}": folder / f"{name}.pt" for name in ("params", "optimizer", "criterion")}
    return {**modules, "f_history": folder / "history.json"}


def _metrics(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a row, without flags such as valid_acc_best, and counts."""
    return {
        name: value
        for name, value in row.items()
        if isinstance(value, int | float)
        and not isinstance(value, bool)
        and name not in _NO_METRICS
    }
