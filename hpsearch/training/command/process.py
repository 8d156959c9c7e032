"""A trial's command as it runs: its supervisor, its output, and how it ended."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

from hpsearch.training.command import supervisor
from hpsearch.training.command.failures import CommandEnd

#: lines of standard error that are kept to say why a command failed
TAIL_LINES = 300
#: characters of a line of output that are looked at
MAX_LINE = 100_000
_CHUNK = 1 << 16
Stream = Literal["stdout", "stderr"]


class CommandProcess:
    """Runs a command with all that it starts; its output is copied to two descriptors."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        grace: float,
        selector: selectors.BaseSelector,
        copy_to: tuple[int, int] = (1, 2),
    ) -> None:
        self._selector = selector
        self._grace = grace
        read_end, write_end = os.pipe()
        # -I -S: the supervisor starts in milliseconds, and no variable of the user's changes it
        program = [sys.executable, "-I", "-S", supervisor.__file__, str(write_end), str(grace)]
        self._supervisor = subprocess.Popen(
            [*program, *command],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(write_end,),
            start_new_session=True,
        )
        os.close(write_end)
        self._status = os.fdopen(read_end, "rb")
        #: lines of its output that were not taken yet, and the last ones of standard error
        self.lines: list[Line] = []
        self.errors: deque[str] = deque(maxlen=TAIL_LINES)
        self.end = CommandEnd()
        self._readers = [
            _Lines(self._stream("stdout"), copy_to[0], self._keep_output),
            _Lines(self._stream("stderr"), copy_to[1], self._keep_error),
        ]
        for reader in self._readers:
            os.set_blocking(reader.file.fileno(), False)
            selector.register(reader.file, selectors.EVENT_READ, partial(self._read, reader))
        selector.register(self._status, selectors.EVENT_READ, self._end)
        self.has_ended = False

    def take_lines(self) -> list[Line]:
        """Return the lines of output that are new."""
        taken = self.lines[:]
        self.lines.clear()
        return taken

    def stop(self) -> None:
        """End the command and all that it started; returns when that is done."""
        self.ask_to_end()
        while not self.has_ended:
            for key, _ in self._selector.select():
                key.data()
        for file in (*self._files, self._status):
            file.close()

    def ask_to_end(self) -> None:
        """Begin to end the command; another thread may wait for its end."""
        with suppress(BrokenPipeError):
            self._stream("stdin").close()

    @property
    def _files(self) -> list[IO[bytes]]:
        return [reader.file for reader in self._readers]

    def _stream(self, name: str) -> IO[bytes]:
        stream: IO[bytes] = getattr(self._supervisor, name)
        return stream

    def _keep_output(self, text: str) -> None:
        self.lines.append(Line(text, "stdout"))

    def _keep_error(self, text: str) -> None:
        self.lines.append(Line(text, "stderr"))
        self.errors.append(text)

    def _read(self, reader: _Lines) -> None:
        if not self.has_ended and not reader.read():
            self._selector.unregister(reader.file)

    def _end(self) -> None:
        """Take the supervisor's last words: the tree has ended."""
        line = self._status.readline()
        status: dict[str, Any] = json.loads(line) if line else {}
        self.has_ended = True
        self._supervisor.wait()
        for reader in self._readers:
            reader.drain()
        for file in (*self._files, self._status):
            with suppress(KeyError):  # at its end of file already
                self._selector.unregister(file)
        self.end = CommandEnd(
            status.get("exit_code"),
            tuple(self.errors),
            status.get("error"),
            None if status else "the supervisor of the command was killed",
        )


class Line(NamedTuple):
    """A line that a command printed."""

    text: str
    stream: Stream


class _Lines:
    """Copies a pipe to a descriptor of this process and splits it into lines."""

    def __init__(self, file: IO[bytes], copy_to: int, take: Callable[[str], None]) -> None:
        self.file = file
        self._copy_to = copy_to
        self._take = take
        self._rest = b""

    def read(self) -> bool:
        """Read a chunk of a pipe that is readable; returns False at its end."""
        chunk = os.read(self.file.fileno(), _CHUNK)
        _write(self._copy_to, chunk)
        # progress bars end their lines by \r
        *lines, self._rest = (self._rest + chunk).replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            self._keep(line)
        self._rest = self._rest[-MAX_LINE:]
        return bool(chunk)

    def drain(self) -> None:
        """Read the rest, once nothing writes to the pipe any more."""
        with suppress(BlockingIOError):
            while self.read():
                pass
        self._keep(self._rest)

    def _keep(self, line: bytes) -> None:
        if line.strip():
            self._take(line[:MAX_LINE].decode(errors="replace"))


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
