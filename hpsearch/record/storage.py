"""Where a record is kept: a journal file beside the search's other files, or a database.

A driver may die in the middle of a write, so the last entry of a journal may be cut short. Readers
pass over it; the next driver cuts it off, or its own first entry would be joined to it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from hpsearch.errors import RecordError
from hpsearch.record.untrusted import UntrustedJournal

_log = logging.getLogger(__name__)
#: a journal's path, the URL of a database (`postgresql://…`), a journal that is only read, or the
#: memory of this process
Place = Path | str | UntrustedJournal | InMemoryStorage


class _Journal(JournalFileBackend):
    """A journal whose entries can be written many at a time, with one lock and one `fsync`."""

    _pending: list[dict[str, Any]] | None = None

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write entries, or keep them for the end of the batch."""
        if self._pending is None:
            super().append_logs(logs)
        else:
            self._pending += logs

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """Yield what is new; within a batch nothing is."""
        if self._pending is None:
            yield from super().read_logs(log_number_from)

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Write what is appended meanwhile at the end, as one."""
        self._pending = []
        try:
            yield
        finally:
            pending, self._pending = self._pending, None
            if pending:
                self.append_logs(pending)


def batched(storage: BaseStorage) -> AbstractContextManager[None]:
    """Write what is noted meanwhile, such as attributes and ends, as one, where a storage can.

    Nothing may be created within: its number would not be known. What is read within is as it was
    before.
    """
    journal = getattr(storage, "_backend", None)
    return journal.batch() if isinstance(journal, _Journal) else nullcontext()


def open_storage(place: Place) -> BaseStorage:
    """Open a record's storage; a journal that is not there is made."""
    if isinstance(place, UntrustedJournal):
        return place.storage()
    if isinstance(place, InMemoryStorage):
        return place
    if isinstance(place, Path):
        return JournalStorage(_Journal(str(place)))
    from sqlalchemy.exc import SQLAlchemyError  # a journal needs no database

    try:
        return optuna.storages.get_storage(_open_database(place))  # reads ended trials only once
    except (optuna.exceptions.StorageInternalError, SQLAlchemyError, ImportError) as error:
        what = str(error).partition("\n")[0]
        raise RecordError(f"storage: {_without_password(place)} can't be used: {what}") from error


@cache
def _open_database(url: str) -> RDBStorage:
    """Open a database once in a process: each has a pool of connections, and few may be open."""
    # A server that was restarted has closed the connections of the pool.
    return RDBStorage(url, engine_kwargs={"pool_pre_ping": True})


def repair_journal(path: Path) -> int:
    """Cut off what follows the last whole entry; returns the bytes that were dropped.

    Only for the one driver of a search. A lock that a dead driver left is removed too: Optuna
    would wait 30 s for it.
    """
    for lock in path.parent.glob(f"{path.name}.lock*"):
        lock.unlink(missing_ok=True)
    with path.open("r+b") as file:
        content = file.read()
        end = _end_of_whole_entries(content)
        if end < len(content):
            _log.warning(
                "%s: removed an incomplete last entry (%d bytes)", path, len(content) - end
            )
            file.truncate(end)
    return len(content) - end


def _end_of_whole_entries(content: bytes) -> int:
    end = content.rfind(b"\n") + 1
    while end:
        start = content.rfind(b"\n", 0, end - 1) + 1
        try:
            json.loads(content[start:end])
            return end
        except ValueError:  # a power failure may leave a block of zeros
            end = start
    return 0


def _without_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://…@{rest.rpartition('@')[2]}" if "@" in rest else url
