"""Forecasts of what paused trials would reach, from their curves and from trials that continued.

Two steps, each of which needs little data. A curve by itself is extrapolated to the next rung by
power laws (Domhan et al., IJCAI 2015, average over several families likewise). What other trials
reached there says what such an extrapolation is worth: their regression line, with a weak prior,
carries it up, rung by rung. Curves that cross, diverge late or jump with a schedule widen what the
regression leaves unexplained, and so the intervals.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hpsearch.samplers.forecast import normal_scores
from hpsearch.samplers.unit_cube import Array, Integers

#: power laws epoch^-rate that are averaged
RATES = (0.25, 0.5, 1.0, 2.0)
#: standard deviation of their amplitudes, in those of an epoch's noise
AMPLITUDE = 10.0
#: an epoch counts by (epoch / newest epoch) to this power: old ones say less
RECENCY = 3.0
#: weights of the priors, in trials: a line of slope 1, and a step of standard deviation ½
SLOPE_WEIGHT = 2.0
STEP_WEIGHT = 3.0
PRIOR_STEP = 0.5
#: outliers below count as if they were this many interquartile ranges below the median
CLIP = 3.0


@dataclass(frozen=True)
class Forecasts:
    """Forecasts of final values, as normal scores: ranks, spread as a standard normal sample.

    `values` are those of the objective's scale (best high), `at_first` the scores that were
    forecast at the first rung. `steps` are the standard deviations by which training to the next
    rung changes a score, (num_rungs - 1,).
    """

    values: Array
    scores: Array
    at_first: Array
    steps: Array

    def interval(self, trial: int, rung: int) -> tuple[float, float]:
        """Return the 90 % interval of the final value of a trial that is at a rung."""
        half = 1.645 * math.sqrt(float((self.steps[rung:] ** 2).sum()))
        order = np.argsort(self.values, kind="stable")
        ends = self.scores[trial] + np.array([-half, half])
        low, high = np.interp(ends, self.scores[order], self.values[order])
        return float(low), float(high)


def forecast_final(reached: Array, extrapolated: Array) -> Forecasts:
    """Return forecasts from the values at the rungs, (num_trials, num_rungs), NaN if not reached,
    and the extrapolations to the next rung, (num_trials, num_rungs - 1)."""
    num_lower = extrapolated.shape[1]
    lines = [_Line.fit(extrapolated[:, k], reached[:, k + 1]) for k in range(num_lower)]
    carried = np.column_stack([*extrapolated.T, reached[:, -1]])
    for k in range(num_lower):
        for line in lines[k:]:
            carried[:, k] = line(carried[:, k])
    newest = newest_rung(reached)
    values = carried[np.arange(len(carried)), newest]
    scores, order = normal_scores(values), np.argsort(values, kind="stable")
    history = np.interp(carried, values[order], scores[order])
    history[np.arange(len(carried)), newest] = scores
    steps = [_step(history[newest > k, k + 1] - history[newest > k, k]) for k in range(num_lower)]
    return Forecasts(values, scores, history[:, 0], np.array(steps))


def newest_rung(reached: Array) -> Integers:
    """Return the index of each trial's newest rung."""
    rungs: Integers = (~np.isnan(reached)).sum(axis=1) - 1
    return rungs


def extrapolate(curve: Mapping[int, float], epoch: int) -> float:
    """Return the value that a curve is expected to have at a later epoch."""
    epochs = tuple(sorted(curve))
    return float(_weights(epochs, epoch) @ np.array([curve[each] for each in epochs]))


@lru_cache(maxsize=64)
def _weights(epochs: tuple[int, ...], target: int) -> Array:
    """Return the weights of a curve's values in its forecast.

    For a given rate a power law is a Bayesian linear regression (Bishop, 2006, eq. 3.53), whose
    mean is linear in the values; so is the average over the rates.
    """
    known, last = np.array(epochs, float), float(epochs[-1])
    precision = (known / last) ** RECENCY
    weights = np.zeros(len(known))
    for rate in RATES:
        basis = np.column_stack([np.ones(len(known)), known**-rate - last**-rate])
        weighted = basis.T * precision
        inverse = np.linalg.inv(weighted @ basis + np.diag([1e-9, AMPLITUDE**-2]))
        weights += np.array([1.0, target**-rate - last**-rate]) @ inverse @ weighted
    total: Array = weights / weights.sum()
    return total


@dataclass(frozen=True)
class _Line:
    """The regression of what trials reached on what was expected of them."""

    x_mean: float = 0.0
    y_mean: float = 0.0
    slope: float = 1.0

    @classmethod
    def fit(cls, lower: Array, upper: Array) -> _Line:
        """Fit the trials that are known at both; slopes are not negative: a better value below
        never lowers the forecast."""
        both = ~np.isnan(upper)
        if not both.any():
            return cls()
        x, y = _clip(lower[both]), _clip(upper[both])
        covariance = float((x - x.mean()) @ (y - y.mean()))
        slope = (covariance / (x.var() + 1e-24) + SLOPE_WEIGHT) / (len(x) + SLOPE_WEIGHT)
        return cls(float(x.mean()), float(y.mean()), max(slope, 0.0))

    def __call__(self, values: Array) -> Array:
        return self.y_mean + self.slope * (values - self.x_mean)


def _clip(values: Array) -> Array:
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    clipped: Array = np.maximum(values, median - CLIP * (high - low))
    return clipped


def _step(changes: Array) -> float:
    """Return the standard deviation of changes of forecasts, under its prior."""
    squares = float(changes @ changes) + STEP_WEIGHT * PRIOR_STEP**2
    return math.sqrt(squares / (len(changes) + STEP_WEIGHT))
