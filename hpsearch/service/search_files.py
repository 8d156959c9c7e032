"""What the service reads and does in the folders of searches, where users' code may write too.

It trusts none of it: see `hpsearch.untrusted_files`. After it has made a folder it writes nothing
into it but the empty file that asks a driver to stop; all else is the driver's, on the cluster.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

from hpsearch.errors import SearchRunningError, UnsafeFileError
from hpsearch.record import Record
from hpsearch.record.untrusted import UntrustedJournal
from hpsearch.runs import SearchFolder
from hpsearch.spec.trials import FILES
from hpsearch.tuning.output import output_file
from hpsearch.untrusted_files import (
    create_empty,
    file_status,
    locked,
    open_regular,
    read_end,
    regular_files,
    remove_below,
)

#: bytes of a log that a page shows
_END_BYTES = 8_000


class SearchFiles:
    """The folders of searches below a runs folder; `storage` is the database of their records."""

    def __init__(self, runs: Path, storage: str | None = None) -> None:
        self._runs = runs
        self._storage = storage

    def path(self, name: str) -> Path:
        """Return the folder of a search."""
        return self._runs / name

    def has(self, name: str) -> bool:
        """Whether a search has a record."""
        folder = self._folder(name)
        files = (folder.journal, folder.spec) if self._storage else (folder.journal,)
        return any(self._status(name, file) is not None for file in files)

    def journal_status(self, name: str) -> os.stat_result | None:
        """Return the status of a record's journal; None where it is in the database."""
        return self._status(name, self._folder(name).journal)

    def record_place(self, name: str) -> UntrustedJournal | str:
        """Return where a record is. What its folder says of a database isn't believed: the
        service would send its password there."""
        if self._storage is not None and self.journal_status(name) is None:
            return self._storage
        journal = self._folder(name).journal.name
        return UntrustedJournal(name, partial(open_regular, self._runs, name, journal))

    def driver_log(self, name: str) -> BinaryIO:
        """Open what a search's driver wrote; raises as open_regular does."""
        return open_regular(self._runs, name, self._folder(name).driver_log.name)

    def trial_output(self, name: str, number: int) -> BinaryIO:
        """Open what a trial printed; raises as open_regular does."""
        folder = self._folder(name)
        output = output_file(folder.outputs, number)
        return open_regular(self._runs, name, *output.relative_to(folder.path).parts)

    def checkpoint(self, name: str, checkpoint: str) -> BinaryIO:
        """Open a checkpoint that a record names; raises as open_regular does."""
        return open_regular(self._runs, name, "checkpoints", *checkpoint.split("/"))

    def command_files(self, name: str, checkpoint: str) -> Iterator[tuple[str, BinaryIO]]:
        """Yield the files that lie beside a command's checkpoint, by name, each open."""
        parts = (name, "checkpoints", checkpoint.split("/")[0], FILES)
        for path in regular_files(self._runs, *parts):
            with open_regular(self._runs, *parts, *path) as file:
                yield "/".join(path), file

    def log_end(self, name: str) -> str:
        """Return the last lines of a driver's log; nothing where that can't be read."""
        log = self._folder(name).driver_log.name
        try:
            end, is_whole = read_end(self._runs, name, log, num_bytes=_END_BYTES)
        except (FileNotFoundError, UnsafeFileError):
            return ""
        text = end.decode(errors="replace")
        return text if is_whole else text.partition("\n")[2]

    def is_driven(self, name: str) -> bool:
        """Whether a driver works on a search."""
        with locked(self._runs, name, self._folder(name).lock.name) as is_held:
            return not is_held

    def request_stop(self, name: str) -> None:
        """Ask the driver of a search to stop."""
        create_empty(self._runs, name, self._folder(name).stop_request.name)

    def remove(self, name: str) -> None:
        """Remove a search, with its record wherever that is; raises SearchRunningError."""
        with self._held(name):
            if self._storage is not None:
                Record.remove(self._storage, name)
            with suppress(FileNotFoundError):
                remove_below(self._runs, name)

    @contextmanager
    def _held(self, name: str) -> Iterator[None]:
        with locked(self._runs, name, self._folder(name).lock.name) as is_held:
            if not is_held:
                raise SearchRunningError.of(name)
            yield

    def _status(self, name: str, file: Path) -> os.stat_result | None:
        return file_status(self._runs, name, file.name)

    def _folder(self, name: str) -> SearchFolder:
        return SearchFolder(self._runs / name)
