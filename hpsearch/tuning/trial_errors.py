"""What a worker makes of the errors of its trials."""

from __future__ import annotations

import traceback

import torch

from hpsearch.errors import (
    BadConfigurationError,
    DivergedError,
    HpsearchError,
    ScriptChangedError,
    UserCodeError,
)
from hpsearch.formatting import show_bytes
from hpsearch.importing import exit_reason, is_users_file
from hpsearch.outcome import Outcome, RaisedError
from hpsearch.training.command import CommandError
from hpsearch.tuning.report import Report


class UsedWorkerError(Exception):
    """Raised where a trial needs a worker in which no other has trained."""


def report_error(epoch: int, error: Exception | SystemExit) -> Report:
    """Sort an exception into the outcomes of a trial (DESIGN, outcome table)."""
    if isinstance(error, SystemExit):
        error = UserCodeError(exit_reason(error)).with_traceback(error.__traceback__)
    if isinstance(error, DivergedError):
        return Report(epoch, outcome=Outcome.DIVERGED, reason=str(error))
    if isinstance(error, BadConfigurationError):
        return Report(epoch, outcome=Outcome.BAD_CONFIGURATION, reason=str(error))
    if _is_out_of_memory(error):
        reason = str(error).partition("\n")[0]
        return Report(epoch, outcome=Outcome.OUT_OF_MEMORY, reason=_device_memory() + reason)
    if isinstance(error, CommandError):
        return Report(epoch, outcome=Outcome.FAILED, error=error.raised, traceback=error.tail)
    return Report(
        epoch,
        outcome=Outcome.FAILED,
        error=_raised(error),
        traceback=shown_traceback(error),
        ends_search=isinstance(error, ScriptChangedError),
    )


def shown_traceback(error: BaseException) -> str:
    """Return a traceback from the user's own code on; without frames where ours says it all."""
    return "".join(_from_user_code(traceback.TracebackException.from_exception(error)).format())


def _from_user_code(shown: traceback.TracebackException) -> traceback.TracebackException:
    for earlier in (shown.__cause__, shown.__context__):
        if earlier is not None:
            _from_user_code(earlier)
    users = [frame for frame in shown.stack if is_users_file(frame.filename)]
    if users:
        del shown.stack[: shown.stack.index(users[0])]
    elif shown.exc_type is not None and issubclass(shown.exc_type, HpsearchError):
        shown.stack.clear()
    return shown


def _raised(error: Exception) -> RaisedError:
    """Return an exception's type, message and the line that raised it, as plain values."""
    kind, message = type(error).__name__, str(error)
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return RaisedError(kind, message)
    last = frames[-1]
    return RaisedError(kind, message, last.filename, last.lineno, last.name)


def _device_memory() -> str:
    if not torch.cuda.is_available():
        return ""
    total = torch.cuda.get_device_properties(0).total_memory
    return f"needs more than {show_bytes(total)} of GPU memory: "


def _is_out_of_memory(error: Exception) -> bool:
    # torch's CPU allocator raises a plain RuntimeError
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )
