"""Rows of a data set divided into parts, classes in proportion."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


def split_rows(
    num_rows: int, count: int, classes: Rows | None, rng: np.random.Generator
) -> tuple[Rows, Rows]:
    """Draw `count` rows; returns (the others, those drawn), both shuffled.

    `classes` holds the class of every row: each class then gives its share, to within one
    row. None draws from all rows alike.
    """
    ordered = _by_class(num_rows, classes, rng)
    # Evenly spaced picks over rows ordered by class take from each class its share.
    picks = ((np.arange(count) + 0.5) * num_rows / max(count, 1)).astype(np.int64)
    return rng.permutation(np.delete(ordered, picks)), rng.permutation(ordered[picks])


def fold_rows(
    num_rows: int, folds: int, classes: Rows | None, rng: np.random.Generator
) -> list[tuple[Rows, Rows]]:
    """Divide rows into (training, validation) pairs; each row is in one validation part."""
    ordered = _by_class(num_rows, classes, rng)
    fold = np.arange(num_rows) % folds
    return [(ordered[fold != i], ordered[fold == i]) for i in range(folds)]


def _by_class(num_rows: int, classes: Rows | None, rng: np.random.Generator) -> Rows:
    shuffled = rng.permutation(num_rows)
    if classes is None:
        return shuffled
    return shuffled[np.argsort(classes[shuffled], kind="stable")]
