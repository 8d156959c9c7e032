"""Keras 3: `model.fit(..., callbacks=[ReportCallback()])`."""

from __future__ import annotations

import json

import keras

from hpsearch.integrations.files import epoch_of, new_checkpoint, newest_checkpoint
from hpsearch.reporting import is_trial, report

_SUFFIX = ".keras"
_WEIGHTS, _LOGS = "model.weights.h5", "logs.json"


class ReportCallback(keras.callbacks.Callback):
    """Saves the weights, the optimizer's too, and reports the logs of each epoch.

    A restarted script resumes after the last epoch that was saved.
    """

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        newest = newest_checkpoint(_SUFFIX)
        if newest is None:
            return
        optimizer = self.model.optimizer
        if optimizer is not None and not optimizer.built:  # its variables are loaded too
            optimizer.build(self.model.trainable_variables)
        self.model.load_weights(newest / _WEIGHTS)
        self.model._initial_epoch = epoch_of(newest)  # as Keras' BackupAndRestore does
        saved = json.loads((newest / _LOGS).read_text())
        self._report(epoch_of(newest) - 1, saved)  # the script may have been killed before it

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if not is_trial():
            return
        numbers = {name: float(value) for name, value in (logs or {}).items()}
        with new_checkpoint(epoch + 1, _SUFFIX) as folder:
            folder.mkdir()
            self.model.save_weights(folder / _WEIGHTS)
            (folder / _LOGS).write_text(json.dumps(numbers))
        self._report(epoch, numbers)

    def _report(self, epoch: int, logs: dict[str, float]) -> None:
        report(logs, epoch=epoch, on_stop="raise")
