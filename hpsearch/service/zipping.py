"""A ZIP archive as a stream: its files may be larger than memory and disk have room for twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import BinaryIO
from zipfile import ZIP_STORED, ZipFile, ZipInfo

_CHUNK = 1 << 20


class _Pieces:
    """A file that can only be written to, and whose content is taken piece by piece."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        """Keep data until it is taken."""
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Do nothing: nothing is held back."""

    def take(self) -> bytes:
        """Return what was written since the last call."""
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken


def zipped(files: Iterable[tuple[str, BinaryIO]]) -> Iterator[bytes]:
    """Yield the bytes of an archive of named open files; weights don't compress."""
    pieces = _Pieces()
    with ZipFile(pieces, "w", ZIP_STORED) as archive:  # type: ignore[call-overload]
        for name, file in files:
            with archive.open(ZipInfo(name), "w", force_zip64=True) as target:
                while chunk := file.read(_CHUNK):
                    target.write(chunk)
                    yield pieces.take()
    yield pieces.take()
