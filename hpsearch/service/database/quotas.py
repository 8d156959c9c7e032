"""What users may use, and what they used: kept in the database."""

from __future__ import annotations

import math
import time

from sqlalchemy import Engine, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from hpsearch.service.database import tables
from hpsearch.service.queue import Quota


class Quotas:
    """Quotas by user, and the GPU-hours that each used, by month (UTC)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def all(self) -> dict[str, Quota]:
        """Return the quotas of those who have one."""
        with self._engine.connect() as connection:
            found = connection.execute(select(tables.quotas))
            return {row.user: Quota(row.max_running, row.gpu_hours_per_month) for row in found}

    def set(self, user: str, quota: Quota) -> None:
        """Replace a user's quota."""
        values = {
            "max_running": quota.max_running,
            "gpu_hours_per_month": quota.gpu_hours_per_month,
        }
        with self._engine.begin() as connection:
            connection.execute(delete(tables.quotas).where(tables.quotas.c.user == user))
            connection.execute(insert(tables.quotas).values(user=user, **values))

    def gpu_hours(self) -> dict[str, float]:
        """Return what each user used this month."""
        usage = tables.usage
        with self._engine.connect() as connection:
            found = connection.execute(select(usage).where(usage.c.month == _month()))
            return {row.user: row.gpu_seconds / 3600 for row in found}

    def add_usage(self, user: str, gpu_seconds: float) -> None:
        """Add to what a user used this month; nothing that isn't a positive number."""
        if not 0 < gpu_seconds < math.inf:
            return
        usage, month = tables.usage, _month()
        same = (usage.c.user == user, usage.c.month == month)
        more = update(usage).where(*same).values(gpu_seconds=usage.c.gpu_seconds + gpu_seconds)
        with self._engine.begin() as connection:
            if connection.execute(more).rowcount:
                return
        try:
            with self._engine.begin() as connection:
                entry = insert(usage).values(user=user, month=month, gpu_seconds=gpu_seconds)
                connection.execute(entry)
        except IntegrityError:  # another process was faster
            self.add_usage(user, gpu_seconds)


def _month() -> str:
    return time.strftime("%Y-%m", time.gmtime())
