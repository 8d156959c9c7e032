"""Targets of tasks that learn a class for each place of an example: its steps, its pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from hpsearch.components.batch import IGNORED
from hpsearch.components.encodings import TargetEncoding, Values
from hpsearch.errors import DataError


class PlacedClasses(TargetEncoding):
    """Class numbers int64 (rows, ...); places that don't count are IGNORED."""

    reads_targets: ClassVar[bool] = False

    def output_size(self, y: Values, names: Sequence[str], input_shape: tuple[int, ...]) -> int:
        """Return the number of classes."""
        return len(names)

    def class_counts(self, y: Values, output_size: int) -> tuple[int, ...]:
        """Return the places of each class."""
        return tuple(np.bincount(y[y != IGNORED], minlength=output_size).tolist())

    def base_rates(self, y: Values, output_size: int) -> tuple[float, ...]:
        """See TargetEncoding."""
        counts = np.array(self.class_counts(y, output_size)) + 0.5
        return tuple((counts / counts.sum()).tolist())


def class_numbers(y: Values, num_classes: int, what: str) -> Values:
    """Return targets of steps as int64; DataError unless they are numbers of so many classes, or
    IGNORED."""
    is_class = (y >= 0) & (y < num_classes) if y.dtype.kind in "iu" else np.zeros(y.shape, bool)
    wrong = y[~(is_class | (y == IGNORED))]
    if wrong.size:
        rule = f"targets must be numbers of the {num_classes} {what}, from 0, or {IGNORED} for"
        raise DataError(f"{rule} steps that don't count", wrong.flat[0].item())
    return y.astype(np.int64)
