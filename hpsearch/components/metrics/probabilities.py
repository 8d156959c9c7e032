"""Scores of probabilities, with soft targets as well as hard ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import numpy as np
from annotated_types import Interval

from hpsearch.components.metrics.base import Doubles, Metric, Predictions
from hpsearch.components.metrics.bins import Bins, equal_mass_bins, equal_width_bins
from hpsearch.registry import register

NumBins = Annotated[int, Interval(ge=1, le=10_000)]


@register("metric", "log_loss")
def log_loss() -> Metric:
    """-sum t log p, the mean over rows; ln(classes) for uniform forecasts.

    p is at least 2e-16, as in scikit-learn.
    """
    return Metric.single("log_loss", _cross_entropy)


@register("metric", "kl_to_labels")
def kl_to_labels() -> Metric:
    """Log loss minus the labels' entropy: how far p is from soft labels; 0 where they agree."""
    return Metric.single("kl_to_labels", lambda seen: _cross_entropy(seen) - _entropy(seen))


@register("metric", "brier")
def brier() -> Metric:
    """sum (p - t)², the mean over rows, from 0 to 2 (Brier, 1950).

    For two classes half of it, (p - t)² of one, as scikit-learn has it. Of labels it is the mean
    over them.
    """
    return Metric.single("brier", _brier, ("classification", "multilabel"))


@register("metric", "brier_skill")
def brier_skill(class_counts: Sequence[int]) -> Metric:
    """1 - Brier score / that of a forecast of the training rows' class shares.

    Where those aren't known (Datasets), of the scored rows' own. Below 0 is worse than a
    forecast of these shares.
    """

    def measure(seen: Predictions) -> float | None:
        counts = np.asarray(class_counts or seen.targets.sum(0), np.float64)
        prior = np.broadcast_to(counts / counts.sum(), seen.targets.shape)
        reference = _brier(replace(seen, outputs=prior))
        return 1 - _brier(seen) / reference if reference > 0 else None

    return Metric.single("brier_skill", measure)


@register("metric", "brier_parts")
def brier_parts(num_bins: NumBins = 15) -> Metric:
    """Murphy's parts (1973): Brier = reliability - resolution + uncertainty.

    Class by class over bins of forecasts, and added up as the Brier score is. The sum is exact
    where the forecasts in a bin are the same.
    """
    names = ("brier_reliability", "brier_resolution", "brier_uncertainty")
    return Metric(names, lambda seen: _murphy(seen, num_bins))


@register("metric", "ece")
def ece(num_bins: NumBins = 15) -> Metric:
    """Expected calibration error: sum over bins of rows/all |accuracy - confidence|.

    Confidence is the probability of the answer, bins are (lo, hi] of the same width (Guo et al.,
    2017). Few rows bias it upwards.
    """
    return Metric.single("ece", lambda seen: top_bins(seen, num_bins).mean_error)


@register("metric", "adaptive_ece")
def adaptive_ece(num_bins: NumBins = 15) -> Metric:
    """ece over bins of as many rows each (Nixon et al., 2019)."""

    def measure(seen: Predictions) -> float:
        return equal_mass_bins(*_top(seen), num_bins).mean_error

    return Metric.single("adaptive_ece", measure)


@register("metric", "mce")
def mce(num_bins: NumBins = 15) -> Metric:
    """Maximum calibration error: the greatest |accuracy - confidence| of a bin of ece."""
    return Metric.single("mce", lambda seen: top_bins(seen, num_bins).max_error)


def top_bins(seen: Predictions, num_bins: int = 15) -> Bins:
    """Return the rows by the probability of the model's answer, in bins of the same width."""
    return equal_width_bins(*_top(seen), num_bins)


def _top(seen: Predictions) -> tuple[Doubles, Doubles]:
    is_right = (seen.answers == seen.classes).astype(np.float64)
    return seen.outputs.max(1), is_right


def _cross_entropy(seen: Predictions) -> float:
    logs = np.log(seen.outputs.clip(np.finfo(np.float64).eps))
    return float(-(seen.targets * logs).sum(1).mean())


def _entropy(seen: Predictions) -> float:
    return _cross_entropy(replace(seen, outputs=seen.targets))


def _brier(seen: Predictions) -> float:
    errors = ((seen.outputs - seen.targets) ** 2).sum(1).mean()
    return float(errors * _weight(seen))


def _weight(seen: Predictions) -> float:
    num_outputs: int = seen.targets.shape[1]
    if seen.kind == "multilabel":
        return 1 / num_outputs
    return 0.5 if num_outputs == 2 else 1.0


def _murphy(seen: Predictions, num_bins: int) -> list[float]:
    parts = np.zeros(3)
    for forecasts, happened in zip(seen.outputs.T, seen.targets.T, strict=True):
        bins, base = equal_width_bins(forecasts, happened, num_bins), happened.mean()
        reliability = bins.share @ (bins.confidence - bins.accuracy) ** 2
        resolution = bins.share @ (bins.accuracy - base) ** 2
        parts += [reliability, resolution, base * (1 - base)]
    values: list[float] = (parts * _weight(seen)).tolist()
    return values
