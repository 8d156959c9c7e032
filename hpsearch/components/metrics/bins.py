"""Rows in bins by their confidence: what calibration errors and reliability plots are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpsearch.components.metrics.base import Doubles


@dataclass(frozen=True)
class Bins:
    """The bins that hold rows, by growing confidence: means and shares of the rows, (bins,)."""

    confidence: Doubles
    accuracy: Doubles
    share: Doubles

    @property
    def mean_error(self) -> float:
        """The expected calibration error: the mean over rows of |accuracy - confidence|."""
        return float(self.share @ np.abs(self.accuracy - self.confidence))

    @property
    def max_error(self) -> float:
        """The maximum calibration error."""
        return float(np.abs(self.accuracy - self.confidence).max())


def equal_width_bins(confidence: Doubles, is_right: Doubles, num_bins: int) -> Bins:
    """Return bins (lo, hi] of the same width from 0 to 1 (Naeini et al., 2015)."""
    edges = np.linspace(0, 1, num_bins + 1)[1:-1]
    return _bins(np.searchsorted(edges, confidence, side="left"), confidence, is_right)


def equal_mass_bins(confidence: Doubles, is_right: Doubles, num_bins: int) -> Bins:
    """Return bins of as many rows each, or one more (Nixon et al., 2019)."""
    rank = np.argsort(np.argsort(confidence, kind="stable"), kind="stable")
    return _bins(rank * num_bins // len(rank), confidence, is_right)


def _bins(index: NDArray[np.int64], confidence: Doubles, is_right: Doubles) -> Bins:
    counts = np.bincount(index)
    filled = counts > 0

    def mean(values: Doubles) -> Doubles:
        means: Doubles = np.bincount(index, values)[filled] / counts[filled]
        return means

    return Bins(mean(confidence), mean(is_right), counts[filled] / len(index))
