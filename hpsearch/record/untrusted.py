"""A journal that users' code may have written, read by a process that trusts none of it.

What stands in it is bounded in size and in the time that it takes, and is refused as a whole
where it is no journal: reading raises RecordError, and nothing else.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend

from hpsearch.errors import RecordError

#: a record of 10,000 trials of 27 epochs has half as many
MAX_BYTES = 250_000_000
MAX_ENTRY_BYTES = 4_000_000
#: seconds of processor time; entries that make Optuna copy more and more would take for ever
MAX_SECONDS = 60.0
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


@dataclass(frozen=True)
class UntrustedJournal:
    """The place of such a journal: its name in errors, and what opens it."""

    name: str
    open: Callable[[], BinaryIO]

    def storage(self) -> JournalStorage:
        """Read it whole; raises RecordError, or what `open` raises."""
        return JournalStorage(_Backend(self))


class _Backend(BaseJournalBackend):
    """Reads on from where it ended the last time; writes nothing."""

    def __init__(self, journal: UntrustedJournal) -> None:
        self._journal = journal
        self._number = 0  # of entries that were read
        self._position = 0

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Yield the whole entries from a number on, each as it is applied."""
        if log_number_from < self._number:
            self._number = self._position = 0
        began = time.thread_time()
        with self._journal.open() as file:
            self._check(os.fstat(file.fileno()).st_size <= MAX_BYTES, "is too large")
            file.seek(self._position)
            while line := file.readline(MAX_ENTRY_BYTES + 1):
                if not line.endswith(b"\n"):
                    self._check(len(line) <= MAX_ENTRY_BYTES, "has too long an entry")
                    return  # its driver is writing it, or died meanwhile
                self._check(time.thread_time() - began < MAX_SECONDS, "takes too long to read")
                entry = self._parse(line)
                self._number += 1
                self._position += len(line)
                if self._number > log_number_from:
                    yield entry

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Refuse: records are written by their drivers only."""
        raise PermissionError("records are written by their drivers only")

    def _parse(self, line: bytes) -> dict[str, Any]:
        try:
            text = line.decode()
            entry = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise self._error(f"has invalid JSON at entry {self._number + 1}") from error
        self._check(isinstance(entry, dict), f"has no JSON object at entry {self._number + 1}")
        if _ESCAPED_SURROGATE.search(text):
            entry = _without_surrogates(entry)
        whole: dict[str, Any] = entry
        return whole

    def _check(self, holds: bool, what: str) -> None:
        if not holds:
            raise self._error(what)

    def _error(self, what: str) -> RecordError:
        return RecordError(f"the record of {self._journal.name} can't be read: it {what}")


def _without_surrogates(value: Any) -> Any:
    """Replace halves of surrogate pairs, which no encoding can write."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(each) for key, each in value.items()}
    return list(map(_without_surrogates, value)) if isinstance(value, list) else value
