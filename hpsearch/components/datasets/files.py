"""Reading files of the user's own."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpsearch.errors import DataError, nearest_names

if TYPE_CHECKING:
    from pandas import DataFrame


def resolve(folder: Path, path: str) -> Path:
    """Return the file that `path` names from the spec's folder; DataError if it is missing."""
    file = folder / path
    if not file.is_file():
        rule = f"must be a file (from the spec's folder), but got {file}"
        raise DataError(rule, keyword="path")
    return file


def read_table(file: Path, reader: Callable[..., DataFrame], **options: Any) -> DataFrame:
    """Read a table by one of pandas' readers; DataError says why it can't be."""
    try:
        return reader(file, **options)
    except (OSError, ValueError) as error:  # the parsers' own errors are ValueErrors
        rule = f"must be a file that {reader.__name__} reads, but {file}: {error}"
        raise DataError(rule, keyword="path") from error


def read_npz(
    file: Path, splits: Mapping[str, tuple[str | None, str | None]], groups: str | None = None
) -> dict[str, Any]:
    """Read pairs of arrays by name, and the array of groups; what has no name is left out."""
    arrays = _arrays(file)

    def pick(keyword: str, name: str | None) -> np.ndarray[Any, Any]:
        if name not in arrays:
            rule = f"must be an array of {file} ({', '.join(arrays)})"
            raise DataError(rule, name, keyword=keyword, nearest=nearest_names(name, arrays))
        return np.asarray(arrays[name])

    found: dict[str, Any] = {
        split: tuple(
            pick(part if split == "train" else f"{part}_{split}", name)
            for part, name in zip("xy", names, strict=True)
        )
        for split, names in splits.items()
        if any(names)
    }
    return found if groups is None else {**found, "groups": pick("groups", groups)}


def _arrays(file: Path) -> dict[str, np.ndarray[Any, Any]]:
    rule = f"must be an .npz file of plain arrays, as numpy.savez writes it, but {file}"
    if not zipfile.is_zipfile(file):
        raise DataError(f"{rule} is none", keyword="path")
    try:
        with np.load(file, allow_pickle=False) as content:
            return {name: content[name] for name in content.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{rule}: {error}", keyword="path") from error


def check_columns(table: DataFrame, file: Path | str, keyword: str, names: Sequence[str]) -> None:
    """Raise DataError for a name that is no column; `keyword` is where it was given."""
    known = [str(name) for name in table.columns]
    for name in names:
        if name not in known:
            some = f"{', '.join(known[:20])}{', ...' if len(known) > 20 else ''}"
            rule, near = f"must be a column of {file} ({some})", nearest_names(name, known)
            raise DataError(rule, name, keyword=keyword, nearest=near)
