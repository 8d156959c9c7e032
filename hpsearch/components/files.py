"""Reading tables and arrays of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class TableColumns:
    """What the columns of a table are that are no features."""

    target: str | Sequence[str]
    drop: Sequence[str] = ()
    group: str | None = None
    time: str | None = None

    @property
    def by_keyword(self) -> dict[str, list[str]]:
        """The names of the columns by the keyword that gives them."""
        target, group, time = (
            [value] if isinstance(value, str) else list(value or ())
            for value in (self.target, self.group, self.time)
        )
        return {"target": target, "drop": list(self.drop), "group": group, "time": time}


def one_hot_table(table: DataFrame, file: Path | str, columns: TableColumns) -> dict[str, Any]:
    """Split a table into features and target; text columns become one feature a value."""
    import pandas

    named = columns.by_keyword
    for keyword, names in named.items():
        check_columns(table, file, keyword, names)
    check_complete(table.drop(columns=named["drop"]), file)
    if columns.time is not None:
        table = _in_order(table, file, columns.time)
    targets = named["target"]
    features = table.drop(columns=list({name for names in named.values() for name in names}))
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
        "targets": targets,
        "ordered": columns.time is not None,
        **({} if columns.group is None else {"groups": table[columns.group].to_numpy()}),
    }


def _in_order(table: DataFrame, file: Path | str, time: str) -> DataFrame:
    import pandas

    times = table[time]
    if not pandas.api.types.is_numeric_dtype(times):
        try:
            times = pandas.to_datetime(times, format="ISO8601")
        except ValueError as error:
            raise DataError(
                f"dataset.time: column {time!r} of {file} must be numbers or ISO 8601 dates, "
                f"but: {error}"
            ) from error
    return table.iloc[np.argsort(times.to_numpy(), kind="stable")]


def read_npz(
    file: Path, splits: Mapping[str, tuple[str | None, str | None]], groups: str | None = None
) -> dict[str, Any]:
    """Read pairs of arrays by name, and the array of groups; what has no name is left out."""
    try:
        with np.load(file, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
    except (OSError, ValueError) as error:
        raise DataError(
            f"dataset.path: must be an .npz file of plain arrays, but {file}: {error}"
        ) from error

    def pick(use: str, name: str | None) -> np.ndarray[Any, Any]:
        if name not in arrays:
            raise DataError(
                f"dataset: {use} needs an array that {file} has "
                f"({', '.join(arrays)}), but got {name!r}"
            )
        return np.asarray(arrays[name])

    found: dict[str, Any] = {
        split: tuple(pick(split, name) for name in names)
        for split, names in splits.items()
        if any(names)
    }
    return found if groups is None else {**found, "groups": pick("groups", groups)}


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
