"""The reconciler: makes the world agree with the table of searches.

Each pass looks at the table, at Ray's jobs and at the records, and does what is missing. It keeps
nothing that it could not find out again: it may be killed at any moment, and two may work at once.
What a search's end is, its record says; a job's end only asks for a look at that.
"""

from __future__ import annotations

import logging
import threading
import time

from hpsearch.errors import (
    ClusterError,
    HpsearchError,
    SearchNotFoundError,
    SpecError,
    UploadError,
)
from hpsearch.record import Record
from hpsearch.service.accounting import Accounting
from hpsearch.service.attempts import ENDINGS, Attempts, backoff, num_epochs
from hpsearch.service.cache.patience import PatientRecords, StillReadingError
from hpsearch.service.cache.records import Records
from hpsearch.service.database.lease import Lease
from hpsearch.service.database.quotas import Quotas
from hpsearch.service.database.search_table import ACTIVE, SearchRow, SearchTable
from hpsearch.service.database.tracking_tokens import TrackingTokens
from hpsearch.service.jobs import Job, Jobs, JobState
from hpsearch.service.queue import Quota, Waiting, to_start, why_waiting
from hpsearch.service.search_files import SearchFiles
from hpsearch.service.settings import Settings
from hpsearch.service.uploads import Uploads

#: attempts in a row that bring no epoch, after which a search has failed
MAX_STALLS = 5
#: attempts to write the end of a search to MLflow
MAX_DELIVERIES = 10
#: attempts to write the end of a search without a driver
MAX_CLOSINGS = 3
#: seconds after which a driver that was asked to stop is stopped by Ray
STOP_PATIENCE_S = 120.0
#: seconds between two looks for code that no search uses, and how long that is kept
SWEEP_INTERVAL_S = 3600.0
MIN_UNUSED_S = 7 * 86400.0
#: GPU-seconds that a list may be behind while nothing else has changed
MAX_BEHIND = 60.0
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
        files: SearchFiles,
        accounting: Accounting,
        tracking_tokens: TrackingTokens,
    ) -> None:
        self._settings = settings
        self._table = table
        self._quotas = quotas
        self._lease = lease
        self._jobs = jobs
        self._records = PatientRecords(records)
        self._files = files
        self._accounting = accounting
        self._uploads = Uploads(settings.uploads)
        self._attempts = Attempts(
            settings, table, jobs, self._records, files, tracking_tokens, self._uploads
        )
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
        self._accounting.begin_pass()
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
            job = self._job(row)
            row = self._refresh(row)
            if job is not None:
                self._reconcile(row, job)
        except (ClusterError, StillReadingError) as error:
            _log.warning("%s: %s", row.name, error)
        except Exception as error:
            _log.exception("%s can't be reconciled", row.name)
            self._note_trouble(row.name, error)

    def _note_trouble(self, name: str, error: Exception) -> None:
        """Try again later; what will never work, or did not again and again, ends the search."""
        row = self._table.get(name)
        is_hopeless = isinstance(error, SpecError | UploadError) or row.stalls >= MAX_STALLS
        if is_hopeless and row.desired == "running":
            self._give_up(row, _reason(error))
            return
        if is_hopeless and row.desired in ENDINGS:
            self._end(row, row.desired, row.reason)
            return
        stalls = row.stalls + 1
        self._table.change(row, stalls=stalls, retry_at=time.time() + backoff(stalls))

    def _refresh(self, row: SearchRow, fresh: bool = False) -> SearchRow:
        """Bring a search's summary up to date."""
        try:
            record, version = self._records.read(row.name, fresh)
        except (SearchNotFoundError, StillReadingError):
            return row
        except Exception:  # users' code writes it, and its job must be looked after all the same
            _log.exception("%s: its record can't be read", row.name)
            return self._note_summary(row, None, None)
        behind = self._accounting.gpu_seconds(row) - (row.summary.get("gpu_seconds") or 0.0)
        if version == row.record_version and not fresh and behind < MAX_BEHIND:
            return row
        return self._note_summary(row, record, version)

    def _note_summary(
        self, row: SearchRow, record: Record | None, version: str | None
    ) -> SearchRow:
        summary = self._accounting.summary(row, record)
        if (summary, version) == (row.summary, row.record_version):
            return row
        changed = self._table.change(row, summary=summary, record_version=version)
        return self._table.get(row.name) if changed is None else changed

    def _job(self, row: SearchRow) -> Job | None:
        """Return a search's job, whose GPU time is charged; None if nothing can be known of it."""
        if row.submission_id is None:
            return Job()
        try:
            job = self._jobs.look(row.submission_id)
        except ClusterError as error:
            _log.warning("%s: %s", row.name, error)
            return None
        self._accounting.charge(row, row.submission_id, job)
        return job

    def _reconcile(self, row: SearchRow, job: Job) -> None:
        # A driver may outlive its job, for a moment or as long as an unknown Ray head.
        if job.state is JobState.ALIVE or self._files.is_driven(row.name):
            self._reconcile_running(row)
        elif time.time() >= row.retry_at:
            self._reconcile_idle(row, self._record(row.name), job.state)

    def _reconcile_running(self, row: SearchRow) -> None:
        if row.desired not in ENDINGS:
            if row.actual == "starting":
                self._table.change(row, actual="running", reason=None)
            return
        if row.actual != "stopping":
            self._table.change(row, actual="stopping")
        asked_at = self._asked_at.setdefault(row.name, time.monotonic())
        if self._files.has(row.name):
            # Again and again: a driver that starts removes it.
            self._files.request_stop(row.name)
        if time.monotonic() - asked_at > STOP_PATIENCE_S and row.submission_id is not None:
            self._jobs.stop(row.submission_id)

    def _reconcile_idle(self, row: SearchRow, record: Record | None, job: JobState) -> None:
        """Act on a search without a job: close, finish or resume it."""
        self._asked_at.pop(row.name, None)
        if row.desired in ENDINGS:
            self._close(row, record)
        elif row.actual == "starting" and job is JobState.UNKNOWN:
            self._attempts.submit(row)  # this reconciler, or another, died before it was submitted
        elif record is None:
            self._attempts.start(row, record, stalls=0)
        elif record.state in ("running", "stopped"):
            self._go_on(row, record)
        elif self._attempts.wants_more(row, record):
            self._retry(row, record)
        elif record.delivered:
            self._end(row, record.state, record.reason)
        elif row.stalls >= MAX_DELIVERIES:
            self._end(row, record.state, f"MLflow is incomplete; run `hpsearch sync {row.name}`")
        else:
            self._attempts.start(row, record, row.stalls + 1)  # it only has to tell MLflow its end

    def _close(self, row: SearchRow, record: Record | None) -> None:
        """Bring a search that its user stopped, or that was given up, to its end: a job writes it
        into the record and to MLflow."""
        failed = row.desired == "failed"
        if record is None:
            self._end(row, row.desired, row.reason)
        elif record.state == "running" or not record.delivered:
            if row.stalls < MAX_CLOSINGS:
                self._attempts.start(row, record, row.stalls + 1)
                return
            why = f"{row.reason}; its record and MLflow are incomplete"
            self._end(row, row.desired, why)
        else:
            was_stopped = record.state == "stopped"  # it may have come to its end just before
            reason = row.reason if was_stopped else record.reason
            self._end(row, "failed" if failed and was_stopped else record.state, reason)

    def _go_on(self, row: SearchRow, record: Record) -> None:
        """Start another attempt of a search whose job died, unless attempts bring nothing."""
        if num_epochs(record) > row.launch_epochs:
            self._attempts.start(row, record, stalls=0)
        else:
            self._retry(row, record)

    def _retry(self, row: SearchRow, record: Record) -> None:
        """Start an attempt after one that brought nothing; too many in a row end the search."""
        stalls = row.stalls + 1
        if stalls >= MAX_STALLS:
            last = self._files.log_end(row.name).strip().rpartition("\n")[2]
            what = last[:500] or "its job could not start"
            self._give_up(row, f"{stalls} attempts that completed no epoch; the last: {what}")
            return
        self._attempts.start(row, record, stalls)

    def _give_up(self, row: SearchRow, reason: str) -> None:
        """Bring a search to its end as failed. It can be resumed once what failed is mended."""
        self._table.change(row, desired="failed", reason=reason, stalls=0, retry_at=0.0)

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
                _log.info("removed unused upload %s", code_hash)

    def _end(self, row: SearchRow, actual: str, reason: str | None) -> None:
        row = self._refresh(row, fresh=True)
        self._table.change(row, actual=actual, reason=reason, stalls=0, retry_at=0.0)

    def _record(self, name: str) -> Record | None:
        try:
            return self._records.read(name, fresh=True)[0]
        except SearchNotFoundError:
            return None


def _reason(error: Exception) -> str:
    """Return what people may read of an error; others may name files and databases."""
    is_told = isinstance(error, HpsearchError)
    return str(error) if is_told else "internal error; see the service's log"
