"""Reading tables and arrays of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpsearch.errors import DataError, nearest_names

if TYPE_CHECKING:
    from pandas import DataFrame

#: a column of text with more values than this is taken for a mistake, such as a name or an id
MAX_CATEGORIES = 100


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


def one_hot_table(
    table: DataFrame, file: Path | str, target: str | Sequence[str], drop: Sequence[str]
) -> dict[str, Any]:
    """Split a table into features and target; text columns become one feature a value."""
    import pandas

    targets = [target] if isinstance(target, str) else list(target)
    check_columns(table, file, "target", targets)
    check_columns(table, file, "drop", drop)
    check_complete(table.drop(columns=list(drop)), file)
    features = table.drop(columns=[*targets, *drop])
    text = [name for name in features if not pandas.api.types.is_numeric_dtype(features[name])]
    for name in text:
        count = features[name].nunique()
        if count > MAX_CATEGORIES:
            raise DataError(
                f"dataset: column {name!r} of {file} must be numbers or at most "
                f"{MAX_CATEGORIES} different texts, but has {count}: name it in dataset.drop"
            )
    encoded = pandas.get_dummies(features, columns=text, dtype=np.float32)
    y = table[targets[0]] if len(targets) == 1 else table[targets]
    return {
        "train": (encoded.to_numpy(np.float32), y.to_numpy()),
        "features": tuple(map(str, encoded.columns)),
    }


def read_npz(file: Path, splits: Mapping[str, tuple[str | None, str | None]]) -> dict[str, Any]:
    """Read pairs of arrays by name; a split without names is left out."""
    try:
        with np.load(file, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
    except (OSError, ValueError) as error:
        raise DataError(
            f"dataset.path: must be an .npz file of plain arrays, but {file}: {error}"
        ) from error
    named = {split: names for split, names in splits.items() if any(names)}
    for split, names in named.items():
        for name in names:
            if name not in arrays:
                raise DataError(
                    f"dataset: {split} needs an array that {file} has "
                    f"({', '.join(arrays)}), but got {name!r}"
                )
    return {split: tuple(arrays[str(name)] for name in names) for split, names in named.items()}


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


def check_complete(table: DataFrame, file: Path | str) -> None:
    """Raise DataError where cells have no value."""
    missing = table.isna().sum()
    missing = missing[missing > 0]
    if len(missing):
        counts = ", ".join(f"{name} ({count})" for name, count in missing.items())
        raise DataError(
            f"dataset: every cell of {file} must have a value, but some have none: {counts}; "
            "fill them, or name the columns in dataset.drop"
        )
