"""The table of searches: what should be, what is, and what a list of them shows."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from sqlalchemy import (
    JSON,
    Connection,
    Engine,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from hpsearch.errors import ConflictError, SearchExistsError, SearchNotFoundError
from hpsearch.runs import name_of_repeats
from hpsearch.service.database.search_lists import SHOWN, Filter, count_of, page_of
from hpsearch.service.database.tables import names, searches
from hpsearch.service.summaries import MAX_REASON, checked_summary, clean_text

#: `failed`: the service has given it up, and brings it to its end
Desired = Literal["queued", "running", "stopped", "failed"]
Actual = Literal["queued", "starting", "running", "stopping", "finished", "stopped", "failed"]
#: states in which a search has a job, or is about to have one
ACTIVE: tuple[Actual, ...] = ("starting", "running", "stopping")
ENDED: tuple[Actual, ...] = ("finished", "stopped", "failed")


@dataclass(frozen=True)
class SearchRow:
    """A search as the table has it. Times are seconds since 1970."""

    name: str
    owner: str
    spec: str
    priority: int = 0
    desired: Desired = "queued"
    actual: Actual = "queued"
    reason: str | None = None
    attempt: int = 0
    submission_id: str | None = None
    stalls: int = 0
    launch_epochs: int = 0
    retry_at: float = 0.0
    code_hash: str | None = None
    idempotency_key: str | None = None
    summary: dict[str, Any] = field(default_factory=dict)
    record_version: str | None = None
    created_at: float = 0.0
    queued_at: float = 0.0
    changed_at: float = 0.0


_COLUMNS = tuple(each.name for each in fields(SearchRow))


class SearchTable:
    """The searches of a service, each change in a transaction of its own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, row: SearchRow) -> tuple[SearchRow, bool]:
        """Add a search; returns it, and whether it is new.

        The same request again (owner, idempotency key, spec and code) returns what is there.
        Raises SearchExistsError for a taken name, ConflictError for a key used for another spec.
        """
        now = time.time()
        values = _checked(asdict(row)) | {"created_at": now, "queued_at": now, "changed_at": now}
        try:
            with self._engine.begin() as connection:
                connection.execute(insert(searches).values(values))
                for name in (row.name, name_of_repeats(row.name)):
                    _take_name(connection, name, row.owner, now)
        except IntegrityError as error:
            return self._found_again(row, error), False
        return self.get(row.name), True

    def get(self, name: str) -> SearchRow:
        """Return a search; raises SearchNotFoundError."""
        with self._engine.connect() as connection:
            found = connection.execute(select(searches).where(searches.c.name == name)).first()
        if found is None:
            raise SearchNotFoundError(f"no search {name!r}")
        return _row(found)

    def has(self, name: str) -> bool:
        """Whether there is a search of this name."""
        with self._engine.connect() as connection:
            query = select(searches.c.name).where(searches.c.name == name)
            return connection.scalar(query) is not None

    @staticmethod
    def queued() -> dict[str, Any]:
        """Return the values of a search that is queued again."""
        return {
            "desired": "queued",
            "actual": "queued",
            "reason": None,
            "stalls": 0,
            "retry_at": 0.0,
            "queued_at": time.time(),
        }

    def page(
        self, wanted: Filter, limit: int | None = None, offset: int = 0
    ) -> tuple[list[dict[str, Any]], int]:
        """Return some searches as lists show them, the newest first, and how many there are."""
        query = page_of(select(*SHOWN), wanted, limit, offset)
        with self._engine.connect() as connection:
            rows = [dict(found) for found in connection.execute(query).mappings()]
            return rows, count_of(connection, wanted)

    def changes(self, wanted: Filter, limit: int, offset: int) -> tuple[dict[str, float], int]:
        """Return when the searches of a page changed, by name, and how many there are.

        As one row: SQLite's driver lets go of Python's lock at each row, and in a process with
        many busy threads gets it back after milliseconds.
        """
        chosen = page_of(select(searches.c.name, searches.c.changed_at), wanted, limit, offset)
        page, is_sqlite = chosen.subquery(), self._engine.dialect.name == "sqlite"
        pair = func.json_array if is_sqlite else func.json_build_array
        gather = func.json_group_array if is_sqlite else func.json_agg
        query = select(gather(pair(page.c.name, page.c.changed_at), type_=JSON))
        with self._engine.connect() as connection:
            return dict(connection.scalar(query) or ()), count_of(connection, wanted)

    def shown(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Return searches as lists show them."""
        if not names:
            return []
        query = select(*SHOWN).where(searches.c.name.in_(names))
        with self._engine.connect() as connection:
            return [dict(found) for found in connection.execute(query).mappings()]

    def in_states(self, states: Iterable[Actual]) -> list[SearchRow]:
        """Return the searches that are in one of the states, oldest first."""
        query = select(searches).where(searches.c.actual.in_(list(states)))
        with self._engine.connect() as connection:
            found = connection.execute(query.order_by(searches.c.queued_at, searches.c.name))
            return [_row(row) for row in found]

    def changed_since(self, moment: float) -> list[SearchRow]:
        """Return the searches that changed at or after a moment, in the order of the changes."""
        query = select(searches).where(searches.c.changed_at >= moment)
        with self._engine.connect() as connection:
            return [_row(row) for row in connection.execute(query.order_by(searches.c.changed_at))]

    def names(self) -> list[str]:
        """Return the names of all searches."""
        with self._engine.connect() as connection:
            return list(connection.scalars(select(searches.c.name)))

    def code_hashes(self) -> set[str]:
        """Return the hashes of the code that searches use."""
        query = select(searches.c.code_hash).where(searches.c.code_hash.is_not(None)).distinct()
        with self._engine.connect() as connection:
            return {str(found) for found in connection.scalars(query)}

    def counts(self) -> dict[str, int]:
        """Return the number of searches by state."""
        query = select(searches.c.actual, func.count()).group_by(searches.c.actual)
        with self._engine.connect() as connection:
            return {state: count for state, count in connection.execute(query)}

    def summaries(self) -> list[dict[str, Any]]:
        """Return the summaries of all searches."""
        with self._engine.connect() as connection:
            return list(connection.scalars(select(searches.c.summary)))

    def change(self, row: SearchRow, **values: Any) -> SearchRow | None:
        """Change a search if its states are still those of `row`; None if they are not.

        Of two that race (a user's stop and the reconciler, or two reconcilers), one changes it.
        """
        same = (
            searches.c.name == row.name,
            searches.c.desired == row.desired,
            searches.c.actual == row.actual,
            searches.c.attempt == row.attempt,
        )
        values = _checked(values) | {"changed_at": time.time()}
        with self._engine.begin() as connection:
            changed = connection.execute(update(searches).where(*same).values(**values)).rowcount
        return replace(row, **values) if changed else None

    def remove(self, name: str) -> None:
        """Remove a search from the table."""
        with self._engine.begin() as connection:
            found = connection.execute(select(searches).where(searches.c.name == name)).first()
            if found is not None:
                row = _row(found)
                _take_name(connection, name, row.owner, row.created_at)
            connection.execute(delete(searches).where(searches.c.name == name))

    def name_since(self, row: SearchRow) -> float:
        """Return when the name of a search was first taken, by this search or an earlier one."""
        query = select(names.c.since).where(names.c.name == row.name)
        with self._engine.connect() as connection:
            found = connection.scalar(query)
        return row.created_at if found is None else float(found)

    def experiment_names(self, row: SearchRow) -> tuple[str, ...]:
        """Return the names of a search's experiments in MLflow: its own, and that of its repeats
        unless another user took that name before searches kept it."""
        repeats = name_of_repeats(row.name)
        query = select(names.c.owner).where(names.c.name == repeats)
        with self._engine.connect() as connection:
            owner = connection.scalar(query)
        return (row.name, repeats) if owner in (None, row.owner) else (row.name,)

    def _found_again(self, row: SearchRow, error: IntegrityError) -> SearchRow:
        if row.idempotency_key is not None:
            key = searches.c.idempotency_key == row.idempotency_key
            with self._engine.connect() as connection:
                query = select(searches).where(searches.c.owner == row.owner, key)
                found = connection.execute(query).first()
            if found is not None:
                there = _row(found)
                if (there.spec, there.code_hash) == (row.spec, row.code_hash):
                    return there
                raise ConflictError(
                    f"Idempotency-Key: must be unique, but search {there.name!r} has it"
                ) from error
        raise SearchExistsError(f"name: must be new, but search {row.name!r} exists") from error


def _take_name(connection: Connection, name: str, owner: str, since: float) -> None:
    """Keep a name for its owner; raises SearchExistsError where it is another's.

    What a deleted search left in MLflow must not become another user's.
    """
    found = connection.scalar(select(names.c.owner).where(names.c.name == name))
    if found is None:
        connection.execute(insert(names).values(name=name, owner=owner, since=since))
    elif found != owner:
        rule = f"must be new, but {name!r} is kept for MLflow runs of searches of {found}"
        raise SearchExistsError(f"name: {rule}")


def _checked(values: dict[str, Any]) -> dict[str, Any]:
    """Return values without what users' code may have put into their texts and numbers."""
    checked = dict(values)
    if values.get("reason") is not None:
        checked["reason"] = clean_text(str(values["reason"]), MAX_REASON)
    if "summary" in values:
        known = checked_summary(values["summary"])
        checked["summary"] = {name: known[name] for name in values["summary"] if name in known}
    return checked


def _row(found: Any) -> SearchRow:
    return SearchRow(**{name: getattr(found, name) for name in _COLUMNS})
