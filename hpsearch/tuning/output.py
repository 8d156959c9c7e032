"""What a trial prints, in a file of its own.

A worker trains one trial after another, each alone in its process. So the process' own standard
output and error are the trial's meanwhile: what libraries in C, subprocesses and a crash say is
kept too.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

#: bytes that are kept of a trial that has printed more, from the end
MAX_BYTES = 1_000_000
_STREAMS = (1, 2)


def output_file(outputs: Path, number: int) -> Path:
    """Return the file of what a trial prints, which is there if it printed anything."""
    return outputs / f"trial-{number:04d}.log"


def output_folder(outputs: Path, number: int) -> Path:
    """Return the folder of the files that a trial's command makes beside its checkpoints."""
    return outputs / f"trial-{number:04d}"


class TrialOutput:
    """Takes what this process prints until it is closed; nothing if the file can't be opened.

    With `continues` it is still the attempt that has printed there before.
    """

    def __init__(self, path: Path, *, continues: bool = False) -> None:
        self._path = path
        self._saved: list[int] = []
        with suppress(OSError):  # a trial must not fail for its prints
            path.parent.mkdir(exist_ok=True)
            with path.open("ab") as file:
                if file.tell() and not continues:
                    file.write(
                        time.strftime("--- another attempt, at %Y-%m-%d %H:%M:%S\n").encode()
                    )
                    file.flush()
                self._take(file)

    def limit(self) -> None:
        """Drop the beginning of what was printed if that is much."""
        with suppress(OSError):
            if self._path.stat().st_size > 2 * MAX_BYTES:
                _flush()
                self._shorten()

    def close(self) -> None:
        """Give the process its output back; a file in which nothing stands goes."""
        _flush()
        for stream, saved in zip(_STREAMS, self._saved, strict=False):
            os.dup2(saved, stream)
            os.close(saved)
        self._saved = []
        with suppress(OSError):
            if self._path.stat().st_size == 0:
                self._path.unlink()
            else:
                self._shorten()

    def _take(self, file: IO[bytes]) -> None:
        _flush()
        for stream in _STREAMS:
            self._saved.append(os.dup(stream))
            os.dup2(file.fileno(), stream)

    def _shorten(self) -> None:
        size = self._path.stat().st_size
        if size > MAX_BYTES:
            with self._path.open("r+b") as file:
                file.seek(-MAX_BYTES, os.SEEK_END)
                kept = file.read().partition(b"\n")[2]
                file.seek(0)
                file.write(f"--- {size - len(kept):,} bytes before this were dropped\n".encode())
                file.write(kept)
                file.truncate()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # user code may have closed it
            stream.flush()
