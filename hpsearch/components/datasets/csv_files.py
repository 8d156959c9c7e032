"""Reading tables as text: the separator, the header, the encoding, and what is wrong with one."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpsearch.components.datasets.column_reading import ColumnsError, ReadingRule
from hpsearch.components.datasets.encodings import check_is_text, encoding_rule, known_encodings
from hpsearch.components.datasets.tables import TableColumns, read_table_columns
from hpsearch.errors import DataError, nearest_names

if TYPE_CHECKING:
    from pandas import DataFrame

_SEPARATORS = {";": "';'", "\t": r'"\t"', "|": "'|'", ",": "','"}
_FRACTION = re.compile(r"[+-]?\d*[.,]\d+")


@dataclass(frozen=True)
class CsvForm:
    """How a table is written as text; without a header columns are named 0, 1, 2 and so on."""

    separator: str = ","
    encoding: str = "utf-8"
    header: bool = True


def read_csv(file: Path, form: CsvForm, rule: ReadingRule) -> DataFrame:
    """Read a table whose numbers are told from texts as far as that is certain.

    Raises DataError that names the keyword to set where the text is another than the form says.
    """
    import pandas

    check_is_text(file, form.encoding)
    common: dict[str, Any] = {
        "sep": form.separator,
        "encoding": form.encoding,
        "keep_default_na": False,
        "index_col": False,
    }
    first = _parse(file, form, header=None, nrows=1, dtype=str, **common)
    names = _names(first.iloc[0].tolist(), file, form)
    as_text = {name: str for name in rule.named if name in names}
    table = _parse(
        file,
        form,
        header=0 if form.header else None,
        names=names,
        na_values=["", *rule.na_values],
        dtype=as_text if rule.thousands is None else str,  # pandas' own takes 1,2 for 12
        decimal=rule.decimal,
        low_memory=False,  # else a column may be of several types
        **common,
    )
    if table.empty:
        raise DataError(f"must be a table with rows, but {file} has none", keyword="path")
    assert isinstance(table, pandas.DataFrame)
    return table


def read_csv_table(
    file: Path, form: CsvForm, columns: TableColumns, rule: ReadingRule
) -> dict[str, Any]:
    """Read a table as `read_table_columns` does, with a word on a first line that is no header."""
    table = read_csv(file, form, rule)
    hint = missing_header(table.columns) if form.header else ""
    try:
        returned = read_table_columns(table, file, columns, rule)
    except DataError as error:
        if hint and not isinstance(error, ColumnsError):
            error.problem = replace(error.problem, hint=hint)
        raise
    return {**returned, "warnings": [hint] if hint else []}


def missing_header(names: Iterable[str]) -> str:
    """Return a hint where the names of columns look like values."""
    values = [name for name in names if _FRACTION.fullmatch(name)]
    if not values:
        return ""
    return (
        f"the first line looks like data, as {values[0]!r}: without a header set "
        "`header: false`, which names the columns 0, 1, 2 …"
    )


def _parse(file: Path, form: CsvForm, **options: Any) -> DataFrame:
    import pandas

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pandas.errors.ParserWarning)
            table: DataFrame = pandas.read_csv(file, **options)
            return table
    except UnicodeError as error:
        rule = encoding_rule(file, form.encoding, error)
        raise DataError(rule, keyword="encoding") from error
    except LookupError as error:
        raise DataError(
            "must be an encoding of Python's, such as utf-8 or cp1252",
            form.encoding,
            keyword="encoding",
            nearest=nearest_names(form.encoding, known_encodings()),
        ) from error
    except pandas.errors.ParserWarning as error:
        raise DataError(
            f"lines of {file} must have as many fields as its first, but some have more: look for "
            "a separator at their ends, or in a text without quotes",
            keyword="path",
        ) from error
    except (OSError, ValueError) as error:  # the parsers' own errors are ValueErrors
        rule = f"must be a file that read_csv reads, but {file}: {error}"
        raise DataError(rule, keyword="path") from error


def _names(fields: Sequence[str], file: Path, form: CsvForm) -> list[str]:
    """Return the names of the columns, given the first line."""
    if not form.header:
        return [str(number) for number in range(len(fields))]
    names = [
        str(field).strip() or f"Unnamed: {number}"  # as pandas has it
        for number, field in enumerate(fields)
    ]
    if len(names) == 1 and (other := _other_separator(names[0], form.separator)):
        raise DataError(
            f"must be the separator of {file}, but with {form.separator!r} it "
            f"has one column, {names[0]!r:.80}; try `separator: {other}`",
            keyword="separator",
        )
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(
            f"columns of {file} must have unique names, but {twice!r} stands "
            f"{names.count(twice)} times",
            keyword="path",
            hint=missing_header(names),
        )
    return names


def _other_separator(header: str, separator: str) -> str | None:
    counts = {mark: header.count(mark) for mark in _SEPARATORS if mark != separator}
    likeliest = max(counts, key=lambda mark: counts[mark])
    return _SEPARATORS[likeliest] if counts[likeliest] else None
