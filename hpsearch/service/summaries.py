"""What the table keeps of a record: users' code writes records, so each field is checked.

A field that isn't what it must be is None, and shown as unknown; nothing is guessed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

MAX_TEXT = 250
MAX_REASON = 2000
MAX_COUNT = 10**9
MAX_SECONDS = 1e12
#: what no browser and no terminal may be told, and what UTF-8 can't hold
_UNFIT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_STATES = ("running", "finished", "stopped", "failed")
_DIRECTIONS = ("maximize", "minimize")


def clean_text(text: str, limit: int | None = None) -> str:
    """Return a text without control characters but tabs and line breaks; a longer one is cut.

    >>> clean_text("no \\x1b[2Jescape, no \\ud800 half")
    'no �[2Jescape, no � half'
    """
    if limit is not None and len(text) > limit:
        text = f"{text[: limit - 1]}…"
    return _UNFIT.sub("\ufffd", text)


def checked_summary(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a summary that lists show; what isn't of its kind is None."""
    return {name: check(told.get(name)) for name, check in _FIELDS.items()}


def finite(value: object) -> float | None:
    """Return a number as a float that JSON can hold, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _seconds(value: object) -> float | None:
    number = finite(value)
    return number if number is not None and 0 <= number <= MAX_SECONDS else None


def _count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= MAX_COUNT else None


def _text(value: object) -> str | None:
    return clean_text(value, MAX_TEXT) if isinstance(value, str) else None


def _one_of(*choices: str) -> Callable[[object], str | None]:
    return lambda value: value if isinstance(value, str) and value in choices else None


_FIELDS: dict[str, Callable[[object], Any]] = {
    "state": _one_of(*_STATES),
    "metric": _text,
    "direction": _one_of(*_DIRECTIONS),
    "best_value": finite,
    "best_trial": _count,
    "pareto_front": _count,
    "leader_value": finite,
    "leader_trial": _count,
    "leader_epochs": _count,
    "trials": _count,
    "extra": _count,
    "ended": _count,
    "running": _count,
    "waiting": _count,
    "waiting_for": _text,
    "completed": _count,
    "stopped_early": _count,
    "failed": _count,
    "cancelled": _count,
    "stopped_by_user": _count,
    "paused_by": _text,
    "epochs": _count,
    "epochs_saved": _count,
    "seconds": _seconds,
    "seconds_saved": _seconds,
    "gpu_seconds": _seconds,
    "gpu_seconds_reported": _seconds,
    "gpu_seconds_saved": _seconds,
    "warning": _text,
}
