"""Numbers, durations, sizes and outcomes as people read them, in terminals, reports and pages."""

from __future__ import annotations

import time

from hpsearch.outcome import Outcome

_UNITS = ("B", "kB", "MB", "GB", "TB")


def show(value: object) -> str:
    """Return a value as text, a real number to four digits.

    >>> show(0.000123456), show(64), show(None), show(0.98765)
    ('0.0001235', '64', 'none', '0.9877')
    """
    if isinstance(value, float):
        return f"{value:.4g}"
    return "none" if value is None else str(value)


def show_count(number: float, noun: str, plural: str = "") -> str:
    """Write a number of things.

    >>> show_count(1, "epoch"), show_count(0.5, "GPU"), show_count(12_000, "search", "searches")
    ('1 epoch', '0.5 GPUs', '12,000 searches')
    """
    count = f"{number:,}" if isinstance(number, int) else show(number)
    return f"{count} {noun if number == 1 else plural or f'{noun}s'}"


def show_seconds(seconds: float) -> str:
    """Return a duration in its two largest units.

    >>> show_seconds(0.25), show_seconds(7), show_seconds(75), show_seconds(7260)
    ('0.2 s', '7 s', '1 min 15 s', '2 h 1 min')
    >>> show_seconds(129_600)
    '1 d 12 h'
    """
    if round(seconds) < 60:
        return f"{round(seconds, 1) if seconds < 10 else round(seconds):g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours = minutes // 60
    return f"{hours} h {minutes % 60} min" if hours < 24 else f"{hours // 24} d {hours % 24} h"


def show_bytes(num_bytes: float) -> str:
    """Return a size in the decimal unit that suits it, as a spec's sizes are written.

    >>> show_bytes(0), show_bytes(999), show_bytes(1_460_000), show_bytes(64_000_000_000)
    ('0 B', '999 B', '1.46 MB', '64 GB')
    """
    power = 0
    while num_bytes >= 999.5 and power < len(_UNITS) - 1:
        num_bytes, power = num_bytes / 1000, power + 1
    return f"{num_bytes:.3g} {_UNITS[power]}"


def show_error(error: BaseException) -> str:
    """Return an error's type and the first line of its message.

    >>> show_error(ValueError("no\\nmore"))
    'ValueError: no'
    """
    return f"{type(error).__name__}: {error}".strip().partition("\n")[0]


def show_outcome(outcome: Outcome | None) -> str:
    """Return how a trial ended; None is that of a running trial.

    >>> show_outcome(Outcome.STOPPED_EARLY), show_outcome(None)
    ('stopped early', 'running')
    """
    return "running" if outcome is None else outcome.replace("_", " ")


def show_time(moment: float) -> str:
    """Return a moment, in seconds since 1970, as a date and a time in UTC.

    >>> show_time(0.0)
    '1970-01-01 00:00:00 UTC'
    """
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(moment))
