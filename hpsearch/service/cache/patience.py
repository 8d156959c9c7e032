"""Reads records with a timeout: users' code may have made one slow to read."""

from __future__ import annotations

import threading
from concurrent.futures import Future

from hpsearch.record import Record
from hpsearch.service.cache.records import Records

#: seconds that the reconciler waits for one record
PATIENCE_S = 5.0


class StillReadingError(Exception):
    """Raised where a record takes long to read: it is read on, and may be asked for again."""


class PatientRecords:
    """Reads records for one thread that must not block."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._unfinished: dict[str, Future[tuple[Record, str]]] = {}

    def read(self, name: str, fresh: bool = False) -> tuple[Record, str]:
        """Return what Records.read does and raise as that; or raises StillReadingError."""
        if (before := self._unfinished.get(name)) is not None and not before.done():
            raise StillReadingError(f"the record of {name} is still being read")
        # What was read then may be old by now; a second look is cheap.
        reading: Future[tuple[Record, str]] = Future()
        self._unfinished[name] = reading
        threading.Thread(target=self._read, args=(reading, name, fresh), daemon=True).start()
        try:
            found = reading.result(PATIENCE_S)
        except TimeoutError as error:
            raise StillReadingError(f"the record of {name} takes long to read") from error
        del self._unfinished[name]
        return found

    def _read(self, reading: Future[tuple[Record, str]], name: str, fresh: bool) -> None:
        try:
            reading.set_result(self._records.read(name, fresh))
        except BaseException as error:
            reading.set_exception(error)
