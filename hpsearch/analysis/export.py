"""A search's tables as files for other tools: its trials and their curves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import pandas as pd

from hpsearch.errors import RunsError, SearchExistsError

TableFormat = Literal["csv", "parquet", "json"]
_WRITERS: Mapping[str, Callable[[pd.DataFrame, Path], object]] = {
    "csv": lambda table, path: table.to_csv(path, index=False),
    "json": lambda table, path: table.to_json(path, orient="records", indent=1),
    "parquet": lambda table, path: _one_type_a_column(table).to_parquet(path, index=False),
}


def write_tables(
    tables: Mapping[str, pd.DataFrame], stem: str, folder: Path, form: TableFormat
) -> list[Path]:
    """Write each table to `STEM-TABLE.FORM` in a folder, which is made; returns the files.

    Raises SearchExistsError where one of them is there, and RunsError where none can be written.
    """
    paths = {name: folder / f"{stem}-{name}.{form}" for name in tables}
    for path in paths.values():
        if path.exists():
            raise SearchExistsError(f"{path} exists: choose another folder (--to)")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, path in paths.items():
            _WRITERS[form](tables[name], path)
    except OSError as error:
        raise RunsError(f"{folder}: can't be written: {error.strerror}") from error
    return list(paths.values())


def _one_type_a_column(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table in which choices of several types, such as 64 and auto, are texts."""
    mixed = [name for name in table if table[name].dropna().map(type).nunique() > 1]
    texts = {str(name): table[name].map(str, na_action="ignore") for name in mixed}
    return table.assign(**texts)
