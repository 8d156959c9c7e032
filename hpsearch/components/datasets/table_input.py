"""Rows of a table as an exported model gets them: read as those that it was trained on."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpsearch.components.datasets.column_reading import ReadingRule
from hpsearch.components.datasets.columns import read_as
from hpsearch.components.tasks.kinds import listed
from hpsearch.errors import DataError, nearest_names

if TYPE_CHECKING:
    from pandas import DataFrame, Series


@dataclass(frozen=True)
class InputColumn:
    """A column of features: `number`, `date`, or `category` with its texts."""

    name: str
    reading: str
    texts: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class TableInput:
    """The columns that are features, and how they were read; `example` has a few of the rows.

    Where `may_lack` cells may be missing: the model fills them.
    """

    columns: tuple[InputColumn, ...]
    rule: ReadingRule
    may_lack: bool
    example: DataFrame

    def encode(self, table: DataFrame) -> NDArray[np.float32]:
        """Return the features (rows, features) of a table that has these columns, and may have
        others. DataError names columns that are missing, or that can't be read."""
        import pandas

        table = table.set_axis([str(name) for name in table.columns], axis=1)
        self._check_names(list(table.columns))
        features = pandas.DataFrame({c.name: self._read(table[c.name], c) for c in self.columns})
        categories = [column.name for column in self.columns if column.texts]
        return one_hot(features, categories).to_numpy(np.float32)

    def _check_names(self, given: Sequence[str]) -> None:
        lacking = [column.name for column in self.columns if column.name not in given]
        if lacking:
            raise DataError(
                f"the table must have the columns {listed([c.name for c in self.columns])}, but "
                f"lacks {listed(lacking)}",
                nearest=nearest_names(lacking[0], given),
            )

    def _read(self, cells: Series[Any], column: InputColumn) -> Any:
        import pandas

        values = read_as(column.reading, cells, self.rule)
        is_missing = values.isna()
        if is_missing.any() and not self.may_lack:
            raise DataError(
                f"every cell of column {column.name!r} must have a value, but {is_missing.sum()} "
                "have none: the model was trained on whole rows only"
            )
        if not column.texts:
            with np.errstate(over="ignore"):
                numbers = values.to_numpy(np.float32)
            if np.isinf(numbers).any():
                wrong = cells[np.isinf(numbers)].iloc[0]
                raise DataError(
                    f"column {column.name!r} must have finite numbers, but has {wrong}"
                )
            return values
        unknown = sorted(set(values[~is_missing]) - set(column.texts))
        if unknown:
            warnings.warn(
                f"column {column.name!r} has {listed(unknown)}, which the model wasn't trained "
                f"on: taken as none of {listed(column.texts)}",
                stacklevel=4,
            )
        return pandas.Categorical(values.mask(values.isin(unknown)), categories=column.texts)


def one_hot(features: DataFrame, categories: Sequence[str]) -> DataFrame:
    """Return features in which each category is one column of 0 and 1 for each of its texts."""
    import pandas

    return pandas.get_dummies(features, columns=list(categories), dtype=np.float32)
