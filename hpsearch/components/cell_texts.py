"""Texts of a table's cells as numbers and dates, and what texts look like that are neither.

All of it works on the different texts of a column, of which there are fewer than rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pandas import Series, Timestamp

Texts = Sequence[str]
Numbers = NDArray[np.float64]
#: texts that stand for a missing value in a column of numbers or dates, in any case
MISSING = frozenset({"na", "n/a", "#n/a", "<na>", "nan", "-nan", "null", "none"})
_MICROSECONDS_A_DAY = 24 * 3600 * 10**6
#: spaces that don't break, as separators of thousands
_PLAIN_SPACES = dict.fromkeys(map(ord, "\u00a0\u202f"), " ")
_DECIMALS, _THOUSANDS = (".", ","), (None, ",", ".", " ", "'")
_ISO_DATE = re.compile(r"\d{4}-\d\d(-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?)?")
_DATE_FORMATS = tuple(
    f"{day}{time}"
    for day in (
        "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d-%m-%Y", "%m-%d-%Y", "%Y.%m.%d",
        "%d.%m.%y", "%d/%m/%y", "%m/%d/%y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y",
        "%d-%b-%Y", "%d-%b-%y",
    )
    for time in ("", " %H:%M", " %H:%M:%S")
)  # fmt: skip


def is_missing(text: str) -> bool:
    """Whether a text stands for no value where the others are numbers or dates."""
    return text.lower() in MISSING


def as_numbers(texts: Texts, decimal: str, thousands: str | None) -> Numbers | None:
    """Return texts as numbers, missing ones as NaN; None unless all others are numbers."""
    matches = _number_pattern(decimal, thousands).fullmatch
    numbers = np.empty(len(texts))
    has_number = False
    for index, text in enumerate(texts):
        plain = text.translate(_PLAIN_SPACES)
        if matches(plain):
            numbers[index], has_number = _number(plain, decimal, thousands), True
        elif is_missing(text):
            numbers[index] = np.nan
        else:
            return None
    return numbers if has_number else None


def as_dates(texts: Texts, date_format: str | None = None) -> Numbers | None:
    """Return dates as days since 1970, missing ones as NaN; None unless all others are dates.

    Without a format they are ISO 8601.
    """
    import pandas

    present = [text for text in texts if not is_missing(text)]
    if not present:
        return None
    if date_format is None and not all(map(_ISO_DATE.fullmatch, present)):
        return None
    form = date_format or "ISO8601"
    try:
        dates = pandas.to_datetime(pandas.Series(present), format=form, utc=True, errors="coerce")
    except ValueError:  # what is no format, or dates beyond what is kept
        return None
    if dates.isna().any():
        return None
    days = days_since_1970(dates)
    values = iter(days)
    return np.array([np.nan if is_missing(text) else next(values) for text in texts])


def days_since_1970(dates: Series[Timestamp]) -> Numbers:
    """Return times in UTC as days, missing ones as NaN."""
    times = dates.dt.tz_convert(None).to_numpy().astype("datetime64[us]")
    days = times.astype(np.int64) / _MICROSECONDS_A_DAY
    return np.where(np.isnat(times), np.nan, days)


def likeness(texts: Texts, column: str, decimal: str, thousands: str | None) -> str:
    """Return what texts look like, and by which settings they are read; empty if like nothing."""
    present = [text for text in texts if not is_missing(text)]
    if settings := list(_number_settings(present, decimal, thousands)):
        return f"looks like numbers, such as {present[0]!r}: {' or '.join(settings)} reads them"
    if formats := _date_formats(present):
        told = " or ".join(f"'{form}'" for form in formats[:3])
        example = f"looks like dates, such as {present[0]!r}"
        return f"{example}: dataset.dates: {{{column}: FORMAT}} with {told} reads them"
    pattern = _number_pattern(decimal, thousands)
    others = [text for text in present if not pattern.fullmatch(text)]
    if not present or 2 * len(others) >= len(present):
        return ""
    told = ", ".join(map(repr, others[:3]))
    return f"has numbers, but texts too, such as {told}: dataset.na_values: [{told}] " + (
        "takes them for missing"
    )


def _date_formats(texts: Texts) -> list[str]:
    """Return the formats that read all texts; words are spared the many attempts."""
    if not all(any(map(str.isdigit, text)) for text in texts):
        return []
    return [form for form in _DATE_FORMATS if as_dates(texts, form) is not None]


def unit(texts: Texts) -> str:
    """Return what stands around the number in every text, such as `%` or `kg`; empty if nothing.

    >>> unit(["5 kg", "12.5 kg"]), unit(["red", "5 kg"])
    ('kg', '')
    """
    rests = {re.sub(r"\d[\d.,' ]*", "", text).strip() for text in texts}
    form = re.compile(r"[^\w\s]{0,2}\s*\d[\d.,' ]*\s*[^\s\d]{0,5}")
    return rests.pop() if len(rests) == 1 and all(map(form.fullmatch, texts)) else ""


def _number_settings(texts: Texts, decimal: str, thousands: str | None) -> Iterator[str]:
    """Yield the settings that read all texts as numbers, other than those that are set."""
    for point, separator in product(_DECIMALS, _THOUSANDS):
        is_new_point = point != decimal
        if point == separator or as_numbers(texts, point, separator) is None:
            continue
        if is_new_point and not any(point in text for text in texts):
            continue
        if separator is not None and as_numbers(texts, point, None) is not None:
            continue  # it isn't needed
        told = [f"dataset.decimal: '{point}'"] if is_new_point else []
        told += [f'dataset.thousands: "{separator}"'] if separator not in (None, thousands) else []
        if told:
            yield " with ".join(told)


def _number_pattern(decimal: str, thousands: str | None) -> re.Pattern[str]:
    point = re.escape(decimal)
    whole = r"\d+"
    if thousands is not None:
        whole = rf"(?:\d{{1,3}}(?:{re.escape(thousands)}\d{{3}})+|\d+)"
    return re.compile(rf"[+-]?(?:{whole}(?:{point}\d*)?|{point}\d+)(?:[eE][+-]?\d+)?")


def _number(text: str, decimal: str, thousands: str | None) -> float:
    if thousands is not None:
        text = text.replace(thousands, "")
    return float(text.replace(decimal, "."))
