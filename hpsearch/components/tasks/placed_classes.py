"""Targets of tasks that learn a class for each place of an example: its steps, its pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from hpsearch.components.batch import IGNORED
from hpsearch.components.encodings import TargetEncoding, Values


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
