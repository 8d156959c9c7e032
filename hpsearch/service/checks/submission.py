"""A submitted spec on its way to the table: checked in bounds, users in turn."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.concurrency import run_in_threadpool

from hpsearch.errors import Problem, SpecError
from hpsearch.service.checks.child import MAX_PRINTED, PrintedTooMuchError, run_confined
from hpsearch.service.checks.worker import foreign_places
from hpsearch.service.confinement.workers import WorkerUser
from hpsearch.service.problems import ToldProblem
from hpsearch.service.slots import FairSlots
from hpsearch.spec import Draft, draft_spec, read_text

#: checks at once; each takes a process with torch
MAX_CHECKS = 4
#: of one user's that wait
MAX_WAITING = 8
TIMEOUT_S = 120.0
#: bytes of an answer: a resolved spec and all that is wrong with it
MAX_ANSWER = 2_000_000


class _Problem(BaseModel):
    model_config = ConfigDict(strict=True)
    path: str
    rule: str
    value: str | None
    text: str
    nearest: list[str]


class _Answer(BaseModel):
    """What the program that checks may say; users' code may have said it."""

    model_config = ConfigDict(strict=True)
    spec: dict[str, Any] | None
    problems: list[_Problem]


class Runner(Protocol):
    """Runs the program that checks where users' code may run."""

    async def run(self, request: bytes, timeout_s: float) -> bytes:
        """Return its answer; raises SpecError where there is none, TimeoutError."""
        ...


class LocalRunner:
    """Runs it on this machine, as the user that users' code runs as."""

    def __init__(self, user: WorkerUser, needs: tuple[Path, ...]) -> None:
        self._user = user
        self._needs = needs

    async def run(self, request: bytes, timeout_s: float) -> bytes:
        """See Runner."""
        try:
            ended = await run_confined(
                [sys.executable, "-m", "hpsearch.service.checks.worker"],
                request,
                self._user,
                [path for path in self._needs if path.exists()],
                max_answer=MAX_ANSWER,
                timeout_s=timeout_s,
            )
        except PrintedTooMuchError as error:
            rule = f"must print at most {MAX_PRINTED:,} bytes while it is checked"
            raise SpecError([Problem("spec", rule)]) from error
        if not ended.answer:
            raise no_result(f"exit status {ended.status}", ended.last_words)
        return ended.answer


class Checks:
    """Checks specs: users take turns, and none waits for another's code."""

    def __init__(
        self, reader: Runner, runner: Runner | None, data_folders: tuple[Path, ...] = ()
    ) -> None:
        """`reader` runs on this machine. With a `runner` elsewhere, what comes with files or names
        code is only read here, and then checked there."""
        self._reader = reader
        self._runner = runner
        self._data_folders = data_folders
        self._slots = FairSlots(MAX_CHECKS, MAX_WAITING, "submissions")

    async def check(
        self, user: str, text: str, folder: Path, has_upload: bool = True
    ) -> dict[str, Any]:
        """Return the resolved spec of a YAML text, as plain values, whose code lies in `folder`.

        Raises SpecError with every problem. Cancelled, it leaves nothing running.
        """
        draft = await run_in_threadpool(read_text, text, "spec", folder)
        async with self._slots.of(user):
            if self._runner is None or not (has_upload or _names_code(draft.raw)):
                return await self._ask(self._reader, draft, text, run=True)
            await self._ask(self._reader, draft, text, run=False)
            return await self._ask(self._runner, draft, text, run=True)

    async def _ask(self, runner: Runner, draft: Draft, text: str, run: bool) -> dict[str, Any]:
        request = {
            "text": text,
            "folder": str(draft.folder),
            "data_folders": list(map(str, self._data_folders)),
            "run": run,
        }
        line = json.dumps(request).encode("ascii") + b"\n"
        try:
            answer = await runner.run(line, TIMEOUT_S)
        except TimeoutError as error:
            rule = f"must be checked within {TIMEOUT_S:g} s, code and data included"
            raise SpecError([Problem("spec", rule)]) from error
        return await run_in_threadpool(_taken, answer, draft, self._data_folders, run)


def no_result(how: str, output: str = "") -> SpecError:
    """Return the error for a check that ended without a result, with the output's last line."""
    last = "".join(output.strip().splitlines()[-1:])[:500]
    rule = f"the check ended without a result ({how})"
    return SpecError([Problem("spec", f"{rule}: {last}" if last else rule)])


def _taken(
    answer: bytes, draft: Draft, data_folders: tuple[Path, ...], has_spec: bool
) -> dict[str, Any]:
    """Return the spec of an answer, which users' code may have forged: only what a spec may
    hold, and what was submitted."""
    try:
        told = _Answer.model_validate_json(answer)
    except ValidationError as error:
        raise no_result("its output is invalid") from error
    if told.problems:
        found = [problem.model_dump(exclude_none=True) for problem in told.problems]
        raise SpecError([ToldProblem(**each) for each in found])
    if not has_spec:
        return {}
    again = draft_spec(told.spec or {}, draft.folder)
    problems = [*again.problems, *foreign_places(again.raw, draft.folder, data_folders)]
    if problems or again.spec is None:
        raise SpecError(problems or [Problem("spec", "must be resolved by its check")])
    for name in ("name", "trainable"):
        if again.raw.get(name) != draft.raw.get(name):
            raise SpecError([Problem(name, "must stay as it was submitted", again.raw.get(name))])
    if draft.spec is not None and again.spec.command != draft.spec.command:
        raise SpecError([Problem("command", "must stay as it was submitted")])
    resolved = again.spec.to_dict()
    read_text(again.spec.to_yaml(), "spec", draft.folder)  # as the table will hold it
    return resolved


def _names_code(raw: Any) -> bool:
    """Whether a spec may name code anywhere: `module:factory`."""
    if isinstance(raw, Mapping):
        return "command" in raw or any(map(_names_code, raw.values()))
    return any(map(_names_code, raw)) if isinstance(raw, list) else ":" in str(raw)
