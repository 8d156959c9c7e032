"""Rows that are windows of a series: made after the series is split, so that none is in two parts.

A data factory returns the steps of its series in order, and `windows`, which makes rows of the
steps of each part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from hpsearch.components.data import Arrays
from hpsearch.errors import DataError


class Windows(Protocol):
    """Makes rows of steps."""

    def __call__(self, steps: Arrays) -> Arrays:
        """Return the rows of steps in order; ValueError where there are too few of them."""


@dataclass(frozen=True)
class NextTokens:
    """Stretches of `length` tokens one after another, each with the tokens that follow its own.

    Rows are ids int64 (rows, length). Each token of a part but the first is a target once; a last
    stretch that is shorter is filled up with its last token, which the mask leaves out.
    """

    length: int

    def __call__(self, steps: Arrays) -> Arrays:
        """See Windows; steps are ids (steps, 1)."""
        ids = steps.x[:, 0].astype(np.int64)
        if len(ids) < 2:
            raise ValueError("2 tokens at least")
        rows = -(-(len(ids) - 1) // self.length)
        places = np.arange(rows * self.length).reshape(rows, self.length)
        is_token = places < len(ids) - 1
        places = np.minimum(places, len(ids) - 2)
        return Arrays(ids[places], ids[places + 1], None if is_token.all() else is_token)


def windowed(splits: Mapping[str, Arrays], windows: Windows) -> dict[str, Arrays]:
    """Return the rows of each split; DataError where one is too short."""
    found = {}
    for name, steps in splits.items():
        try:
            found[name] = windows(steps)
        except ValueError as error:
            rule = f"the {name} split has {len(steps)} steps, but a window needs {error}"
            raise DataError(rule) from error
    return found
