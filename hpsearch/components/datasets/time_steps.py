"""Whether the steps of a series follow each other in time, and none is missing."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpsearch.errors import DataError
from hpsearch.formatting import show_count

#: how far a distance of two steps may be from the usual one, as a part of it
TOLERANCE = 1e-3


def check_steps(times: NDArray[Any], texts: Sequence[str], reading: str) -> None:
    """Raise DataError unless times grow by the same from step to step.

    Dates are days; months, quarters, years and working days are steps too. `texts` are the times
    as they are written.
    """
    times = times.astype(np.float64)
    distances = np.diff(times)
    if (wrong := np.flatnonzero(distances <= 0)).size:
        row = int(wrong[0]) + 1
        how = "again" if distances[row - 1] == 0 else f"after {texts[row - 1]}"
        raise DataError(
            f"must grow from row to row, but row {row} (from 0) has {texts[row]} {how}: sort the "
            "rows by time, and give each series a column of its own",
            keyword="time",
        )
    if len(times) < 3 or (reading == "date" and _is_of_calendar(times)):
        return
    usual = float(np.median(distances))
    if (wrong := np.flatnonzero(np.abs(distances - usual) > TOLERANCE * usual)).size:
        row = int(wrong[0]) + 1
        step = show_count(usual, "day") if reading == "date" else f"{usual:g}"
        raise DataError(
            f"must have no missing steps, which are {step} apart, but row {row} (from 0) "
            f"has {texts[row]} after {texts[row - 1]}, and {len(wrong)} of {len(distances)} "
            "distances differ: fill the steps in, such as by pandas' asfreq and interpolate",
            keyword="time",
        )


def _is_of_calendar(days: NDArray[np.float64]) -> bool:
    """Whether dates follow each other by a rule of the calendar, such as the first of a month."""
    import pandas

    seconds = np.rint(days * 24 * 3600).astype(np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of the type that it returns
        warnings.simplefilter("ignore", DeprecationWarning)
        rule = pandas.infer_freq(pandas.DatetimeIndex(pandas.to_datetime(seconds, unit="s")))
    return rule is not None
