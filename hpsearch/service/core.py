"""What a service does for its users, apart from HTTP."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool

from hpsearch.acts import check_act, pending, plain_act, plain_acts, request
from hpsearch.errors import (
    ConflictError,
    NotAllowedError,
    Problem,
    SearchNotFoundError,
    SpecError,
)
from hpsearch.record import Act, Record
from hpsearch.runs import Runs, SearchFolder
from hpsearch.searches import check_repeatable, wants_repeats
from hpsearch.service.accounting import Accounting
from hpsearch.service.cache.records import Records
from hpsearch.service.cache.responses import ResponseCache
from hpsearch.service.cache.search_list import SearchListCache
from hpsearch.service.checks.cluster import ClusterRunner
from hpsearch.service.checks.submission import Checks, LocalRunner
from hpsearch.service.database.audit import write_audit
from hpsearch.service.database.lease import Lease
from hpsearch.service.database.metering import Meters
from hpsearch.service.database.quotas import Quotas
from hpsearch.service.database.search_table import ACTIVE, ENDED, SearchRow, SearchTable
from hpsearch.service.database.sessions import Sessions
from hpsearch.service.database.tables import open_database
from hpsearch.service.database.tokens import Tokens, User
from hpsearch.service.database.tracking_tokens import TrackingTokens
from hpsearch.service.jobs import Jobs
from hpsearch.service.launch import read_spec
from hpsearch.service.permissions import Action, check_may_write, check_owns, check_state
from hpsearch.service.queue import Quota
from hpsearch.service.reconciler import Reconciler
from hpsearch.service.search_files import SearchFiles
from hpsearch.service.settings import Settings
from hpsearch.service.slots import FairSlots
from hpsearch.service.uploads import Uploads
from hpsearch.spec import dump_yaml

#: archives that are unpacked at once, and of one user's those that wait for it
MAX_UNPACKING, MAX_WAITING = 2, 8


@dataclass(frozen=True)
class Submission:
    """What a user submits: a spec as YAML, and the hash of the uploaded code that it names."""

    spec: str
    code_hash: str | None = None
    priority: int = 0
    idempotency_key: str | None = None


class Service:
    """The parts of a service, and what its users may do with searches."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.engine: Engine = open_database(settings.database)
        self.table = SearchTable(self.engine)
        self.list_cache = SearchListCache(self.table)
        self.response_cache = ResponseCache()
        self.tokens = Tokens(self.engine)
        self.sessions = Sessions(self.engine)
        self.tracking_tokens = TrackingTokens(self.engine, self.table)
        self.quotas = Quotas(self.engine)
        self.meters = Meters(self.engine)
        self.lease = Lease(self.engine)
        self.runs = Runs(settings.runs)
        self.files = SearchFiles(settings.runs, settings.storage)
        self.records = Records(self.files)
        self.uploads = Uploads(settings.uploads, settings.upload_limits)
        self.jobs = Jobs(settings.ray_address, settings.ray_token)
        self.checks = _checks(settings, self.jobs)
        self.unpacking = FairSlots(MAX_UNPACKING, MAX_WAITING, "uploads")

    def reconciler(self) -> Reconciler:
        """Return a reconciler of this service's searches."""
        return Reconciler(
            self.settings,
            self.table,
            self.quotas,
            self.lease,
            self.jobs,
            self.records,
            self.files,
            Accounting(self.meters, self.quotas, self.jobs),
            self.tracking_tokens,
        )

    async def submit(self, user: User, submission: Submission) -> tuple[SearchRow, bool]:
        """Check a spec and queue it; returns the search, and whether it is new."""
        check_may_write(user)
        folder = await run_in_threadpool(self.uploads.folder, submission.code_hash)
        has_upload = submission.code_hash is not None
        spec = await self.checks.check(user.name, submission.spec, folder, has_upload)
        return await run_in_threadpool(self._add, user, submission, spec)

    def _add(
        self, user: User, submission: Submission, spec: dict[str, Any]
    ) -> tuple[SearchRow, bool]:
        row = SearchRow(
            name=spec["name"],
            owner=user.name,
            spec=dump_yaml(spec),
            priority=submission.priority,
            code_hash=submission.code_hash,
            idempotency_key=submission.idempotency_key,
            summary={
                "trials": spec["search"]["trials"],
                **(spec["objectives"][0] if "objectives" in spec else spec["objective"]),
            },
        )
        self._check_name_is_free(row.name)
        added, is_new = self.table.add(row)
        if is_new:
            self.audit(user, "create", row.name, f"code {row.code_hash or 'none'}")
        return added, is_new

    def stop(self, user: User, name: str) -> SearchRow:
        """Ask a search to stop; the reconciler sees to it."""
        row = self._own(user, name, "stop")
        reason = f"stopped by {user.name}"
        return self._change(user, "stop", row, desired="stopped", stalls=0, reason=reason)

    def resume(self, user: User, name: str) -> SearchRow:
        """Queue a stopped or failed search; it resumes from its record. A paused one goes on."""
        row = self._own(user, name, "resume")
        if row.actual in ("starting", "running"):
            self.act(user, name, "go_on")
            return row
        return self._change(user, "resume", row, **self.table.queued())

    def extend(self, user: User, name: str, **budget: Any) -> SearchRow:
        """Give a search more trials, epochs, seconds or num_bytes; an ended one resumes."""
        row = self._own(user, name, "extend")
        if not any(budget.values()):
            raise SpecError([Problem("extend", "must increase at least one budget")])
        more = read_spec(row.spec, self.uploads.folder(row.code_hash)).extended(**budget)
        values: dict[str, Any] = {"spec": more.to_yaml()}
        extra = row.summary.get("extra") or 0  # beside the budget
        values["summary"] = row.summary | {"trials": more.search.trials + extra}
        if row.actual in ENDED:
            values |= self.table.queued()
        return self._change(user, "extend", row, **values)

    def repeat(self, user: User, name: str, seeds: int) -> SearchRow:
        """Queue a finished search to train its best configuration again with new seeds."""
        row = self._own(user, name, "repeat")
        record = self._record(name)
        check_repeatable(record)
        if not wants_repeats(record, seeds):
            rule = f"{name}: its best was trained with {seeds} new seeds already; ask for more"
            raise ConflictError(rule)
        spec = read_spec(row.spec, self.uploads.folder(row.code_hash)).with_repeats(seeds)
        return self._change(user, "repeat", row, spec=spec.to_yaml(), **self.table.queued())

    def act(self, user: User, name: str, action: str, **what: Any) -> dict[str, Any]:
        """Ask a running search's driver for an act; returns it as plain values.

        Raises what `check_act` does for what can't be done now; the driver looks again.
        """
        self._own(user, name, "act")
        record = self._record(name)
        draft = Act("", user.name, time.time(), action=cast(Any, action), **what)
        check_act(record, draft)
        act = request(SearchFolder(self.settings.runs / name), user.name, action=action, **what)
        self.audit(user, "act", name, act.told[:500])
        return plain_act(record, act)

    def acts(self, name: str) -> list[dict[str, Any]]:
        """Return what users did to a search, and what its driver has yet to take."""
        self.table.get(name)
        folder = SearchFolder(self.settings.runs / name)
        return plain_acts(self._record(name), pending(folder))

    def _record(self, name: str) -> Record:
        try:
            return self.records.read(name)[0]
        except SearchNotFoundError as error:
            raise ConflictError(f"{name} has not started yet") from error

    def delete(self, user: User, name: str) -> None:
        """Remove a search and its files. MLflow keeps its runs, and code is swept later."""
        row = self._own(user, name, "delete")
        if row.actual == "queued" and self.table.change(row, desired="stopped") is None:
            raise ConflictError(f"{name} is starting; stop it first")
        self.files.remove(name)
        self.table.remove(name)
        self.records.forget(name)
        self.meters.remove(name)
        self.audit(user, "delete", name)

    def set_quota(self, user: User, whose: str, quota: Quota) -> None:
        """Replace a user's quota."""
        self.quotas.set(whose, quota)
        self.audit(user, "quota", whose, str(quota))

    def audit(self, user: User, action: str, subject: str, detail: str | None = None) -> None:
        """Note what a user did."""
        write_audit(self.engine, user.name, action, subject, detail)

    def close(self) -> None:
        """Let go of the database."""
        self.engine.dispose()

    def _change(self, user: User, action: str, row: SearchRow, **values: Any) -> SearchRow:
        changed = self.table.change(row, **values)
        if changed is None:
            raise ConflictError(f"{row.name} changed concurrently; retry")
        self.audit(user, action, row.name)
        return changed

    def _own(self, user: User, name: str, action: Action) -> SearchRow:
        """Return a search with which a user may do something now."""
        row = self.table.get(name)
        check_may_write(user)
        try:
            check_owns(user, action, name, row.owner)
        except NotAllowedError:
            self.audit(user, action, name, "refused: not the owner")
            raise
        is_paused = action == "resume" and row.actual in ACTIVE and self._is_paused(name)
        check_state(action, name, row.actual, row.summary.get("state"), is_paused)
        return row

    def _is_paused(self, name: str) -> bool:
        try:
            return self.records.read(name)[0].paused_by is not None
        except SearchNotFoundError:
            return False

    def _check_name_is_free(self, name: str) -> None:
        """Refuse the name of a folder that the table knows nothing of."""
        if not self.table.has(name):
            self.runs.check_new(name)


def _checks(settings: Settings, jobs: Jobs) -> Checks:
    data = settings.data_folders
    reader = LocalRunner(settings.worker_user, (settings.uploads, *data))
    on_cluster = ClusterRunner(jobs, settings.checks, settings.python)
    return Checks(reader, None if settings.owns_cluster else on_cluster, data)
