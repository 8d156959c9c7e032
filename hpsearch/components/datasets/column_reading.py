"""How columns are to be read, and what each was taken for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from hpsearch.errors import DataError

#: what becomes of cells without a value; but for the first two, they are filled by column
Missing = Literal["refuse", "drop", "mean", "median", "most_frequent", "zero"]

#: columns of dates, with formats or as ISO 8601; what may stand between groups of three digits
Dates = Sequence[str] | Mapping[str, str | None]
ThousandsMark = Literal[",", ".", " ", "'"]


@dataclass(frozen=True)
class ReadingRule:
    """The keywords of a table that say how its cells are read, and what becomes of missing ones.

    `dates` names columns of ISO 8601 dates, or maps columns to the formats of theirs. Raises
    DataError where `thousands` is the decimal mark, so that 0.125 would be 125.
    """

    decimal: str = "."
    thousands: str | None = None
    na_values: Sequence[str] = ()
    dates: Dates = ()
    categories: Sequence[str] = ()
    missing: Missing = "refuse"

    def __post_init__(self) -> None:
        if self.thousands == self.decimal:
            rule = f"must not be `decimal`, but both are {self.decimal!r}"
            raise DataError(rule, keyword="thousands")

    @property
    def date_formats(self) -> dict[str, str | None]:
        """The format of each column of dates; None is ISO 8601."""
        if isinstance(self.dates, Mapping):
            return dict(self.dates)
        return dict.fromkeys(self.dates)

    @property
    def named(self) -> set[str]:
        """The columns whose reading is given."""
        return {*self.date_formats, *self.categories}


@dataclass(frozen=True)
class ColumnReading:
    """What a column was taken for: `why`, what speaks against it, and an example.

    A `doubt` is an error, a `warning` is not; both say what to set.
    """

    column: str
    reading: str
    why: str
    distinct: int = 0
    missing: int = 0
    example: str = ""
    doubt: str = ""
    warning: str = ""


class ColumnsError(DataError):
    """Raised where columns are in doubt; `columns` has the readings of all."""

    def __init__(self, message: str, columns: Sequence[ColumnReading]) -> None:
        super().__init__(message)
        self.columns = tuple(columns)
