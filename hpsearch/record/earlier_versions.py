"""Records of version 0.1: sentences as the facts in them, and a section by its name of today."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hpsearch.outcome import CheckWarning, RaisedError, StoppedBy

_STOPPED = re.compile(r"(asha|asha_promotion|hyperband|median) at epoch (\d{1,10})")
_FRAME = re.compile(r'^  File "(.*)", line (\d{1,10})(?:, in (.*))?$', re.MULTILINE)
#: the section of max_norm and its like, then and now
_PROJECTIONS, _WEIGHT_CONSTRAINTS = "constraints", "weight_constraints"


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


def spec(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return a spec whose section `constraints` doesn't hold projections of weights.

    >>> spec({"name": "a", "constraints": [{"name": "unit_norm"}]})
    {'name': 'a', 'weight_constraints': [{'name': 'unit_norm'}]}
    """
    return _renamed(raw) if _holds_projections(raw.get(_PROJECTIONS)) else dict(raw)


def sections(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the resolved sections of a trial by their names of today."""
    return _renamed(values)


def params(found: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hyperparameters of a trial, or of one to try, with these sections by their names
    of today; those of a user's own code, whose section is `space`, may have any name.

    >>> params({"constraints.0.c": 1.0}, {"constraints": []})
    {'weight_constraints.0.c': 1.0}
    """
    return dict(found) if "space" in values else _renamed(found)


def _renamed(values: Mapping[str, Any]) -> dict[str, Any]:
    def today(name: str) -> str:
        section, dot, rest = name.partition(".")
        return f"{_WEIGHT_CONSTRAINTS}{dot}{rest}" if section == _PROJECTIONS else name

    return {today(name): value for name, value in values.items()}


def _holds_projections(section: object) -> bool:
    entries = section if isinstance(section, list | tuple) else [section] if section else []
    return any(not (isinstance(each, Mapping) and "metric" in each) for each in entries)
