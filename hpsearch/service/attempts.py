"""Attempts of searches: jobs on Ray, each made of a row of the table."""

from __future__ import annotations

import time
from typing import Any

from hpsearch.record import Record
from hpsearch.service.cache.patience import PatientRecords
from hpsearch.service.database.search_table import SearchRow, SearchTable
from hpsearch.service.database.tracking_tokens import TrackingTokens
from hpsearch.service.jobs import Jobs, Program
from hpsearch.service.launch import give_search, has_more_to_do, prepare, read_spec
from hpsearch.service.search_files import SearchFiles
from hpsearch.service.settings import Settings
from hpsearch.service.uploads import Uploads

#: what a search may be wanted to be that has a job only to bring it to its end
ENDINGS = ("stopped", "failed")
MAX_BACKOFF_S = 60.0


class Attempts:
    """Starts the jobs of one service's searches."""

    def __init__(
        self,
        settings: Settings,
        table: SearchTable,
        jobs: Jobs,
        records: PatientRecords,
        files: SearchFiles,
        tracking_tokens: TrackingTokens,
        uploads: Uploads,
    ) -> None:
        self._settings = settings
        self._table = table
        self._jobs = jobs
        self._records = records
        self._files = files
        self._tracking_tokens = tracking_tokens
        self._uploads = uploads
        self._program = Program(settings.runs, settings.python, settings.gateway)

    def start(self, row: SearchRow, record: Record | None, stalls: int) -> None:
        """Start the next attempt of a search, unless its row has changed meanwhile.

        `stalls` counts the attempts before it that brought nothing: it delays the one after it.
        """
        attempt = row.attempt + 1
        is_closing = row.desired in ENDINGS
        started = self._table.change(
            row,
            actual="stopping" if is_closing else "starting",
            attempt=attempt,
            submission_id=f"hpsearch-{row.name}-{attempt}",
            stalls=stalls,
            launch_epochs=0 if record is None else num_epochs(record),
            retry_at=time.time() + backoff(stalls),  # the next attempt comes no sooner
        )
        if started is not None:
            self.submit(started)

    def submit(self, row: SearchRow) -> None:
        """Submit the attempt that a row names; its record is created first."""
        assert row.submission_id is not None
        spec = read_spec(row.spec, self._uploads.folder(row.code_hash))
        if not self._files.has(row.name):
            facts: dict[str, Any] = {"owner": row.owner, "code_hash": row.code_hash or "none"}
            prepare(spec, self._settings, self._records, facts)
        give_search(self._settings.runs / row.name, self._settings)
        if row.desired in ENDINGS:
            command = self._program.close(row.name)
        else:
            command = self._program.resume(row.name, spec.budget, spec.num_repeats)
        environment = {} if self._settings.gateway is None else self._tracking_tokens.given(row)
        metadata = {"search": row.name, "owner": row.owner}
        self._jobs.submit(row.submission_id, command, metadata, environment)

    def wants_more(self, row: SearchRow, record: Record) -> bool:
        """Whether a search has more to do than its record, whose driver ended, knows of."""
        spec = read_spec(row.spec, self._uploads.folder(row.code_hash))
        return has_more_to_do(spec, record)


def num_epochs(record: Record) -> int:
    """Return how many epochs a search has trained."""
    return sum(len(trial.curve) for trial in record.trials)


def backoff(stalls: int) -> float:
    """Return for how many seconds to wait after so many attempts that brought nothing."""
    return 0.0 if stalls <= 1 else min(2.0**stalls, MAX_BACKOFF_S)
