"""Reading a file to which another process adds, such as a log."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import BinaryIO

#: opens the file; raises FileNotFoundError before there is one
Source = Callable[[], BinaryIO]
_CHUNK = 1 << 16


class GrowingFile:
    """Follows a file for as long as `grows()`; the caller decides how to wait in between."""

    def __init__(
        self, source: Source, grows: Callable[[], bool] = lambda: False, position: int = 0
    ) -> None:
        self._source = source
        self._grows = grows
        self._position = position
        self._is_last: bool | None = None  # not known before `grows` was asked

    def next(self) -> bytes | None:
        """Return the next bytes: none where nothing is new yet, None at the end."""
        if self._is_last is None:
            self._is_last = not self._grows()  # asked before the read, so that nothing is missed
        chunk = self.read()
        if chunk:
            return chunk
        is_last, self._is_last = self._is_last, None
        return None if is_last else b""

    def read(self) -> bytes:
        """Return the bytes at the position, at most a chunk, and move on."""
        try:
            with self._source() as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(min(self._position, size))  # the file may have been cut off
                chunk = file.read(_CHUNK)
                self._position = file.tell()
                return chunk
        except FileNotFoundError:
            return b""
