"""The check of a spec as a job on the cluster, where users' code runs anyway."""

from __future__ import annotations

import asyncio
import shlex
import uuid
from contextlib import suppress
from pathlib import Path

from starlette.concurrency import run_in_threadpool

from hpsearch.errors import ClusterError, UnsafeFileError
from hpsearch.service.checks.submission import MAX_ANSWER, no_result
from hpsearch.service.jobs import Jobs, JobState
from hpsearch.untrusted_files import open_regular, read_end, remove_below

POLL_S = 0.5
#: how long a check that is stopped may take before Ray kills it
STOP_WAIT_S = 1.0
_REQUEST, _ANSWER, _OUTPUT = "request", "answer", "output"
_LAST_WORDS = 2_000


class ClusterRunner:
    """Runs the program that checks as a job; request and answer are files that all nodes share."""

    def __init__(self, jobs: Jobs, folder: Path, python: str) -> None:
        self._jobs = jobs
        self._folder = folder
        self._python = python

    async def run(self, request: bytes, timeout_s: float) -> bytes:
        """See Runner; raises ClusterError where the cluster can't be reached."""
        name = uuid.uuid4().hex
        job = f"hpsearch-check-{name}"
        place = await run_in_threadpool(self._make_place, name, request)
        try:
            async with asyncio.timeout(timeout_s):
                command = self._command(place)
                await run_in_threadpool(self._jobs.submit, job, command, {}, {}, STOP_WAIT_S)
                while (await run_in_threadpool(self._jobs.look, job)).state is JobState.ALIVE:
                    await asyncio.sleep(POLL_S)
            return await run_in_threadpool(self._answer, name)
        finally:
            await asyncio.shield(run_in_threadpool(self._end, job, name))

    def _make_place(self, name: str, request: bytes) -> Path:
        # The cluster's user may be another; nobody else can guess the name.
        self._folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        place = self._folder / name
        place.mkdir()
        place.chmod(0o777)
        (place / _REQUEST).write_bytes(request)
        return place

    def _command(self, place: Path) -> str:
        program = shlex.join([self._python, "-m", "hpsearch.service.checks.worker"])
        request, answer, output = (
            shlex.quote(str(place / name)) for name in (_REQUEST, _ANSWER, _OUTPUT)
        )
        return f"cd {shlex.quote(str(place))} && exec {program} < {request} > {answer} 2> {output}"

    def _answer(self, name: str) -> bytes:
        try:
            with open_regular(self._folder, name, _ANSWER) as file:
                answer = file.read(MAX_ANSWER + 1)
            if answer:
                return answer
            said, _ = read_end(self._folder, name, _OUTPUT, num_bytes=_LAST_WORDS)
        except (FileNotFoundError, UnsafeFileError) as error:
            raise no_result("its output is missing") from error
        raise no_result("its output is empty", said.decode(errors="replace"))

    def _end(self, job: str, name: str) -> None:
        with suppress(ClusterError):
            self._jobs.stop(job)
        with suppress(OSError):
            remove_below(self._folder, name)
