"""Data sets of time series, for forecasting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from annotated_types import Ge, Interval
from numpy.typing import NDArray

from hpsearch.components.datasets.column_reading import (
    ColumnReading,
    Dates,
    ReadingRule,
    ThousandsMark,
)
from hpsearch.components.datasets.columns import (
    OR_DROP,
    OTHERWISE,
    read_as,
    read_column,
    unread_column,
)
from hpsearch.components.datasets.csv_files import CsvForm, read_csv
from hpsearch.components.datasets.files import check_columns, read_table, resolve
from hpsearch.components.datasets.table_input import InputColumn, TableInput
from hpsearch.components.datasets.tables import check_readings
from hpsearch.components.datasets.time_steps import check_steps
from hpsearch.components.datasets.windows import Histories
from hpsearch.components.packages import installed_path
from hpsearch.errors import DataError
from hpsearch.registry import register

if TYPE_CHECKING:
    from pandas import DataFrame

Steps = Annotated[int, Ge(1)]
Horizons = Steps | Sequence[Steps]
#: how much of a disturbance is left in the next step of `seasonal_series`
PERSISTENCE = 0.8
_REMEDY = "a series must have a value at each step: fill them in, such as by pandas' interpolate"


@register("dataset", "series")
def series(
    folder: Path,
    path: str,
    target: str | Sequence[str],
    lookback: Steps,
    horizon: Horizons = 1,
    period: Steps = 1,
    features: Sequence[str] = (),
    time: str | None = None,
    separator: str = ",",
    decimal: str = ".",
    encoding: str = "utf-8",
    thousands: ThousandsMark | None = None,
    dates: Dates = (),
) -> Mapping[str, Any]:
    """One or several time series for forecasting: columns of a CSV or Parquet file of yours.

    Rows are steps in the order of time. From `lookback` steps of the target columns, and of
    `features` beside them, all targets are forecast: at each step up to `horizon`, or at the
    steps ahead that it lists. `period` is the length of a season in steps, for the seasonal naive
    forecast. The column `time`, numbers or dates, is checked: steps must be in order and none may
    be missing; an exported model checks it too, in histories that have it. Dates are ISO 8601, or
    of the format that `dates` has for the column, such as {day: "%d.%m.%Y"}. The last part of the
    series is for testing, the part before it for validation.
    """
    file, rule = resolve(folder, path), ReadingRule(decimal, thousands, dates=dates)
    clock: InputColumn | None = None
    names = [target] if isinstance(target, str) else list(target)
    if not names or len({*names, *features}) < len(names) + len(features):
        told = "must name different columns, at least one, and none that `features` names"
        raise DataError(told, target, keyword="target")
    table = _read(file, CsvForm(separator, encoding), rule)
    used = {"target": names, "features": list(features), "time": [time] if time else []}
    for keyword, columns in used.items():
        check_columns(table, file, keyword, columns)
    check_columns(table, file, "dates", list(rule.date_formats))
    read = {name: read_column(table[name], rule) for name in sum(used.values(), [])}
    readings = {name: _as_role(reading, used) for name, (_, reading) in read.items()}
    check_readings(readings, readings, file, _REMEDY)
    if time:
        times, reading = read[time]
        check_steps(times.to_numpy(), list(map(str, table[time])), reading.reading)
        clock = InputColumn(time, reading.reading)
    others = [
        unread_column(table[name], "dropped", "neither a target nor a feature")
        for name in table.columns
        if name not in readings
    ]
    values = table[[]].assign(**{name: read[name][0] for name in (*names, *features)})
    return {
        **_windows(values, names, lookback, horizon, period, rule, clock),
        "columns": [*readings.values(), *others],
    }


@register("dataset", "seasonal_series")
def seasonal_series(
    seed: int,
    steps: Annotated[int, Ge(50)] = 2000,
    num_series: Annotated[int, Interval(ge=1, le=100)] = 1,
    noise: Annotated[float, Interval(gt=0, le=100)] = 1.0,
    lookback: Steps = 24,
    horizon: Horizons = 12,
    period: Annotated[int, Ge(2)] = 24,
) -> Mapping[str, Any]:
    """Random series of known predictability: a season and disturbances that fade.

    Each series is a fixed curve of `period` steps, of standard deviation 2, and an autoregressive
    process whose new disturbances have the deviation `noise`, of which 0.8 is left a step later.
    No forecast can have a smaller root mean squared error than `least_rmse` says, by chance but
    for the size of a split.
    """
    import pandas

    rng = np.random.default_rng(seed)
    curves = rng.normal(size=(period, num_series))
    curves = 2 * (curves - curves.mean(0)) / curves.std(0)
    state = rng.normal(size=num_series) * noise / np.sqrt(1 - PERSISTENCE**2)
    values = np.empty((steps, num_series))
    for step, new in enumerate(rng.normal(size=(steps, num_series)) * noise):
        state = PERSISTENCE * state + new
        values[step] = curves[step % period] + state
    names = [f"series_{number}" for number in range(1, num_series + 1)]
    table = pandas.DataFrame(values.astype(np.float32), columns=names)
    return _windows(table, names, lookback, horizon, period)


def least_rmse(horizon: int, noise: float = 1.0) -> float:
    """Return the deviation of what can't be known of `seasonal_series` so many steps ahead.

    >>> round(least_rmse(1), 3), round(least_rmse(12), 3)
    (1.0, 1.663)
    """
    left = PERSISTENCE ** (2 * np.arange(horizon))
    return noise * float(np.sqrt(left.sum()))


@register("dataset", "elnino")
def elnino(lookback: Steps = 24, horizon: Horizons = 12) -> Mapping[str, Any]:
    """Sea surface temperature in the Pacific by month, 1950 to 2010, in degrees Celsius (NOAA).

    732 steps with a period of 12. The data comes with `pip install --no-deps statsmodels`.
    """
    import pandas

    file = installed_path("statsmodels", "datasets/elnino/elnino.csv")
    if file is None:
        raise DataError(
            "elnino needs the package statsmodels: `pip install --no-deps statsmodels`"
        )
    by_year = read_table(file, pandas.read_csv)
    temperatures = by_year.iloc[:, 1:].to_numpy(np.float32).ravel()
    table = pandas.DataFrame({"temperature": temperatures})
    return _windows(table, ["temperature"], lookback, horizon, 12)


@dataclass(frozen=True, eq=False)
class HistoryInput:
    """The end of a table as a history of `lookback` steps; `table` reads its columns.

    Rows must follow each other by the column `time`, if there is one, as far as a table has it.
    """

    table: TableInput
    lookback: int
    time: InputColumn | None = None

    @property
    def example(self) -> DataFrame:
        """A history."""
        return self.table.example

    def encode(self, table: DataFrame) -> NDArray[np.float32]:
        """Return the last steps of a table as one row (1, lookback, features)."""
        if len(table) < self.lookback:
            rule = f"a history must have {self.lookback} steps at least, but has {len(table)}"
            raise DataError(rule)
        self._check_time(table)
        return self.table.encode(table.tail(self.lookback))[None]

    def _check_time(self, table: DataFrame) -> None:
        if self.time is None or self.time.name not in table:
            return
        cells = table[self.time.name]
        times = read_as(self.time.reading, cells, self.table.rule)
        if times.isna().any():
            rule = f"column {self.time.name!r} must have the time of each row, but lacks some"
            raise DataError(rule)
        check_steps(times.to_numpy(), list(map(str, cells)), self.time.reading)


def _windows(
    values: DataFrame,
    names: Sequence[str],
    lookback: int,
    horizon: int | Sequence[int],
    period: int,
    rule: ReadingRule | None = None,
    time: InputColumn | None = None,
) -> dict[str, Any]:
    """Return what a factory does for series and other features, in the columns of a table."""
    horizons = tuple(range(1, horizon + 1)) if isinstance(horizon, int) else tuple(horizon)
    if not horizons or list(horizons) != sorted(set(horizons)):
        raise DataError("must be steps ahead in growing order", horizon, keyword="horizon")
    steps = values.to_numpy(np.float32)
    columns = tuple(InputColumn(name, "number") for name in values.columns)
    example = values.head(lookback)
    return {
        "train": (steps, steps[:, : len(names)]),
        "features": tuple(values.columns),
        "targets": list(names),
        "kind": "forecasting",
        "ordered": True,
        "windows": Histories(lookback, horizons, period, tuple(names)),
        "table": HistoryInput(
            TableInput(columns, rule or ReadingRule(), False, example), lookback, time
        ),
    }


def _read(file: Path, form: CsvForm, rule: ReadingRule) -> DataFrame:
    import pandas

    if file.suffix != ".parquet":
        return read_csv(file, form, rule)
    table = read_table(file, pandas.read_parquet)
    return table.set_axis([str(name) for name in table.columns], axis=1)


def _as_role(reading: ColumnReading, used: Mapping[str, Sequence[str]]) -> ColumnReading:
    """Return the reading of a column for what it is used, with a doubt where it is no numbers."""
    role = next(keyword for keyword, names in used.items() if reading.column in names)
    allowed = ("number", "date") if role == "time" else ("number",)
    if not reading.doubt and reading.reading not in allowed:
        what = "numbers or dates" if role == "time" else "numbers"
        doubt = f"must be {what} as `{role}`, but is read as {reading.reading}"
        return replace(reading, doubt=doubt)
    doubt = reading.doubt.removesuffix(OTHERWISE).removesuffix(OR_DROP)  # a series has neither
    return replace(reading, doubt=doubt, reading=reading.reading if role == "features" else role)
