"""From a table to features and targets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hpsearch.components.datasets.column_reading import ColumnReading, ColumnsError, ReadingRule
from hpsearch.components.datasets.columns import as_feature, read_column, unread_column
from hpsearch.components.datasets.files import check_columns
from hpsearch.components.datasets.suspects import suspicion
from hpsearch.components.datasets.table_input import InputColumn, TableInput, one_hot
from hpsearch.errors import DataError

if TYPE_CHECKING:
    from pandas import DataFrame, Series

Drop = Literal["auto"] | Sequence[str]


@dataclass(frozen=True)
class TableColumns:
    """What the columns of a table are for; without `features` all others are features.

    `drop` 'auto' leaves out those that are suspicious, unless something names them.
    """

    target: str | Sequence[str]
    drop: Drop = ()
    features: Sequence[str] | None = None
    group: str | None = None
    time: str | None = None

    @property
    def by_keyword(self) -> dict[str, list[str]]:
        """The names of the columns by the keyword that gives them."""
        target, group, time = (
            [value] if isinstance(value, str) else list(value or ())
            for value in (self.target, self.group, self.time)
        )
        drop = [] if self.drop == "auto" else list(self.drop)
        features = list(self.features or ())
        return {"target": target, "drop": drop, "group": group, "time": time, "features": features}


def read_table_columns(
    raw: DataFrame, place: Path | str, columns: TableColumns, rule: ReadingRule
) -> dict[str, Any]:
    """Read a table into what a data factory returns, with how each column was read.

    Categories become one feature a value. Raises ColumnsError where columns are in doubt or
    lack values, DataError where there are none of the names that were given.
    """
    raw = raw.set_axis([str(name) for name in raw.columns], axis=1)
    if raw.empty:
        raise DataError(f"must be a table with rows, but {place} has none", keyword="path")
    named = columns.by_keyword
    _check_targets(named["target"])
    reading_keywords = {"dates": list(rule.date_formats), "categories": list(rule.categories)}
    for keyword, names in (named | reading_keywords).items():
        check_columns(raw, place, keyword, names)
    _check_once({key: named[key] for key in ("target", "drop", "features")})
    _check_once(reading_keywords)
    table = Table(raw, columns, rule)
    table.read()
    table.judge()
    table.require(place)
    return _as_returned(table)


def _check_targets(names: Sequence[str]) -> None:
    if not names or len(set(names)) < len(names):
        rule = "must name different columns, at least one"
        raise DataError(rule, list(names), keyword="target")


def _check_once(named: Mapping[str, Sequence[str]]) -> None:
    """Raise DataError for a column that two keywords name, which exclude each other."""
    keywords: dict[str, str] = {}
    for keyword, names in named.items():
        for name in names:
            other = keywords.setdefault(name, keyword)
            if other != keyword:
                raise DataError(f"must not name what `{other}` names", name, keyword=keyword)


class Table:
    """A table while it is read: `readings` says how each column is, `values` what is in it."""

    def __init__(self, raw: DataFrame, columns: TableColumns, rule: ReadingRule) -> None:
        self.raw = raw
        self.named = columns.by_keyword
        self.features: list[str] = []
        self.values: dict[str, Series[Any]] = {}
        self.readings: dict[str, ColumnReading] = {}
        self.missing = rule.missing
        self.rule = rule
        self._is_strict = columns.features is not None
        self._drops = columns.drop == "auto"

    def read(self) -> None:
        """Read every column as its place in the table says."""
        for name in map(str, self.raw.columns):
            keyword = next((key for key, names in self.named.items() if name in names), None)
            if keyword in ("drop", "group") or (keyword is None and self._is_strict):
                self.readings[name] = self._left(name, keyword)
                continue
            self.values[name], reading = read_column(self.raw[name], self.rule)
            self.readings[name] = reading
            if keyword in ("target", "time"):
                self.readings[name] = _as_role(reading, keyword)
            else:
                self.features.append(name)

    def judge(self) -> None:
        """Warn of features that teach nothing or too much, or leave them out."""
        targets = [self.values[name] for name in self.named["target"]]
        explicit = {*self.named["features"], *self.rule.named}
        for name in list(self.features):
            reading = self.readings[name]
            why = suspicion(self.values[name], reading, targets)
            if not why or name in explicit:
                self.readings[name] = as_feature(reading)
            elif self._drops:
                self.features.remove(name)
                told = f"{why}, and is left out (`drop: auto`)"
                self.readings[name] = replace(
                    reading, reading="dropped", why=why, doubt="", warning=told
                )
            else:
                told = f"{why}: `drop: [{name!r}]`, or auto, leaves it out"
                self.readings[name] = as_feature(replace(reading, warning=told))

    def require(self, place: Path | str) -> None:
        """Raise ColumnsError for doubts, for cells without a value, or without any feature."""
        needed = (*self.named["target"], *self.named["time"])
        if self.missing == "refuse":
            needed = (*self.features, *needed)
        elif self.missing == "drop":
            needed = ()
        check_readings(self.readings, needed, place, _REMEDY)
        if not self.features:
            told = f"a column of {place} must be a feature, but all are dropped"
            raise ColumnsError(told, list(self.readings.values()))

    def _left(self, name: str, keyword: str | None) -> ColumnReading:
        if keyword == "group":
            return unread_column(self.raw[name], "group", "named in `group`")
        why = "named in `drop`" if keyword else "not named in `features`"
        return unread_column(self.raw[name], "dropped", why)


_REMEDY = (
    "`missing: drop` leaves their rows out, `missing: median` and others fill features; or name "
    "the columns in `drop`"
)


def check_readings(
    readings: Mapping[str, ColumnReading],
    used: Iterable[str],
    place: Path | str,
    remedy: str = "fill them, or name the columns in `drop`",
) -> None:
    """Raise ColumnsError for doubts, and where columns that are used lack values."""
    if doubts := [each for each in readings.values() if each.doubt]:
        first, *others = doubts
        told = [f"column {first.column!r} of {place} {first.doubt}"]
        told += [f"column {each.column!r} {each.doubt}" for each in others]
        raise ColumnsError("; ".join(told), list(readings.values()))
    if lacking := [readings[name] for name in used if readings[name].missing]:
        counts = ", ".join(f"{each.column} ({each.missing})" for each in lacking)
        raise ColumnsError(
            f"every cell of {place} must have a value, but some have none: {counts}; {remedy}",
            list(readings.values()),
        )


def _as_role(reading: ColumnReading, role: str) -> ColumnReading:
    """Return the reading of the target, or of the time, that rows are ordered by."""
    doubt = reading.doubt
    if role == "time" and not doubt and reading.reading not in ("number", "date"):
        doubt = "must be numbers or ISO 8601 dates, as `time` orders rows by it"
    return replace(reading, reading=role, doubt=doubt)


def _as_returned(table: Table) -> dict[str, Any]:
    import pandas

    targets, groups, times = (table.named[key] for key in ("target", "group", "time"))
    values = pandas.DataFrame({name: table.values[name] for name in (*table.features, *targets)})
    raw = table.raw
    if table.missing == "drop":
        is_whole = values.notna().all(axis=1)
        for name in times:
            is_whole &= table.values[name].notna()
        if not is_whole.any():
            rule = "must leave some rows, but each of them lacks a value"
            raise DataError(rule, "drop", keyword="missing")
        values, raw = values[is_whole], raw[is_whole]
    if times:
        order = np.argsort(table.values[times[0]][values.index].to_numpy(), kind="stable")
        values, raw = values.iloc[order], raw.iloc[order]
    categories = [n for n in table.features if table.readings[n].reading == "category"]
    encoded = one_hot(values[table.features], categories)
    y = values[targets[0]] if len(targets) == 1 else values[targets]
    return {
        "train": (encoded.to_numpy(np.float32), y.to_numpy()),
        "features": tuple(map(str, encoded.columns)),
        "targets": targets,
        "ordered": bool(times),
        "columns": tuple(table.readings.values()),
        "missing": table.missing if encoded.isna().any(axis=None) else None,
        "table": _input_of(table, values, raw),
        **({"groups": raw[groups[0]].to_numpy()} if groups else {}),
    }


#: rows that show what the model takes
_EXAMPLE_ROWS = 5


def _input_of(table: Table, values: DataFrame, raw: DataFrame) -> TableInput:
    """Return how rows of this table become features."""
    columns = []
    for name in table.features:
        reading = table.readings[name].reading
        texts = sorted(values[name].dropna().unique()) if reading == "category" else ()
        columns.append(InputColumn(name, reading, tuple(texts)))
    may_lack = table.missing not in ("refuse", "drop")
    example = raw[table.features].head(_EXAMPLE_ROWS).reset_index(drop=True)
    return TableInput(tuple(columns), table.rule, may_lack, example)
