"""GPU time by the service's own clock: what Ray has given a search's job while that was seen.

A record tells of GPU time too, but users' code writes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Engine, and_, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from hpsearch.service.database.audit import write_audit
from hpsearch.service.database.search_table import SearchRow
from hpsearch.service.database.tables import meters
from hpsearch.service.summaries import finite


@dataclass(frozen=True)
class Meter:
    """What a search had used of GPUs when its job was last seen, and what that had then.

    Times are seconds since 1970.
    """

    submission_id: str | None = None
    seen_at: float = 0.0
    gpus: float = 0.0
    gpu_seconds: float = 0.0

    def read(self, submission_id: str, until: float, gpus: float) -> Meter:
        """Return the meter after another look: the job lived until then, and has `gpus` now.

        What it had at the last look counts for the time between the two. Of an attempt that wasn't
        seen before nothing counts yet.
        """
        if submission_id != self.submission_id:
            return Meter(submission_id, until, gpus, self.gpu_seconds)
        seen_at = max(until, self.seen_at)  # clocks may be set back
        used = self.gpus * (seen_at - self.seen_at)
        return Meter(submission_id, seen_at, gpus, self.gpu_seconds + used)


class Meters:
    """The meters of a service's searches, kept in the database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def get(self, row: SearchRow) -> Meter:
        """Return a search's meter; one that an older version counted begins with its sum."""
        query = select(meters).where(meters.c.name == row.name)
        with self._engine.connect() as connection:
            found = connection.execute(query).first()
        if found is None:
            return Meter(gpu_seconds=max(finite(row.summary.get("gpu_seconds")) or 0.0, 0.0))
        return Meter(found.submission_id, found.seen_at, found.gpus, found.gpu_seconds)

    def advance(self, name: str, before: Meter, after: Meter) -> bool:
        """Replace a meter; False if another reconciler was faster."""
        values = {
            "submission_id": after.submission_id,
            "seen_at": after.seen_at,
            "gpus": after.gpus,
            "gpu_seconds": after.gpu_seconds,
        }
        if before.submission_id is None:
            return self._begin(name, values)
        same = and_(
            meters.c.name == name,
            meters.c.submission_id == before.submission_id,
            meters.c.seen_at == before.seen_at,
        )
        with self._engine.begin() as connection:
            return bool(connection.execute(update(meters).where(same).values(values)).rowcount)

    def remove(self, name: str) -> None:
        """Forget a search that was removed."""
        with self._engine.begin() as connection:
            connection.execute(delete(meters).where(meters.c.name == name))

    def tell(self, name: str, warning: str) -> None:
        """Note in the audit log what the service found of a search."""
        write_audit(self._engine, "the service", "gpu time", name, warning)

    def _begin(self, name: str, values: Mapping[str, object]) -> bool:
        try:
            with self._engine.begin() as connection:
                connection.execute(insert(meters).values(name=name, **values))
        except IntegrityError:
            return False
        return True
