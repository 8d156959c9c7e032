"""Why a command ended as it did, from its exit code and what it printed last."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from hpsearch.errors import TrialError, UserCodeError
from hpsearch.outcome import RaisedError

_FRAME = re.compile(r'\s*File "(?P<file>.+)", line (?P<line>\d+), in (?P<function>.+)')
#: the line below the frames of a traceback
_ERROR = re.compile(r"(?P<type>[A-Za-z_][\w.]*)(?:: (?P<message>.*))?")
_OUT_OF_MEMORY = re.compile(
    r"OutOfMemoryError|CUDA out of memory|\bMemoryError\b|can't allocate memory"
)
#: what torch puts before the lines of a rank
_RANK = re.compile(r"^\[rank\d+\]: ?")
#: errors of launchers, which only say that a process has failed
_OF_LAUNCHERS = ("ChildFailedError", "CalledProcessError", "SignalException")
#: what torchrun says of the rank that failed first, and of one that was killed
_ROOT_CAUSE = "Root Cause (first observed failure)"
_KILLED_RANK = re.compile(r"Signal (9|15) \(SIG\w+\) received by PID")
#: what torch raises on a rank whose peers have gone
_LOST_PEER = re.compile(
    r"Connection (closed|reset|refused)|Broken pipe|[Tt]imed out|NCCL"
    r"|Dist(Backend|Network|Store)Error"
)
#: lines of standard error in a message
SHOWN_LINES = 40


class CommandError(TrialError):
    """Raised where a trial's command failed; `raised` says how, `tail` is what it printed last."""

    def __init__(self, raised: RaisedError, tail: str) -> None:
        super().__init__(str(raised))
        self.raised = raised
        self.tail = tail


class LostProcessError(TrialError):
    """Raised where a trial's command was killed by another, or by the system."""


@dataclass(frozen=True)
class CommandEnd:
    """How a command ended; without an exit code it was stopped, could not start, or was lost."""

    exit_code: int | None = None
    errors: tuple[str, ...] = ()  # its last lines of standard error
    start_error: str | None = None
    lost: str | None = None  # how it was lost

    @property
    def error(self) -> Exception | None:
        """What ends its trial, if it failed."""
        if self.lost is not None:
            return LostProcessError(self.lost)
        if self.start_error is not None:
            return UserCodeError(f"the command can't be run: {self.start_error}")
        return failure(self.exit_code, self.errors) if self.exit_code else None


def is_consequence(error: Exception) -> bool:
    """Whether a rank failed because another was gone."""
    return isinstance(error, CommandError) and bool(_LOST_PEER.search(str(error)))


def first_cause(errors: Sequence[Exception]) -> Exception:
    """Return the error, of those that several nodes ended by, that made the others.

    Where each only lost its connection to another, a rank or a node was lost.
    """
    causes = [error for error in errors if not is_consequence(error)]
    lost = [error for error in causes if isinstance(error, LostProcessError)]
    if found := [*lost, *causes]:
        return found[0]
    return LostProcessError(f"the ranks lost their connection: {errors[0]}")


def failure(exit_code: int, errors: Sequence[str]) -> Exception:
    """Return the error that ends a trial whose command has failed."""
    end = "\n".join(errors[-SHOWN_LINES:])
    # torchrun ends the other ranks too, and they fail by what the first one did
    cause = end.rpartition(_ROOT_CAUSE)[2] if _ROOT_CAUSE in end else ""
    lines = _lines_of_rank(errors, cause)
    if _is_kill(exit_code) or _KILLED_RANK.search(cause):
        how = "a signal to one of its ranks" if cause else _named(exit_code)
        return LostProcessError(f"the command was killed: {how}")
    raised = _last_raised(lines)
    if raised is not None:
        start, error = raised
        if _OUT_OF_MEMORY.search(str(error)):
            return MemoryError(str(error))
        return CommandError(error, "\n".join(lines[start:][:SHOWN_LINES]))
    if out_of_memory := next((each for each in errors if _OUT_OF_MEMORY.search(each)), None):
        return MemoryError(out_of_memory)
    how = _named(exit_code)
    last = lines[-1].strip() if lines else "it printed no error"
    return CommandError(RaisedError(how, last), end)


def _is_kill(exit_code: int) -> bool:
    """Whether a command, or what a shell ran as one, was killed by another."""
    kills = (signal.SIGKILL, signal.SIGTERM)
    return any(exit_code in (-number, 128 + number) for number in kills)


def _named(exit_code: int) -> str:
    if exit_code >= 0:
        return f"exit code {exit_code}"
    with suppress(ValueError):  # a real-time signal has no name
        return signal.Signals(-exit_code).name
    return f"signal {-exit_code}"


def _lines_of_rank(errors: Sequence[str], cause: str) -> Sequence[str]:
    """Return the lines of the rank that failed first, if they are marked; else all."""
    rank = re.search(r"rank +: (\d+)", cause)
    prefix = f"[rank{rank[1]}]" if rank else "[rank"
    marked = [line for line in errors if line.startswith(prefix)]
    return [_RANK.sub("", line) for line in marked or errors]


def _last_raised(lines: Sequence[str]) -> tuple[int, RaisedError] | None:
    """Return the last exception of Python's, and the line where its traceback begins."""
    for i in range(len(lines) - 1, -1, -1):
        if lines[i].startswith("Traceback (most recent call last)"):
            found = _from_traceback(lines[i + 1 :])
            if found is not None and found.type.rpartition(".")[2] not in _OF_LAUNCHERS:
                return i, found
    return None


def _from_traceback(lines: Sequence[str]) -> RaisedError | None:
    frames = [match for line in lines if (match := _FRAME.fullmatch(line))]
    for line in lines:
        if not line.startswith(" ") and (match := _ERROR.fullmatch(line)):
            last = frames[-1] if frames else None
            return RaisedError(
                match["type"],
                match["message"] or "",
                last["file"] if last else None,
                int(last["line"]) if last else None,
                last["function"] if last else None,
            )
    return None
