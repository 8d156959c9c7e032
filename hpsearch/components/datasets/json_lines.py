"""Reading files whose lines are objects of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpsearch.errors import DataError

if TYPE_CHECKING:
    from pandas import DataFrame

#: how the names of such files end
SUFFIXES = (".jsonl", ".ndjson")
_RULE = "must have an object of JSON in each line, but line"


def read_json_lines(file: Path, encoding: str) -> DataFrame:
    """Return a table whose columns are the keys of the objects, None where an object lacks one.

    Empty lines are left out. Raises DataError that names the line.
    """
    import pandas

    try:
        lines = file.read_text(encoding=encoding).split("\n")
    except (OSError, UnicodeDecodeError, LookupError) as error:
        raise DataError(f"can't be read: {error}", str(file), keyword="path") from error
    rows = list(_objects(lines, file))
    if not rows:
        raise DataError(f"must be a file with lines, but {file} has none", keyword="path")
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: [row.get(name) for row in rows] for name in names}
    return pandas.DataFrame(columns, dtype=object)


def _objects(lines: list[str], file: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{_RULE} {number} of {file}: {error}", keyword="path") from error
        if not isinstance(row, dict):
            raise DataError(f"{_RULE} {number} of {file} has", row, keyword="path")
        yield row
