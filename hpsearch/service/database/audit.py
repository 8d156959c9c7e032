"""The audit log: who did what, kept in the database."""

from __future__ import annotations

import logging
import time
from typing import Any

from sqlalchemy import Engine, insert, select

from hpsearch.service.database.tables import audit

_log = logging.getLogger(__name__)


def write_audit(
    engine: Engine, user: str, action: str, subject: str, detail: str | None = None
) -> None:
    """Note that a user did something, or was refused it."""
    entry = {"user": user, "action": action, "subject": subject[:200], "detail": detail}
    _log.info("%s: %s %s %s", user, action, subject, detail or "")
    with engine.begin() as connection:
        connection.execute(insert(audit).values(at=time.time(), **entry))


def read_audit(engine: Engine, limit: int = 100) -> list[dict[str, Any]]:
    """Return the newest entries, the newest first."""
    with engine.connect() as connection:
        found = connection.execute(select(audit).order_by(audit.c.id.desc()).limit(limit))
        return [dict(entry._mapping) for entry in found]
