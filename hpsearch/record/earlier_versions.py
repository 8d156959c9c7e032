"""Records of version 0.1, which kept sentences: the facts in them."""

from __future__ import annotations

import re

from hpsearch.outcome import CheckWarning, RaisedError, StoppedBy

_STOPPED = re.compile(r"(asha|asha_promotion|hyperband|median) at epoch (\d{1,10})")
_FRAME = re.compile(r'^  File "(.*)", line (\d{1,10})(?:, in (.*))?$', re.MULTILINE)


def stopped_by(reason: str | None) -> StoppedBy | None:
    """Return the rule that stopped a trial; None where a budget of the search did.

    >>> stopped_by("asha at epoch 3"), stopped_by("time_limit of 5 s reached")
    (StoppedBy(rule='asha', rung=3, numbers={}), None)
    """
    found = _STOPPED.fullmatch(reason or "")
    return StoppedBy(found[1], int(found[2])) if found else None


def error(reason: str | None, traceback: str | None) -> RaisedError:
    """Return the exception that a trial failed with.

    >>> error("OSError: away", 'Traceback:\\n  File "a.py", line 3, in f\\n    g()\\n')
    RaisedError(type='OSError', message='away', file='a.py', line=3, function='f')
    """
    kind, _, message = (reason or "").partition(": ")
    frames = _FRAME.findall(traceback or "")
    if not frames:
        return RaisedError(kind, message)
    file, line, function = frames[-1]
    return RaisedError(kind, message, file, int(line), function or None)


def warning(text: str) -> CheckWarning:
    """Return what a check found.

    >>> warning("leakage: warning: 3 rows")
    CheckWarning(check='leakage', message='3 rows', severity='warning')
    """
    check, _, message = text.partition(": warning: ")
    return CheckWarning(check, message)
