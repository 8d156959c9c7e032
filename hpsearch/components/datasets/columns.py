"""The columns of a table, each read as numbers, categories or dates by a stated rule.

An empty cell is missing, and what `na_values` names; in a column where all else is numbers or
dates, so are NA, N/A, NaN, null and None, which elsewhere are texts. Texts that are all numbers,
with `decimal` and `thousands`, are numbers; true and false are 1 and 0; texts that are all ISO
8601 dates, or that `dates` names, are dates: days since 1970. All other texts are categories, but
what looks like numbers or dates under other settings is in doubt.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from hpsearch.components.datasets.cell_texts import (
    Texts,
    as_dates,
    as_numbers,
    days_since_1970,
    is_missing,
    likeness,
    unit,
)
from hpsearch.components.datasets.column_reading import ColumnReading, ReadingRule
from hpsearch.components.tasks.kinds import are_whole, listed
from hpsearch.errors import DataError

if TYPE_CHECKING:
    from pandas import Series

#: a column of text with more values than this is taken for a mistake, such as a name or an id
MAX_CATEGORIES = 100
#: how a doubt about texts ends, for data sets that have these keywords
OTHERWISE = "; otherwise name it in `categories` or `drop`"
#: how one about numbers ends
OR_DROP = ", or name the column in `drop`"
_TRUTH = {"true": True, "false": False}
_EXAMPLE_LENGTH = 30
_SECONDS_A_DAY = 24 * 3600


@dataclass
class _Found:
    """A reading before it is counted."""

    reading: str
    why: str
    values: Any
    doubt: str = ""
    warning: str = ""


def read_column(column: Series[Any], rule: ReadingRule) -> tuple[Series[Any], ColumnReading]:
    """Return a column's values, missing ones as NaN, and what it was taken for."""
    import pandas

    name = str(column.name)
    found = _read_typed(column) if name not in rule.named else None
    if found is None:
        texts = _as_texts(column, rule)
        found = _read_texts(texts, name, rule)
    values = pandas.Series(found.values, index=column.index, name=name)
    present = values.notna()
    doubt = found.doubt
    if found.reading == "number" and not doubt:
        doubt = _beyond_float32(column[present], values[present])
    return values, ColumnReading(
        name,
        found.reading,
        found.why,
        int(values.nunique()),
        int((~present).sum()),
        _example(column[present]),
        doubt,
        found.warning,
    )


def read_as(reading: str, column: Series[Any], rule: ReadingRule) -> Series[Any]:
    """Return a column's values as `read_column` read another of this name: as `number`, `date` or
    `category`. Raises DataError where they can't be."""
    import pandas

    name = str(column.name)
    found = _read_typed(column) if name not in rule.named else None
    if found is not None and found.reading == reading:
        return pandas.Series(found.values, index=column.index)
    texts = _as_texts(column, rule)
    if reading == "category":
        return texts
    known = texts[texts.notna()]
    read = _read_texts(known, name, rule) if len(known) else _Found(reading, "", [])
    if len(known) and read.reading != reading:
        wrong = next(
            (t for t in known.unique() if _read_different([t], name, rule).reading != reading),
            known.iloc[0],
        )
        raise DataError(f"column {name!r} must be a {reading} as in training, but has {wrong!r}")
    values = pandas.Series(read.values, index=known.index, dtype=np.float64)
    return values.reindex(column.index)


def _beyond_float32(cells: Series[Any], numbers: Series[Any]) -> str:
    """Say which numbers are infinite, or become so in float32; empty if none."""
    with np.errstate(over="ignore"):
        is_beyond = ~np.isfinite(numbers.to_numpy(np.float32))
    if not is_beyond.any():
        return ""
    example = str(cells[is_beyond].iloc[0])
    return (
        f"must have finite numbers of at most {np.finfo(np.float32).max:.2g}, but "
        f"{is_beyond.sum()} are not, such as {example}: correct them{OR_DROP}"
    )


def unread_column(column: Series[Any], reading: str, why: str) -> ColumnReading:
    """Return the reading of a column that is left as it is."""
    counts = int(column.nunique()), int(column.isna().sum())
    return ColumnReading(str(column.name), reading, why, *counts, _example(column.dropna()))


def _example(cells: Series[Any]) -> str:
    text = str(cells.iloc[0]).strip() if len(cells) else ""
    return text if len(text) <= _EXAMPLE_LENGTH else f"{text[: _EXAMPLE_LENGTH - 1]}…"


def as_feature(reading: ColumnReading) -> ColumnReading:
    """Return the reading of a column of features, of which there can't be too many categories."""
    if reading.reading != "category" or reading.distinct <= MAX_CATEGORIES or reading.doubt:
        return reading
    rule = f"must be numbers or at most {MAX_CATEGORIES} different texts"
    return replace(reading, doubt=f"{rule}, but has {reading.distinct}: name it in `drop`")


def _read_typed(column: Series[Any]) -> _Found | None:
    """Read what isn't text: a file of types says what it is."""
    from pandas.api import types

    if column.isna().all():
        return None
    if types.is_datetime64_any_dtype(column):
        stamps = column.dt.tz_localize("UTC") if column.dt.tz is None else column
        return _Found("date", "times, as days since 1970", days_since_1970(stamps))
    if types.is_timedelta64_dtype(column):
        seconds = column.dt.total_seconds().to_numpy(np.float64)
        return _Found("number", "durations, as days", seconds / _SECONDS_A_DAY)
    inferred = types.infer_dtype(column, skipna=True)
    if inferred in ("mixed", "bytes"):
        return _holds_no_values(column)
    if inferred not in _TYPED_NUMBERS:
        return None
    why = "truth values" if inferred == "boolean" else "numbers"
    if column.notna().all() and inferred in ("boolean", "integer"):
        dtype = np.bool_ if inferred == "boolean" else None
        return _Found("number", why, column.to_numpy(dtype))
    return _Found("number", why, column.to_numpy(np.float64, na_value=np.nan))


def _holds_no_values(column: Series[Any]) -> _Found | None:
    """Refuse lists, mappings and bytes, each cell of which would be a category."""
    first = next((cell for cell in column.dropna() if not isinstance(cell, _SINGLE)), None)
    if first is None:
        return None
    doubt = (
        f"must have a number, a text or a date in each cell, but has {type(first).__name__}: "
        "name it in `drop`, or write one column a number"
    )
    return _Found("category", "no single values", column.map(str), doubt)


_SINGLE = (str, int, float, bool, date, Decimal, np.generic)
_TYPED_NUMBERS = ("boolean", "floating", "integer", "mixed-integer-float", "decimal")


def _as_texts(column: Series[Any], rule: ReadingRule) -> Series[Any]:
    """Return cells as texts without spaces around them, missing ones as NaN."""
    from pandas.api.types import is_string_dtype

    if not is_string_dtype(column.dtype):
        column = column.astype(object).map(str, na_action="ignore")
    texts = column.astype("str").str.strip()
    return texts.mask(texts.isin(["", *rule.na_values]))


def _read_texts(texts: Series[Any], name: str, rule: ReadingRule) -> _Found:
    codes, different = texts.factorize()
    found = _read_different(list(different), name, rule)
    if found.reading == "category":
        found.values = texts
    else:
        values = np.asarray(found.values)
        has_missing = (codes < 0).any()
        found.values = (np.append(values, np.nan) if has_missing else values)[codes]
    return found


def _read_different(texts: Texts, name: str, rule: ReadingRule) -> _Found:
    """Read the different texts of a column."""
    if not texts:
        rule_broken = "has no value in any row: name it in `drop`"
        return _Found("empty", "no cell has a value", [], rule_broken)
    if name in rule.categories:
        return _Found("category", "named in `categories`", texts)
    if name in rule.date_formats:
        return _read_dates(texts, rule.date_formats[name])
    missing = sorted(text for text in texts if is_missing(text))
    but = f"; {listed(missing)} missing" if missing else ""
    if (numbers := as_numbers(texts, rule.decimal, rule.thousands)) is not None:
        is_whole = not missing and not any(rule.decimal in text for text in texts)
        values = numbers.astype(np.int64) if is_whole and are_whole(numbers) else numbers
        return _Found("number", f"numbers{but}", values)
    if all(text.lower() in _TRUTH for text in texts):
        return _Found("number", "truth values", [_TRUTH[text.lower()] for text in texts])
    if (days := as_dates(texts)) is not None:
        return _Found("date", f"ISO 8601 dates, as days since 1970{but}", days)
    return _read_categories(texts, name, rule)


def _read_dates(texts: Texts, date_format: str | None) -> _Found:
    days = as_dates(texts, date_format)
    form = "ISO 8601" if date_format is None else repr(date_format)
    if days is not None:
        return _Found("date", f"dates of the format {form}, as days since 1970", days)
    wrong = next(text for text in texts if as_dates([text], date_format) is None)
    doubt = f"must hold dates of the format {form} (`dates`), but has {wrong!r}"
    return _Found("category", "no dates", texts, doubt)


def _read_categories(texts: Texts, name: str, rule: ReadingRule) -> _Found:
    found = _Found("category", f"{len(texts)} texts", texts)
    if told := likeness(texts, name, rule.decimal, rule.thousands):
        found.doubt = f"{told}{OTHERWISE}"
    elif len(texts) > 2 and (rest := unit(texts)):
        found.warning = (
            f"looks like numbers with {rest!r}, such as {texts[0]!r}, and is read as "
            f"{len(texts)} categories: write plain numbers, or name it in `categories`"
        )
    elif missing := [text for text in texts if is_missing(text)]:
        told = ", ".join(map(repr, missing))
        found.warning = (
            f"has the category {told}: `na_values: [{told}]` reads it as missing, `categories` "
            "takes it as it is"
        )
    return found
