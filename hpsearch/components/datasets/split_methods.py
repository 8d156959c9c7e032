"""Rows of a data set divided into parts: by chance, by time or by groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
#: rows of (the others, the part drawn)
Pair = tuple[Rows, Rows]


@dataclass(frozen=True)
class Population:
    """Rows to divide. Draws give each of `classes` its share, and keep `groups` whole; `gap` rows
    lie between those of a fold in time."""

    num_rows: int
    classes: Rows | None = None
    groups: NDArray[Any] | None = None
    gap: int = 0

    def at(self, index: Rows) -> Population:
        """Return the population of these rows alone."""
        classes, groups = (
            None if labels is None else labels[index] for labels in (self.classes, self.groups)
        )
        return Population(len(index), classes, groups, self.gap)


@dataclass(frozen=True)
class Division:
    """A way to divide rows. `num_units` counts what is divided, `unit` names it.

    `draw` gives a part of `count` units; `folds` pairs of (training, validation) rows, of which
    so many units at least are `never_validated`.
    """

    unit: str
    num_units: Callable[[Population], int]
    draw: Callable[[Population, int, np.random.Generator], Pair]
    folds: Callable[[Population, int, np.random.Generator], list[Pair]]
    never_validated: int = 0


def split_rows(num_rows: int, count: int, classes: Rows | None, rng: np.random.Generator) -> Pair:
    """Draw `count` rows; returns (the others, those drawn), both shuffled.

    `classes` holds the class of every row: each class then gives its share, to within one
    row. None draws from all rows alike.
    """
    ordered = _by_class(num_rows, classes, rng)
    # Evenly spaced picks over rows ordered by class take from each class its share.
    picks = ((np.arange(count) + 0.5) * num_rows / max(count, 1)).astype(np.int64)
    return rng.permutation(np.delete(ordered, picks)), rng.permutation(ordered[picks])


def _draw_rows(rows: Population, count: int, rng: np.random.Generator) -> Pair:
    return split_rows(rows.num_rows, count, rows.classes, rng)


def _random_folds(rows: Population, folds: int, rng: np.random.Generator) -> list[Pair]:
    """Each row is in one validation part."""
    ordered = _by_class(rows.num_rows, rows.classes, rng)
    fold = np.arange(rows.num_rows) % folds
    return [(ordered[fold != i], ordered[fold == i]) for i in range(folds)]


def _by_class(num_rows: int, classes: Rows | None, rng: np.random.Generator) -> Rows:
    shuffled = rng.permutation(num_rows)
    if classes is None:
        return shuffled
    return shuffled[np.argsort(classes[shuffled], kind="stable")]


def _last_rows(rows: Population, count: int, _: np.random.Generator) -> Pair:
    before, after = np.split(np.arange(rows.num_rows), [rows.num_rows - count])
    return before, after


def _folds_in_time(rows: Population, folds: int, _: np.random.Generator) -> list[Pair]:
    """Each fold validates on what comes after its training rows, which are more in each."""
    from sklearn.model_selection import TimeSeriesSplit

    return list(TimeSeriesSplit(folds, gap=rows.gap).split(np.arange(rows.num_rows)))


def _num_groups(rows: Population) -> int:
    return len(_groups(rows))


def _draw_groups(rows: Population, count: int, rng: np.random.Generator) -> Pair:
    drawn = np.isin(np.asarray(rows.groups), rng.permutation(_groups(rows))[:count])
    return np.flatnonzero(~drawn), np.flatnonzero(drawn)


def _folds_of_groups(rows: Population, folds: int, rng: np.random.Generator) -> list[Pair]:
    """Each group is in one validation part."""
    from sklearn.model_selection import GroupKFold

    division = GroupKFold(folds, shuffle=True, random_state=int(rng.integers(2**32)))
    return list(division.split(np.arange(rows.num_rows), groups=rows.groups))


def _groups(rows: Population) -> NDArray[Any]:
    assert rows.groups is not None
    return np.unique(rows.groups)


DIVISIONS: Mapping[str, Division] = {
    "random": Division("rows", attrgetter("num_rows"), _draw_rows, _random_folds),
    "chronological": Division("rows", attrgetter("num_rows"), _last_rows, _folds_in_time, 1),
    "group": Division("groups", _num_groups, _draw_groups, _folds_of_groups),
}
