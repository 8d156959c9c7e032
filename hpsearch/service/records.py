"""The records of searches, kept in memory; of one that changed, only what is new is read."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

from hpsearch.errors import SearchNotFoundError
from hpsearch.record import Record
from hpsearch.runs import Runs

#: records held in memory
MAX_RECORDS = 64
#: seconds for which a record in a database is taken as unchanged
DATABASE_PAUSE_S = 2.0


@dataclass(frozen=True)
class _Entry:
    record: Record
    version: str
    file: os.stat_result | None  # None where the record is in a database
    looked_at: float

    def goes_on_in(self, file: os.stat_result | None) -> bool:
        """Whether the record was only added to since, and is not another in its place."""
        if self.file is None or file is None:
            return self.file is file
        return self.file.st_ino == file.st_ino and self.file.st_size <= file.st_size

    def may_differ(self, file: os.stat_result | None) -> bool:
        """Whether the record may have changed since."""
        if self.file is None or file is None:
            return time.monotonic() - self.looked_at > DATABASE_PAUSE_S
        return _content(self.file) != _content(file)


class Records:
    """Reads records of a runs folder; may be used from many threads."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._lock = threading.Lock()
        self._reading: dict[str, threading.Lock] = {}
        self._opening = threading.Lock()

    def read(self, name: str, fresh: bool = False) -> tuple[Record, str]:
        """Return a record, and a text that differs once it changed; nobody may write to it.

        Raises SearchNotFoundError. One in a database may lag by seconds, unless it must be
        `fresh`.
        """
        if not self._runs.has(name):  # to look for names that are like it would take long
            raise SearchNotFoundError(f"{name} has no record")
        with self._lock:
            reading = self._reading.setdefault(name, threading.Lock())
        with reading:  # one reads, the others wait for that
            entry, file = self._entries.get(name), self._file(name)
            if entry is None or not entry.goes_on_in(file):
                with self._opening:  # several at once would only hold each other up
                    entry = _entry(self._runs.search(name).open_record(), file)
                    # A record has no cycles, but up to a million objects, and Python would look
                    # through those of all records again and again, with nothing else done.
                    gc.freeze()
            elif fresh or entry.may_differ(file):
                entry = _entry(entry.record.newest(), file, entry)
            self._keep(name, entry)
            return entry.record, entry.version

    def forget(self, name: str) -> None:
        """Drop a record that was removed."""
        with self._lock:
            self._entries.pop(name, None)
            self._reading.pop(name, None)

    def _file(self, name: str) -> os.stat_result | None:
        journal = self._runs.search(name).journal
        return journal.stat() if journal.is_file() else None

    def _keep(self, name: str, entry: _Entry) -> None:
        with self._lock:
            self._entries[name] = entry
            self._entries.move_to_end(name)
            while len(self._entries) > MAX_RECORDS:
                forgotten, _ = self._entries.popitem(last=False)
                self._reading.pop(forgotten, None)


def _entry(record: Record, file: os.stat_result | None, before: _Entry | None = None) -> _Entry:
    if before is not None and before.record is record:
        version = before.version
    elif file is None:
        version = f"database {time.time()}"
    else:
        version = "file {} {}".format(*_content(file))
    return _Entry(record, version, file, time.monotonic())


def _content(file: os.stat_result) -> tuple[int, int]:
    return file.st_mtime_ns, file.st_size
