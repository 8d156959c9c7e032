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
        raise DataError(f"dataset.path: must be a file (from the spec's folder), but got {file}")
    return file


def read_table(file: Path, reader: Callable[..., DataFrame], **options: Any) -> DataFrame:
    """Read a table by one of pandas' readers; DataError says why it can't be."""
    try:
        return reader(file, **options)
    except (OSError, ValueError) as error:  # the parsers' own errors are ValueErrors
        raise DataError(
            f"dataset.path: must be a file that {reader.__name__} reads, but {file}: {error}"
        ) from error


def read_npz(
    file: Path, splits: Mapping[str, tuple[str | None, str | None]], groups: str | None = None
) -> dict[str, Any]:
    """Read pairs of arrays by name, and the array of groups; what has no name is left out."""
    arrays = _arrays(file)

    def pick(keyword: str, name: str | None) -> np.ndarray[Any, Any]:
        if name not in arrays:
            raise DataError(
                f"dataset.{keyword}: must be an array of {file} ({', '.join(arrays)}), "
                f"but got {name!r}"
            )
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
    rule = (
        f"dataset.path: must be an .npz file of plain arrays, as numpy.savez writes it, but {file}"
    )
    if not zipfile.is_zipfile(file):
        raise DataError(f"{rule} is none")
    try:
        with np.load(file, allow_pickle=False) as content:
            return {name: content[name] for name in content.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{rule}: {error}") from error


def check_columns(table: DataFrame, file: Path | str, keyword: str, names: Sequence[str]) -> None:
    """Raise DataError for a name that is no column; `keyword` is where it was given."""
    known = [str(name) for name in table.columns]
    for name in names:
        if name not in known:
            near = nearest_names(name, known)
            hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
            raise DataError(
                f"dataset.{keyword}: must be a column of {file} ({', '.join(known[:20])}"
                f"{', ...' if len(known) > 20 else ''}), but got {name!r}{hint}"
            )
