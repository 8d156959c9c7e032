"""Which searches a list shows, and what of each, as SQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, select

from hpsearch.service.database.tables import searches

#: what lists show: all but the spec and what is the reconciler's own
SHOWN = (
    searches.c.actual.label("state"),
    *(
        searches.c[name]
        for name in (
            "name",
            "owner",
            "desired",
            "reason",
            "priority",
            "attempt",
            "code_hash",
            "created_at",
            "queued_at",
            "changed_at",
            "summary",
        )
    ),
)


@dataclass(frozen=True)
class Filter:
    """Which searches a list shows; None is no condition."""

    owner: str | None = None
    states: Sequence[str] = ()
    text: str | None = None  # part of the name

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return them as SQL."""
        found: list[ColumnElement[bool]] = []
        if self.owner is not None:
            found.append(searches.c.owner == self.owner)
        if self.states:
            found.append(searches.c.actual.in_(self.states))
        if self.text:
            found.append(searches.c.name.contains(self.text, autoescape=True))
        return found


def page_of(query: Select[Any], wanted: Filter, limit: int | None, offset: int) -> Select[Any]:
    """Return a query's searches in part, the newest first."""
    newest = (searches.c.created_at.desc(), searches.c.name)
    return query.where(*wanted.conditions()).order_by(*newest).limit(limit).offset(offset)


def count_of(connection: Connection, wanted: Filter) -> int:
    """Return how many searches a list has on all its pages."""
    query = select(func.count()).select_from(searches).where(*wanted.conditions())
    return connection.scalar(query) or 0
