"""Rows that are windows of a series: made after the series is split, so that none is in two parts.

A data factory returns the steps of its series in order, and `windows`, which makes rows of the
steps of each part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from hpsearch.components.examples import Arrays
from hpsearch.errors import DataError

#: splits in the order of time
SPLITS = ("train", "val", "test")


class Windows(Protocol):
    """Makes rows of steps."""

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names of the outputs of a row, where they have their own."""

    @property
    def gap(self) -> int:
        """How many rows lie between one and the next that has no target in common with it."""

    @property
    def row_stride(self) -> int:
        """How many rows before one is that which it goes on from; 0 where none is."""

    def __call__(self, steps: Arrays, before: Arrays | None = None) -> Arrays:
        """Return rows of steps in order, given the steps `before` them.

        Targets are of these steps; what is known of them may be of the steps before. ValueError
        where there are too few steps.
        """


@dataclass(frozen=True)
class NextTokens:
    """Stretches of `length` tokens one after another, each with the tokens that follow its own.

    Rows are ids int64 (rows, length). Each token of a part but the first is a target once; a last
    stretch that is shorter is filled up with its last token, which the mask leaves out.
    """

    length: int
    output_names: ClassVar[tuple[str, ...]] = ()
    gap: ClassVar[int] = 0
    row_stride: ClassVar[int] = 1

    def __call__(self, steps: Arrays, before: Arrays | None = None) -> Arrays:
        """See Windows; steps are ids (steps, 1), and rows have none of the steps before."""
        ids = steps.x[:, 0].astype(np.int64)
        if len(ids) < 2:
            raise ValueError("2 tokens at least")
        rows = -(-(len(ids) - 1) // self.length)
        places = np.arange(rows * self.length).reshape(rows, self.length)
        is_token = places < len(ids) - 1
        places = np.minimum(places, len(ids) - 2)
        return Arrays(ids[places], ids[places + 1], None if is_token.all() else is_token)

    def merged(self, rows: Arrays, following: Arrays) -> Arrays:
        """Return rows of one text, given those of its two parts: a stretch goes over the border,
        where the first part's last one was filled up."""
        ids = np.concatenate([_ids_of(each) for each in (rows, following)])
        return self(Arrays(ids[:, None], ids))


def _ids_of(rows: Arrays) -> NDArray[np.int64]:
    """Return the tokens of a part whose stretches these are."""
    inputs = rows.x.ravel() if rows.mask is None else rows.x[rows.mask]
    ids: NDArray[np.int64] = np.append(inputs, rows.y[-1, -1])
    return ids


@dataclass(frozen=True)
class Histories:
    """Stretches of `lookback` steps, each with what the series are `horizons` steps later.

    Steps have features (steps, features), the first of which are the series that `names` names.
    Rows are x (rows, lookback, features) and y (rows, 3, horizons, series): what comes, and what
    the seasonal naive and the naive method forecast of it, that is the values of the last
    `period` steps again and again, and the last value. A row's history may be of the part before
    its own, as it is known when the forecast is made; what is forecast never is.
    """

    lookback: int
    horizons: tuple[int, ...]
    period: int
    names: tuple[str, ...]

    @property
    def output_names(self) -> tuple[str, ...]:
        """The series at each horizon, as `sales_1`."""
        return tuple(f"{name}_{horizon}" for horizon in self.horizons for name in self.names)

    @property
    def gap(self) -> int:
        """See Windows: what a row is to forecast is known where the next one's history ends."""
        return self.horizons[-1] - 1

    @property
    def row_stride(self) -> int:
        """See Windows: histories overlap, as one begins at each step."""
        return self.lookback

    def __call__(self, steps: Arrays, before: Arrays | None = None) -> Arrays:
        """See Windows."""
        values = steps.x if before is None else np.concatenate([before.x, steps.x])
        known, last = max(self.lookback, self.period), self.horizons[-1]
        first = max(known, len(values) - len(steps))
        now = np.arange(first, len(values) - last + 1)  # the first step that isn't known
        if not len(now):
            least = last + known - min(known, len(values) - len(steps))
            raise ValueError(
                f"{least} at least: {known} of history (the lookback, or the period) as far as no "
                f"part before has them, and {last} up to the last horizon"
            )
        series, horizons = values[:, : len(self.names)], np.array(self.horizons)
        comes = now[:, None] + horizons - 1
        season = comes - self.period * -(-horizons // self.period)
        latest = np.broadcast_to(now[:, None] - 1, comes.shape)
        y = np.stack([series[each] for each in (comes, season, latest)], 1)
        return Arrays(values[now[:, None] + np.arange(-self.lookback, 0)], y)


def rows_between(train: Arrays, val: Arrays, windows: Windows) -> Arrays | None:
    """Return the rows, in order, that have targets in both splits' steps; None where none have."""
    if not (gap := windows.gap):
        return None
    steps, border = train.joined(val), len(train)
    before, on_both = np.arange(border - gap), np.arange(border - gap, border + gap)
    return windows(steps.rows(on_both), steps.rows(before))


def windowed(splits: Mapping[str, Arrays], windows: Windows) -> dict[str, Arrays]:
    """Return the rows of each split, which follow each other; DataError where one is too short."""
    found, before = {}, None
    for name in (each for each in SPLITS if each in splits):
        steps = splits[name]
        try:
            found[name] = windows(steps, before)
        except ValueError as error:
            rule = f"the {name} split has {len(steps)} steps, but a window needs {error}"
            raise DataError(rule) from error
        before = steps if before is None else before.joined(steps)
    return found
