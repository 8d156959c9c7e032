"""The reconciler: makes the world agree with the table of searches.

Each pass looks at the table, at Ray's jobs and at the records, and does what is missing. It keeps
nothing that it could not find out again: it may be killed at any moment, and two may work at once.
What a search's end is, its record says; a job's end only asks for a look at that.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from hpsearch.analysis.plain import plain_summary
from hpsearch.errors import ClusterError, SearchNotFoundError, SpecError, UploadError
from hpsearch.record import Record
from hpsearch.runs import Runs, SearchFolder
from hpsearch.search import stop_search, sync_search
from hpsearch.service.jobs import Jobs, JobState, resume_command
from hpsearch.service.launch import has_more_budget, prepare, read_spec, with_stores
from hpsearch.service.lease import Lease
from hpsearch.service.queue import Quota, Waiting, to_start, why_waiting
from hpsearch.service.quotas import Quotas
from hpsearch.service.records import Records
from hpsearch.service.settings import Settings
from hpsearch.service.table import ACTIVE, SearchRow, SearchTable
from hpsearch.service.uploads import Uploads

#: attempts in a row that bring no epoch, after which a search has failed
MAX_STALLS = 5
#: attempts to tell MLflow the end of a search
MAX_DELIVERIES = 10
MAX_BACKOFF_S = 60.0
#: seconds after which a driver that was asked to stop is stopped by Ray
STOP_PATIENCE_S = 120.0
#: seconds between two looks for code that no search uses, and how long that is kept
SWEEP_INTERVAL_S = 3600.0
MIN_UNUSED_S = 7 * 86400.0
_log = logging.getLogger(__name__)


class Reconciler:
    """Reconciles the searches of one service."""

    def __init__(
        self,
        settings: Settings,
        table: SearchTable,
        quotas: Quotas,
        lease: Lease,
        jobs: Jobs,
        records: Records,
    ) -> None:
        self._settings = settings
        self._table = table
        self._quotas = quotas
        self._lease = lease
        self._jobs = jobs
        self._records = records
        self._runs = Runs(settings.runs)
        self._uploads = Uploads(settings.uploads)
        self._sweep_at = 0.0
        self._asked_at: dict[str, float] = {}  # when a driver was asked to stop

    def run(self, ended: threading.Event) -> None:
        """Make pass after pass until `ended` is set."""
        while not ended.is_set():
            try:
                self.step()
            except Exception:  # such as a database that is away: the next pass tries again
                _log.exception("a pass of the reconciler failed")
            ended.wait(self._settings.interval_s)
        self._lease.release()

    def step(self) -> bool:
        """Make one pass; False if another reconciler has the lease."""
        for row in self._table.in_states((*ACTIVE, "queued")):
            if not self._lease.acquire():
                return False
            if row.desired != "queued":
                self._guarded(row)
        if not self._lease.acquire():
            return False
        self._admit()
        self._sweep()
        self._lease.note_pass()
        return True

    def _guarded(self, row: SearchRow) -> None:
        """Look after one search; what goes wrong with it must not keep others waiting."""
        try:
            self._tend(self._refresh(row))
        except ClusterError as error:  # nothing can be known of jobs now
            _log.warning("%s: %s", row.name, error)
        except Exception as error:
            _log.exception("%s can't be looked after now", row.name)
            self._note_trouble(row.name, error)

    def _note_trouble(self, name: str, error: Exception) -> None:
        """Try again later; what will never work, or did not again and again, ends the search."""
        row = self._table.get(name)
        is_hopeless = isinstance(error, SpecError | UploadError) or row.stalls >= MAX_STALLS
        if row.desired == "running" and is_hopeless:
            self._fall(row, str(error))
            return
        stalls = row.stalls + 1
        self._table.change(row, stalls=stalls, retry_at=time.time() + _backoff(stalls))

    def _refresh(self, row: SearchRow, fresh: bool = False) -> SearchRow:
        """Bring a search's summary up to date, and what its owner used."""
        try:
            record, version = self._records.read(row.name, fresh)
        except SearchNotFoundError:
            return row
        if version == row.record_version:
            return row
        summary = plain_summary(record)
        changed = self._table.change(row, summary=summary, record_version=version)
        if changed is None:
            return self._table.get(row.name)
        used = summary["gpu_seconds"] - row.summary.get("gpu_seconds", 0.0)
        self._quotas.add_usage(row.owner, used)
        return changed

    def _tend(self, row: SearchRow) -> None:
        job = JobState.UNKNOWN
        if row.submission_id is not None:
            job = self._jobs.state(row.submission_id)
        folder = self._folder(row.name)
        # A driver may outlive its job, for a moment or as long as a head that nobody knows.
        if job is JobState.ALIVE or (folder is not None and folder.is_driven()):
            self._tend_alive(row, folder)
        elif time.time() >= row.retry_at:
            self._settle(row, None if folder is None else folder.open_record(), job)

    def _tend_alive(self, row: SearchRow, folder: SearchFolder | None) -> None:
        if row.desired != "stopped":
            if row.actual == "starting":
                self._table.change(row, actual="running", reason=None)
            return
        if row.actual != "stopping":
            self._table.change(row, actual="stopping")
        asked_at = self._asked_at.setdefault(row.name, time.monotonic())
        if folder is not None:
            folder.stop_request.touch()  # again and again: a driver that starts removes it
        if time.monotonic() - asked_at > STOP_PATIENCE_S and row.submission_id is not None:
            self._jobs.stop(row.submission_id)

    def _settle(self, row: SearchRow, record: Record | None, job: JobState) -> None:
        """Act on a search without a job: close it, finish it, or go on with it."""
        self._asked_at.pop(row.name, None)
        if row.desired == "stopped":
            self._close(row, record)
        elif row.actual == "starting" and job is JobState.UNKNOWN:
            self._submit(row)  # this reconciler, or another, died before it was submitted
        elif record is None or self._wants_more(row, record):
            self._launch(row, record, stalls=0)
        elif record.state in ("running", "stopped"):
            self._go_on(row, record)
        elif record.delivered:
            self._end(row, record.state, record.reason)
        elif row.stalls >= MAX_DELIVERIES:
            self._end(row, record.state, f"MLflow lacks the end of it: `hpsearch sync {row.name}`")
        else:
            self._launch(row, record, row.stalls + 1)  # it only has to tell MLflow its end

    def _close(self, row: SearchRow, record: Record | None) -> None:
        """Bring a search that its user stopped to its end, in the record and in MLflow."""
        if record is None:
            self._end(row, "stopped", row.reason)
            return
        if record.state == "running":
            record = stop_search(row.name, self._settings.runs)
        elif not record.delivered:
            sync_search(row.name, self._settings.runs)
        was_stopped = record.state == "stopped"  # it may have come to its end just before
        self._end(row, record.state, row.reason if was_stopped else record.reason)

    def _go_on(self, row: SearchRow, record: Record) -> None:
        """Start another attempt of a search whose job died, unless attempts bring nothing."""
        epochs = sum(len(trial.curve) for trial in record.trials)
        stalls = 0 if epochs > row.launch_epochs else row.stalls + 1
        if stalls >= MAX_STALLS:
            self._fall(
                row, f"{stalls} attempts brought no epoch; the last: {self._last_words(row)}"
            )
            return
        self._launch(row, record, stalls)

    def _fall(self, row: SearchRow, reason: str) -> None:
        """Give a search up. It can be resumed once what failed is mended."""
        folder = self._folder(row.name)
        if folder is not None and folder.open_record().state == "running":
            stop_search(row.name, self._settings.runs)
        self._end(row, "failed", reason)

    def _launch(self, row: SearchRow, record: Record | None, stalls: int) -> None:
        attempt = row.attempt + 1
        epochs = 0 if record is None else sum(len(trial.curve) for trial in record.trials)
        started = self._table.change(
            row,
            actual="starting",
            attempt=attempt,
            submission_id=f"hpsearch-{row.name}-{attempt}",
            stalls=stalls,
            launch_epochs=epochs,
            retry_at=time.time() + _backoff(stalls),  # the next attempt comes no sooner
        )
        if started is not None:
            self._submit(started)

    def _submit(self, row: SearchRow) -> None:
        assert row.submission_id is not None
        spec = read_spec(row.spec, self._uploads.folder(row.code_hash))
        facts: dict[str, Any] = {"owner": row.owner, "code_hash": row.code_hash or "none"}
        prepare(with_stores(spec, self._settings), self._runs, facts)
        command = resume_command(row.name, self._runs.path, self._settings.python)
        self._jobs.submit(row.submission_id, command, {"search": row.name, "owner": row.owner})

    def _admit(self) -> None:
        """Start what may start, and say of the others why they wait."""
        queued = [row for row in self._table.in_states(("queued",)) if row.desired == "queued"]
        running = [row.owner for row in self._table.in_states(ACTIVE)]
        quotas, hours = self._quotas.all(), self._quotas.gpu_hours()
        waiting = [Waiting(r.name, r.owner, r.priority, r.queued_at) for r in queued]
        starting = to_start(waiting, running, self._settings.max_running, quotas, hours)
        by_name = {row.name: row for row in queued}
        for name in starting:
            row = by_name.pop(name)
            running.append(row.owner)
            admitted = self._table.change(row, desired="running", reason=None)
            if admitted is not None:
                self._guarded(admitted)
        for row in by_name.values():
            quota, used = quotas.get(row.owner, Quota()), hours.get(row.owner, 0.0)
            why = why_waiting(row.owner, running, quota, used, self._settings.max_running)
            if why != row.reason:
                self._table.change(row, reason=why)

    def _sweep(self) -> None:
        """Remove code that no search uses any more, now and then."""
        if time.monotonic() >= self._sweep_at:
            self._sweep_at = time.monotonic() + SWEEP_INTERVAL_S
            for code_hash in self._uploads.sweep(self._table.code_hashes(), MIN_UNUSED_S):
                _log.info("removed the upload %s, which no search uses", code_hash)

    def _wants_more(self, row: SearchRow, record: Record) -> bool:
        if record.state == "running":
            return False
        spec = read_spec(row.spec, self._uploads.folder(row.code_hash))
        return has_more_budget(spec, record)

    def _end(self, row: SearchRow, actual: str, reason: str | None) -> None:
        row = self._refresh(row, fresh=True)
        self._table.change(row, actual=actual, reason=reason, stalls=0, retry_at=0.0)

    def _folder(self, name: str) -> SearchFolder | None:
        return self._runs.search(name) if self._runs.has(name) else None

    def _last_words(self, row: SearchRow) -> str:
        """Return the last line that a search's driver wrote."""
        log = self._runs.path / row.name / "driver.log"
        lines = log.read_text(errors="replace").strip().splitlines() if log.is_file() else []
        return lines[-1][:500] if lines else "its job could not start"


def _backoff(stalls: int) -> float:
    return 0.0 if stalls <= 1 else min(2.0**stalls, MAX_BACKOFF_S)
