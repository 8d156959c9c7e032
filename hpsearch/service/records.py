"""The records of searches, read again only when they changed, and not more often than it pays."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

from hpsearch.record import Record
from hpsearch.runs import Runs

#: records held in memory
MAX_RECORDS = 64
#: a record that takes a second to read is read every ten
PAUSE_PER_READ = 10.0
#: seconds for which a record in a database is taken as unchanged
DATABASE_PAUSE_S = 2.0


@dataclass
class _Entry:
    version: str
    record: Record
    read_at: float
    took_s: float


class Records:
    """Reads records of a runs folder; may be used from many threads."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._lock = threading.Lock()
        self._reading: dict[str, threading.Lock] = {}

    def version(self, name: str) -> str:
        """Return a text that differs once a record changed; raises SearchNotFoundError."""
        folder = self._runs.search(name)
        if not folder.journal.is_file():
            return f"database {time.time() // DATABASE_PAUSE_S:.0f}"
        status = folder.journal.stat()
        return f"{status.st_mtime_ns} {status.st_size}"

    def read(self, name: str, fresh: bool = False) -> tuple[Record, str]:
        """Return a record and its version; nobody may write to it.

        A large one may lag behind by some seconds, unless it must be `fresh`.
        """
        version = self.version(name)
        with self._lock:
            reading = self._reading.setdefault(name, threading.Lock())
        with reading:  # one reads, the others wait for that
            entry = self._entries.get(name)
            if entry is None or (entry.version != version and (fresh or self._is_due(entry))):
                entry = self._read(name, version)
            return entry.record, entry.version

    def forget(self, name: str) -> None:
        """Drop a record that was removed."""
        with self._lock:
            self._entries.pop(name, None)
            self._reading.pop(name, None)

    def _is_due(self, entry: _Entry) -> bool:
        return time.monotonic() - entry.read_at > PAUSE_PER_READ * entry.took_s

    def _read(self, name: str, version: str) -> _Entry:
        began = time.monotonic()
        record = self._runs.search(name).open_record()
        now = time.monotonic()
        entry = _Entry(version, record, now, now - began)
        with self._lock:
            self._entries[name] = entry
            self._entries.move_to_end(name)
            while len(self._entries) > MAX_RECORDS:
                forgotten, _ = self._entries.popitem(last=False)
                self._reading.pop(forgotten, None)
        return entry
