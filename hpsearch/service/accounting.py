"""GPU time by the service's own clock, compared with what the records report."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from hpsearch.analysis.plain import plain_summary
from hpsearch.errors import ClusterError
from hpsearch.record import Record
from hpsearch.service.database.metering import Meter, Meters
from hpsearch.service.database.quotas import Quotas
from hpsearch.service.database.search_table import SearchRow
from hpsearch.service.jobs import Job, Jobs, JobState
from hpsearch.service.launch import asked_gpus
from hpsearch.service.summaries import finite

#: A record counts from a worker's start to its last report, Ray's reservation lasts longer: only
#: beyond these shares, and this many GPU-seconds, one of them is wrong.
MIN_SHARE, MAX_SHARE = 0.5, 1.25
SLACK = 600.0
#: of a summary: what the record of a search has no say in
_OF_THE_SPEC = ("trials", "metric", "direction")
UNREADABLE = "the record can't be read; these are its last known numbers"
_log = logging.getLogger(__name__)


class Accounting:
    """Charges users for the GPUs of their searches; for one thread."""

    def __init__(
        self, meters: Meters, quotas: Quotas, jobs: Jobs, clock: Callable[[], float] = time.time
    ) -> None:
        self._meters = meters
        self._quotas = quotas
        self._jobs = jobs
        self._clock = clock
        self._gpus: dict[str, float] | None = None  # by job, as Ray has it in this pass

    def begin_pass(self) -> None:
        """Ask Ray again which GPUs its jobs have."""
        self._gpus = None

    def charge(self, row: SearchRow, submission_id: str, job: Job) -> None:
        """Charge a search's owner for the GPUs that its job had since it was last seen.

        A job that Ray has forgotten meanwhile isn't charged for time that wasn't observed.
        """
        before, now = self._meters.get(row), self._clock()
        is_alive = job.state is JobState.ALIVE
        until = now if is_alive else min(job.ended_at or before.seen_at, now)
        gpus = self._gpus_of(row, job, before) if is_alive else 0.0
        after = before.read(submission_id, until, gpus)
        if before.gpus == after.gpus == 0 and before.submission_id == submission_id:
            return  # nothing to count, and nothing to write
        if self._meters.advance(row.name, before, after):
            self._quotas.add_usage(row.owner, after.gpu_seconds - before.gpu_seconds)

    def gpu_seconds(self, row: SearchRow) -> float:
        """Return what a search has used."""
        return self._meters.get(row).gpu_seconds

    def summary(self, row: SearchRow, record: Record | None) -> dict[str, Any]:
        """Return what lists show of a search; a false GPU time is noted in the audit log."""
        summary = summary_of(row.summary, record, self.gpu_seconds(row))
        is_new = row.summary.get("warning") in (None, UNREADABLE)
        if summary["warning"] not in (None, UNREADABLE) and is_new:
            self._meters.tell(row.name, summary["warning"])
        return summary

    def _gpus_of(self, row: SearchRow, job: Job, before: Meter) -> float:
        """Return the GPUs that a job has now; where Ray can't say, those that it may have."""
        try:
            if self._gpus is None:
                self._gpus = self._jobs.gpus()
            return self._gpus.get(job.job_id or "", 0.0)
        except ClusterError as error:
            _log.warning("%s: %s", row.name, error)
            return before.gpus or asked_gpus(row.spec)


def summary_of(before: dict[str, Any], record: Record | None, measured: float) -> dict[str, Any]:
    """Return what the record tells, but what is searched for, and what it used, as others know it.

    `before` is the summary until now; `measured` is in GPU-seconds. There is no record if it can't
    be read.
    """
    told = None if record is None else _told(record)
    if told is None:
        return before | {"gpu_seconds": measured, "warning": UNREADABLE}
    own = {name: before[name] for name in _OF_THE_SPEC if name in before}
    if own.get("trials") is not None:  # those of the budget, and those beside it
        own["trials"] += told["extra"] - (before.get("extra") or 0)
    reported = finite(told["gpu_seconds"])
    warning = disagreement(reported, measured)
    clock = {"gpu_seconds": measured, "gpu_seconds_reported": reported, "warning": warning}
    return told | own | clock


def _told(record: Record) -> dict[str, Any] | None:
    """Return the summary of a record; None if it is inconsistent."""
    try:
        return plain_summary(record)
    except Exception:  # users' code wrote it
        _log.exception("%s: inconsistent record", record.name)
        return None


def disagreement(reported: float | None, measured: float) -> str | None:
    """Return what is wrong where a record's GPU time can't be; None if the two agree."""
    told = 0.0 if reported is None else reported
    if told < MIN_SHARE * measured - SLACK:
        how = "less"
    elif told > MAX_SHARE * measured + SLACK:
        how = "more"
    else:
        return None
    return (
        f"the record reports {told:.6g} GPU-seconds, {how} than the {measured:.6g} measured by "
        "the service; the measured value is used"
    )
