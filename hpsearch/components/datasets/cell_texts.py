"""Texts of a table's cells as numbers and dates, and what texts look like that are neither.

All of it works on the different texts of a column, of which there are fewer than rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
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
#: spaces that don't break and apostrophes, as separators of thousands; the minus of typesetters
_PLAIN_SIGNS = {0xA0: " ", 0x202F: " ", 0x2019: "'", 0x2212: "-"}
_DECIMALS, _THOUSANDS = (".", ","), (None, ",", ".", " ", "'")
_ISO_DATE = re.compile(r"\d{4}-\d\d(-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?)?")
_DATE_FORMATS = tuple(
    f"{day}{time}"
    for day in (
        "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d-%m-%Y", "%m-%d-%Y", "%Y.%m.%d",
        "%d.%m.%y", "%d/%m/%y", "%m/%d/%y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y",
        "%d-%b-%Y", "%d-%b-%y", "%b %Y", "%B %Y", "%m/%Y",
    )
    for time in ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
)  # fmt: skip
#: so many texts show which formats are worth trying on all
_SAMPLE = 50
#: texts among numbers or dates that are listed one by one
_FEW = 3


def is_missing(text: str) -> bool:
    """Whether a text stands for no value where the others are numbers or dates."""
    return text.lower() in MISSING


def as_numbers(texts: Texts, decimal: str, thousands: str | None) -> Numbers | None:
    """Return texts as numbers, missing ones as NaN; None unless all others are numbers."""
    matches = _number_pattern(decimal, thousands).fullmatch
    numbers = np.empty(len(texts))
    has_number = False
    for index, text in enumerate(texts):
        plain = text.translate(_PLAIN_SIGNS)
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
    present = [text for text in texts if not is_missing(text)]
    if not present:
        return None
    if date_format is None and not all(map(_ISO_DATE.fullmatch, present)):
        return None
    dates = _times(present, date_format)
    if dates is None or dates.isna().any():
        return None
    values = iter(days_since_1970(dates))
    return np.array([np.nan if is_missing(text) else next(values) for text in texts])


def _times(texts: Texts, date_format: str | None) -> Series[Timestamp] | None:
    """Return texts as times in UTC, NaT where a text is none; None for what is no format."""
    import pandas

    form = date_format or "ISO8601"
    try:
        return pandas.to_datetime(pandas.Series(texts), format=form, utc=True, errors="coerce")
    except ValueError:  # or for dates beyond what is kept
        return None


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
        return f"{example}: `dates: {{{column}: FORMAT}}` with {told} reads them"
    pattern = _number_pattern(decimal, thousands)
    are_numbers = [pattern.fullmatch(text.translate(_PLAIN_SIGNS)) is not None for text in present]
    if others := _few(present, are_numbers):
        return _mixed("numbers", others)
    if others := _not_dates(present):
        return _mixed("dates", others)
    return ""


def _date_formats(texts: Texts) -> list[str]:
    """Return the formats that read all texts; words are spared the many attempts."""
    if not all(any(map(str.isdigit, text)) for text in texts):
        return []
    forms = [form for form in _DATE_FORMATS if as_dates(texts[:_SAMPLE], form) is not None]
    return [form for form in forms if as_dates(texts, form) is not None]


def _not_dates(texts: Texts) -> list[str]:
    """Return those of texts that are no dates where most are, of one format; else none."""
    sample = [text for text in texts if any(map(str.isdigit, text))][:_SAMPLE]
    for form in (None, *_DATE_FORMATS):
        if 2 * sum(_are_dates(sample, form)) > len(sample):
            return _few(texts, _are_dates(texts, form))
    return []


def _are_dates(texts: Texts, date_format: str | None) -> list[bool]:
    times = _times(texts, date_format)
    read = [False] * len(texts) if times is None else times.notna().tolist()
    if date_format is None:
        return [
            each and _ISO_DATE.fullmatch(text) is not None
            for text, each in zip(texts, read, strict=True)
        ]
    return read


def _few(texts: Texts, are_usual: Iterable[bool]) -> list[str]:
    """Return the texts that are not as usual, if these are fewer than half."""
    others = [text for text, is_usual in zip(texts, are_usual, strict=True) if not is_usual]
    return others if 2 * len(others) < len(texts) else []


def _mixed(usual: str, others: Texts) -> str:
    """Say which texts stand among numbers or dates, and how all of them are taken for missing."""
    if len(others) > _FEW:
        told = ", ".join(map(repr, others[:_FEW]))
        return f"has {usual}, but {len(others)} other texts too, such as {told}: correct them"
    told = ", ".join(map(repr, others))
    takes = f"`na_values: [{told}]` reads {'them' if len(others) > 1 else 'it'} as missing"
    return f"has {usual}, but texts too, such as {told}: {takes}"


def unit(texts: Texts) -> str:
    """Return what stands around the number in every text, such as `%` or `kg`; empty if nothing.

    >>> unit(["5 kg", "-12.5 kg"]), unit(["USD 5", "-USD 1,000"]), unit(["red", "5 kg"])
    ('kg', 'USD', '')
    """
    texts = [text.translate(_PLAIN_SIGNS) for text in texts]
    rests = {re.sub(r"[+-]|\d[\d.,' ]*", "", text).strip() for text in texts}
    before = r"[+-]?(?:[^\w\s+-]{0,2}\s*|[A-Z]{3}\s+)[+-]?"
    form = re.compile(rf"{before}\d[\d.,' ]*\s*[^\s\d]{{0,5}}")
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
        told = [f"`decimal: '{point}'`"] if is_new_point else []
        told += [f'`thousands: "{separator}"`'] if separator not in (None, thousands) else []
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
