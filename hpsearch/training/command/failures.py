"""Why a command ended as it did, from its exit code and what it printed last."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence

from hpsearch.errors import TrialError
from hpsearch.outcome import RaisedError

_FRAME = re.compile(r'\s*File "(?P<file>.+)", line (?P<line>\d+), in (?P<function>.+)')
_ERROR = re.compile(
    r"(?P<type>[A-Za-z_][\w.]*(?:Error|Exception|Exit|Interrupt|Warning)?): ?(?P<message>.*)"
)
_OUT_OF_MEMORY = re.compile(
    r"OutOfMemoryError|CUDA out of memory|\bMemoryError\b|can't allocate memory"
)
#: what torchrun says of a rank that was killed
_KILLED_RANK = re.compile(r"Signal (9|15) \(SIG\w+\) received by PID")
#: lines of standard error in a message
SHOWN_LINES = 20


class CommandError(TrialError):
    """Raised where a trial's command failed; `raised` says how, `tail` is what it printed last."""

    def __init__(self, raised: RaisedError, tail: str) -> None:
        super().__init__(str(raised))
        self.raised = raised
        self.tail = tail


class LostProcessError(TrialError):
    """Raised where a trial's command was killed by another, or by the system."""


def failure(exit_code: int, errors: Sequence[str]) -> Exception:
    """Return the error that ends a trial whose command has failed."""
    tail = "\n".join(errors[-SHOWN_LINES:])
    if exit_code in (-signal.SIGKILL, -signal.SIGTERM) or _KILLED_RANK.search(tail):
        how = signal.Signals(-exit_code).name if exit_code < 0 else "a signal to one of its ranks"
        return LostProcessError(f"the command was killed by {how}")
    if _OUT_OF_MEMORY.search(tail):
        return MemoryError(next(line for line in reversed(errors) if _OUT_OF_MEMORY.search(line)))
    return CommandError(raised(exit_code, errors), tail)


def raised(exit_code: int, errors: Sequence[str]) -> RaisedError:
    """Return the exception of a Python traceback in standard error, or the exit code."""
    for i in range(len(errors) - 1, -1, -1):
        if errors[i].startswith("Traceback (most recent call last)"):
            if found := _from_traceback(errors[i + 1 :]):
                return found
            break
    how = f"exit code {exit_code}" if exit_code >= 0 else signal.Signals(-exit_code).name
    return RaisedError(how, errors[-1].strip() if errors else "it printed no error")


def _from_traceback(lines: Sequence[str]) -> RaisedError | None:
    frames = [match for line in lines if (match := _FRAME.fullmatch(line))]
    for line in lines:
        if not line.startswith(" ") and (match := _ERROR.match(line)):
            last = frames[-1] if frames else None
            return RaisedError(
                match["type"],
                match["message"],
                last["file"] if last else None,
                int(last["line"]) if last else None,
                last["function"] if last else None,
            )
    return None
