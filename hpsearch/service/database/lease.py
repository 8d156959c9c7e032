"""A lease in the database: of several reconcilers one works, and another takes over if it dies."""

from __future__ import annotations

import os
import socket
import time
import uuid

from sqlalchemy import Engine, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from hpsearch.service.database.tables import lease


class Lease:
    """One holder's view of a lease."""

    def __init__(self, engine: Engine, name: str = "reconciler", duration_s: float = 15.0) -> None:
        self._engine = engine
        self._name = name
        self._duration_s = duration_s
        self.holder = f"{socket.gethostname()}.{os.getpid()}.{uuid.uuid4().hex[:8]}"

    def acquire(self) -> bool:
        """Take or renew the lease; False while another has it."""
        now = time.time()
        is_free = (lease.c.holder == self.holder) | (lease.c.expires_at < now)
        values = {"holder": self.holder, "expires_at": now + self._duration_s}
        with self._engine.begin() as connection:
            mine = update(lease).where(lease.c.name == self._name, is_free).values(**values)
            if connection.execute(mine).rowcount:
                return True
        try:
            with self._engine.begin() as connection:
                connection.execute(insert(lease).values(name=self._name, **values))
        except IntegrityError:  # another has it
            return False
        return True

    def note_pass(self) -> None:
        """Note that a whole pass was made."""
        mine = (lease.c.name == self._name, lease.c.holder == self.holder)
        with self._engine.begin() as connection:
            connection.execute(update(lease).where(*mine).values(passed_at=time.time()))

    def lag(self) -> float | None:
        """Return the seconds since the last whole pass of whoever holds it; None before one."""
        query = select(lease.c.passed_at).where(lease.c.name == self._name)
        with self._engine.connect() as connection:
            passed_at = connection.scalar(query)
        return time.time() - passed_at if passed_at else None

    def release(self) -> None:
        """Give the lease back, so that another need not wait."""
        mine = (lease.c.name == self._name, lease.c.holder == self.holder)
        with self._engine.begin() as connection:
            connection.execute(delete(lease).where(*mine))
