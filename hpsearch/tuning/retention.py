"""Which checkpoints a search keeps: those of unfinished trials and of the best, no others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hpsearch.formatting import show_bytes
from hpsearch.record import Record
from hpsearch.training.checkpoints import CheckpointStore


class Retention:
    """Deletes the checkpoints of trials that end, but for the best, and counts what is left."""

    def __init__(self, record: Record, folder: Path) -> None:
        self._record = record
        self._folder = folder
        self._kept = [trial.number for trial in record.kept()]
        self._num_bytes: dict[int, int] = {}  # by trial
        self._due: list[int] | None = None  # trials whose checkpoints are to be deleted later
        for trial in (*record.running(), *record.kept()):
            if trial.checkpoint is not None:
                self.take(trial.number, trial.checkpoint)
        self.sweep()

    def sweep(self) -> None:
        """Delete what a driver that died had no time for, or its last workers left behind it."""
        for trial in self._record.trials:
            if trial.outcome is not None and trial.number not in self._kept:
                self._delete(trial.number)

    def take(self, number: int, checkpoint: str) -> str | None:
        """Count a trial's newest checkpoint, in place of its last.

        Returns why the search must end, once all checkpoints take more than its quota.
        """
        with suppress(FileNotFoundError):  # its worker has written a newer one, and will say so
            store = CheckpointStore(self._folder, number)
            self._num_bytes[number] = store.num_bytes(self._folder / checkpoint)
        quota, num_bytes = self._record.spec.search.disk_quota, sum(self._num_bytes.values())
        if quota is None or num_bytes <= quota:
            return None
        taken = f"the checkpoints take {show_bytes(num_bytes)}"
        return f"disk_quota of {show_bytes(quota)} exceeded: {taken}"

    def end_trial(self, number: int) -> None:
        """Keep the checkpoint of a trial that has ended, or delete it, or that of a worse one."""
        trials, candidates = self._record.trials, [*self._kept, number]
        self._kept = [t.number for t in self._record.kept(trials[i] for i in candidates)]
        for candidate in candidates:
            if candidate not in self._kept:
                self._delete(candidate)

    @contextmanager
    def later(self) -> Iterator[None]:
        """Delete nothing before the end, when the record holds that these trials have ended."""
        self._due = []
        try:
            yield
        finally:
            due, self._due = self._due, None
        for number in due:
            self._delete(number)

    def _delete(self, number: int) -> None:
        self._num_bytes.pop(number, None)
        if self._due is None:
            CheckpointStore(self._folder, number).delete()
        else:
            self._due.append(number)
