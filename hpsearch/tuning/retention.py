"""Which checkpoints a search keeps: those of unfinished trials and of the best, no others."""

from __future__ import annotations

from pathlib import Path

from hpsearch.outcome import Outcome
from hpsearch.record import Record
from hpsearch.training.checkpoints import CheckpointStore


class Retention:
    """Deletes the checkpoints of trials that end, but for the best."""

    def __init__(self, record: Record, folder: Path) -> None:
        self._record = record
        self._folder = folder
        self._limit = record.spec.search.keep_checkpoints
        best = record.ranked()[: self._limit]
        self._kept = [trial.number for trial in best]  # best first
        self.sweep()

    def sweep(self) -> None:
        """Delete what a driver that died had no time for, or its last workers left behind it."""
        for trial in self._record.trials:
            if trial.outcome is not None and trial.number not in self._kept:
                self._delete(trial.number)

    def end_trial(self, number: int) -> None:
        """Keep the checkpoint of a trial that has ended, or delete it, or that of a worse one."""
        trials = self._record.trials
        dropped = [number]
        if trials[number].outcome is Outcome.COMPLETED:
            best = self._record.rank(trials[kept] for kept in [*self._kept, number])
            kept = [trial.number for trial in best[: self._limit]]
            dropped = [number for number in {*self._kept, number} if number not in kept]
            self._kept = kept
        for dropped_number in dropped:
            self._delete(dropped_number)

    def _delete(self, number: int) -> None:
        CheckpointStore(self._folder, number).delete()
