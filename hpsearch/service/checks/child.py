"""A program of users' code on this machine: confined, bounded, and ended with all it started."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from starlette.concurrency import run_in_threadpool

from hpsearch.service.confinement.workers import WorkerUser, supervised
from hpsearch.service.settings import plain_environment
from hpsearch.untrusted_files import remove_below

#: of what a program says on standard error: what is kept, and what is too much
MAX_ERROR = 20_000
MAX_PRINTED = 20_000_000
_CHUNK = 1 << 16


class PrintedTooMuchError(Exception):
    """Raised where a program says more than it may."""


@dataclass(frozen=True)
class Ended:
    """How a program ended: its status, what it answered, and the last that it said."""

    status: int
    answer: bytes
    last_words: str


async def run_confined(
    command: Sequence[str],
    request: bytes,
    user: WorkerUser,
    needs: Iterable[Path] = (),
    *,
    max_answer: int,
    timeout_s: float,
) -> Ended:
    """Run a program in an empty folder, and return its answer, of so many bytes at most.

    It gets the request on standard input, nothing of the service's environment, and is killed
    with all that it started at its end, at the timeout (TimeoutError), where it says too much
    (PrintedTooMuchError), or when this is cancelled.
    """
    async with _empty_folder(user) as folder:
        confined = user.command(command, [folder, *needs], limited=True)
        # Closed here, by whatever ends this, it ends the program.
        wanted, keep = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *supervised(confined, wanted),
                cwd=folder,
                env=plain_environment() | {"HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=[wanted],
            )
        finally:
            os.close(wanted)
        try:
            async with asyncio.timeout(timeout_s):
                answer, error = await _talk(process, request, max_answer)
                status = await process.wait()
        except* PrintedTooMuchError:
            raise PrintedTooMuchError from None
        finally:
            os.close(keep)
            await asyncio.shield(_wait(process))
        return Ended(status, answer, error.decode(errors="replace").strip())


@asynccontextmanager
async def _empty_folder(user: WorkerUser) -> AsyncIterator[Path]:
    """Yield a folder of the user's; what is in it at the end, any number of files, goes."""
    folder = Path(tempfile.mkdtemp(prefix="hpsearch-check-"))
    try:
        user.give(folder)
        yield folder
    finally:
        await asyncio.shield(run_in_threadpool(_remove, folder))


def _remove(folder: Path) -> None:
    with suppress(OSError):  # another process of the user's may write there, of another search
        remove_below(folder.parent, folder.name)


async def _talk(
    process: asyncio.subprocess.Process, request: bytes, max_answer: int
) -> tuple[bytes, bytes]:
    assert process.stdin and process.stdout and process.stderr
    async with asyncio.TaskGroup() as group:
        answer = group.create_task(_read(process.stdout, max_answer, max_answer))
        error = group.create_task(_read(process.stderr, MAX_ERROR, MAX_PRINTED))
        group.create_task(_send(process.stdin, request))
    return answer.result(), error.result()


async def _wait(process: asyncio.subprocess.Process) -> None:
    """Wait for the end of a process; asyncio does so only once all that it said was read."""
    for stream in (process.stdout, process.stderr):
        while stream is not None and await stream.read(_CHUNK):
            pass
    await process.wait()


async def _send(stream: asyncio.StreamWriter, request: bytes) -> None:
    try:
        stream.write(request)
        await stream.drain()
        stream.close()
    except (BrokenPipeError, ConnectionResetError):  # it ended without it
        return


async def _read(stream: asyncio.StreamReader, num_kept: int, limit: int) -> bytes:
    """Return the last bytes of a stream, to its end."""
    kept, total = b"", 0
    while chunk := await stream.read(_CHUNK):
        total += len(chunk)
        if total > limit:
            raise PrintedTooMuchError
        kept = (kept + chunk)[-num_kept:]
    return kept
