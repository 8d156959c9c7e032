"""Which checkpoints a search keeps: those of unfinished trials and of the best, no others."""

from __future__ import annotations

from pathlib import Path

from hpsearch.record import Record
from hpsearch.training.checkpoints import CheckpointStore


class Retention:
    """Deletes the checkpoints of trials that end, but for the best."""

    def __init__(self, record: Record, folder: Path) -> None:
        self._record = record
        self._folder = folder
        self._kept = [trial.number for trial in record.kept()]
        self.sweep()

    def sweep(self) -> None:
        """Delete what a driver that died had no time for, or its last workers left behind it."""
        for trial in self._record.trials:
            if trial.outcome is not None and trial.number not in self._kept:
                self._delete(trial.number)

    def end_trial(self, number: int) -> None:
        """Keep the checkpoint of a trial that has ended, or delete it, or that of a worse one."""
        trials, candidates = self._record.trials, [*self._kept, number]
        self._kept = [t.number for t in self._record.kept(trials[i] for i in candidates)]
        for candidate in candidates:
            if candidate not in self._kept:
                self._delete(candidate)

    def _delete(self, number: int) -> None:
        CheckpointStore(self._folder, number).delete()
