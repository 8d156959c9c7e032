"""Columns of a table that teach nothing, or too much: constants, ids, copies of the target."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hpsearch.components.datasets.column_reading import ColumnReading

if TYPE_CHECKING:
    from pandas import Series

#: how close a linear function of the target is to be one
_RELATIVE = 1e-9


def suspicion(column: Series[Any], reading: ColumnReading, targets: Sequence[Series[Any]]) -> str:
    """Return why a column, as read, should be no feature; empty if nothing speaks against it."""
    distinct, rows = reading.distinct, len(column)
    if reading.reading == "empty":
        return "has no value"
    if reading.missing:
        return ""
    if _is_index(column):
        return "is the index that pandas writes"
    if distinct == 1 and rows > 1:
        return "has the same value in every row"
    for target in targets:
        if _is_copy(column, target, distinct):
            return f"is a copy of the target {str(target.name)!r}"
    if distinct < rows or reading.reading == "date" or not _is_whole_or_text(column):
        return ""
    if reading.doubt:  # as numbers or dates, which all differ without being ids
        return ""
    if (first := _first_of_count(column)) is not None:
        return f"numbers the rows from {first}"
    return "has as many different values as rows, as ids have"


def _is_index(column: Series[Any]) -> bool:
    """Whether a first column of whole numbers has no name; of joined tables, rows repeat."""
    is_first = re.fullmatch(r"Unnamed: 0(\.\d+)?", str(column.name)) is not None
    return is_first and _are_numbers(column) and _is_whole_or_text(column)


def _is_copy(column: Series[Any], target: Series[Any], distinct: int) -> bool:
    """Whether a column is the target, under other names or on another scale."""
    if _are_numbers(column, target) and _is_linear(
        column.to_numpy(np.float64), target.to_numpy(np.float64)
    ):
        return True
    if 2 * distinct > len(target) or distinct != target.nunique():  # by chance where all differ
        return False
    codes, others = column.factorize()[0], target.factorize()[0]
    return len(np.unique(np.stack([codes, others]), axis=1).T) == distinct


def _is_linear(values: Any, target: Any) -> bool:
    """Whether all values are a * target + b, with a not 0."""
    if not (np.isfinite(values).all() and np.isfinite(target).all()):
        return False
    if len(values) < 3 or np.ptp(target) == 0 or np.ptp(values) == 0:
        return False
    scaled, other = ((each - each.min()) / np.ptp(each) for each in (values, target))
    return bool(
        np.allclose(scaled, other, rtol=0, atol=_RELATIVE)
        or np.allclose(scaled, 1 - other, rtol=0, atol=_RELATIVE)
    )


def _first_of_count(column: Series[Any]) -> int | None:
    """Return 0 or 1 where a column holds that and the numbers after it, in any order."""
    if not _are_numbers(column):
        return None
    ordered = np.sort(column.to_numpy(np.float64))
    counts = np.arange(len(ordered))
    return next((first for first in (0, 1) if np.array_equal(ordered, counts + first)), None)


def _is_whole_or_text(column: Series[Any]) -> bool:
    return not _are_numbers(column) or bool((column.astype(float) % 1 == 0).all())


def _are_numbers(*columns: Series[Any]) -> bool:
    from pandas.api.types import is_numeric_dtype

    return all(map(is_numeric_dtype, columns))
