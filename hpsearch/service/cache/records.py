"""The records of searches, kept in memory; of one that changed, only what is new is read.

Users' code may have written a record: one that can't be read raises RecordError, whatever is in
it, and one that takes long to read is read seldom, so that it keeps no others waiting.
"""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from hpsearch.errors import HpsearchError, RecordError, SearchNotFoundError
from hpsearch.record import Record
from hpsearch.service.cache.cache import Cache
from hpsearch.service.search_files import SearchFiles

#: records held in memory, and the bytes of their journals together
MAX_RECORDS = 64
MAX_KEPT_BYTES = 500_000_000
#: seconds for which a record in a database is taken as unchanged
DATABASE_PAUSE_S = 2.0
#: a record is left alone for this many times its reading time, if that was over CHEAP_S
REST = 10.0
CHEAP_S = 1.0
#: seconds that one record waits for the opening of another
PATIENCE_S = 3.0
#: of a journal; one of more bytes is read beside the smaller ones
LARGE_BYTES = 20_000_000


@dataclass(frozen=True)
class _Entry:
    """What was read of a record: the record, or why it can't be read."""

    record: Record | None
    error: str | None
    version: str
    file: os.stat_result | None  # None where the record is in a database
    looked_at: float
    #: times before which it is not reopened, and not read further
    reopen_at: float
    refresh_at: float = 0.0

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
    """Reads the records of searches; may be used from many threads."""

    def __init__(self, files: SearchFiles) -> None:
        self._files = files
        self._entries: Cache[str, _Entry] = Cache(MAX_RECORDS, MAX_KEPT_BYTES, size=_num_bytes)
        self._opening = {is_large: threading.Lock() for is_large in (False, True)}

    def read(self, name: str, fresh: bool = False) -> tuple[Record, str]:
        """Return a record, and a text that differs once it changed; nobody may write to it.

        Raises SearchNotFoundError, or RecordError where it can't be read. One in a database may
        lag by seconds, unless it must be `fresh`.
        """
        if not self._files.has(name):
            raise SearchNotFoundError(f"{name} has no record")
        entry = self._entries.update(name, lambda kept: self._newest(name, kept, fresh))
        if entry.record is None:
            raise RecordError(entry.error)
        return entry.record, entry.version

    def forget(self, name: str) -> None:
        """Drop a record that was removed."""
        self._entries.drop(name)

    def _newest(self, name: str, entry: _Entry | None, fresh: bool) -> _Entry:
        file, now = self._files.journal_status(name), time.monotonic()
        if entry is None:
            return self._open(name, file)
        if entry.record is None or not entry.goes_on_in(file):
            is_known = entry.file is not None and not entry.may_differ(file)
            return entry if is_known or now < entry.reopen_at else self._open(name, file)
        if now >= entry.refresh_at and (fresh or entry.may_differ(file)):
            return _refreshed(entry, entry.record, file)
        return entry

    def _open(self, name: str, file: os.stat_result | None) -> _Entry:
        is_large = file is not None and file.st_size > LARGE_BYTES
        with _held_for_a_while(self._opening[is_large]):
            place = self._files.record_place(name)
            home = self._files.path(name)
            entry = _opened(lambda: Record.open(place, name, home), file)
            # A record has no cycles, but up to a million objects, and Python would look
            # through those of all records again and again, with nothing else done.
            gc.freeze()
        return entry


def _num_bytes(entry: _Entry) -> int:
    return 0 if entry.file is None else entry.file.st_size


@contextmanager
def _held_for_a_while(lock: threading.Lock) -> Iterator[None]:
    """Hold a lock, since several readers would only delay each other; continue without it where
    one takes long, as users' code may have wanted it to."""
    is_held = lock.acquire(timeout=PATIENCE_S)
    try:
        yield
    finally:
        if is_held:
            lock.release()


def _opened(read: Callable[[], Record], file: os.stat_result | None) -> _Entry:
    record, error, cost = _read(read)
    now = time.monotonic()
    return _Entry(record, error, _version(file), file, now, now + _rest(cost))


def _refreshed(entry: _Entry, before: Record, file: os.stat_result | None) -> _Entry:
    record, error, cost = _read(before.newest)
    now = time.monotonic()
    return replace(
        entry,
        record=record,
        error=error,
        version=entry.version if record is before else _version(file),
        file=file,
        looked_at=now,
        refresh_at=now + _rest(cost),
        reopen_at=max(entry.reopen_at, now + _rest(cost)),
    )


def _read(read: Callable[[], Record]) -> tuple[Record | None, str | None, float]:
    """Return a record, or why it can't be read, and the seconds of processor time it took."""
    began = time.thread_time()
    record, error = None, None
    try:
        record = read()
    except RecordError as unreadable:
        error = str(unreadable)
    except HpsearchError:
        raise
    except Exception as unexpected:  # Optuna raises all kinds for what no driver wrote
        error = f"the record can't be read: it is corrupt ({type(unexpected).__name__})"
    return record, error, time.thread_time() - began


def _rest(cost: float) -> float:
    return REST * cost if cost > CHEAP_S else 0.0


def _version(file: os.stat_result | None) -> str:
    return f"database {time.time()}" if file is None else "file {} {}".format(*_content(file))


def _content(file: os.stat_result) -> tuple[int, int]:
    return file.st_mtime_ns, file.st_size
