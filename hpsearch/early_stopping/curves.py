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
#: standard deviation of the slope outside the range of the trials that continued
OUTER_SLOPE = 1.0
#: outliers below count as if they were this many interquartile ranges below the median
CLIP = 3.0


@dataclass(frozen=True)
class Forecasts:
    """Forecasts of final values, best high: `values` with their standard deviations `stds`.

    `scores` are the values as normal scores: ranks, spread as a standard normal sample would be;
    `at_first` are the scores that were forecast at the first rung. `steps` are the standard
    deviations by which training to the next rung changes a score, (num_rungs - 1,).
    """

    values: Array
    stds: Array
    scores: Array
    at_first: Array
    steps: Array
    freedom: float  # degrees of freedom of the standard deviations

    def interval(self, trial: int) -> tuple[float, float]:
        """Return the 90 % interval of a trial's final value."""
        from scipy.special import stdtrit

        half = float(stdtrit(self.freedom, 0.95)) * float(self.stds[trial])
        return float(self.values[trial]) - half, float(self.values[trial]) + half


def forecast_final(reached: Array, extrapolated: Array) -> Forecasts:
    """Return forecasts from the values at the rungs, (num_trials, num_rungs), NaN if not reached,
    and the extrapolations to the next rung, (num_trials, num_rungs - 1)."""
    num_lower = extrapolated.shape[1]
    lines = [_Line.fit(extrapolated[:, k], reached[:, k + 1]) for k in range(num_lower)]
    carried = np.column_stack([*extrapolated.T, reached[:, -1]])
    variances = np.zeros_like(carried)
    for k in range(num_lower):
        for line in lines[k:]:
            variances[:, k] = line.variance(carried[:, k], variances[:, k])
            carried[:, k] = line(carried[:, k])
    newest, every = newest_rung(reached), np.arange(len(carried))
    values = carried[every, newest]
    scores, order = normal_scores(values), np.argsort(values, kind="stable")
    history = np.interp(carried, values[order], scores[order])
    history[every, newest] = scores
    steps = [_step(history[newest > k, k + 1] - history[newest > k, k]) for k in range(num_lower)]
    stds = np.sqrt(variances[every, newest])
    freedom = min((line.freedom for line in lines), default=STEP_WEIGHT)
    return Forecasts(values, stds, scores, history[:, 0], np.array(steps), freedom)


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

    x_mean: float
    y_mean: float
    slope: float
    noise: float  # variance about the line
    num_trials: int
    x_squares: float  # sum of squared deviations
    x_range: tuple[float, float] = (-math.inf, math.inf)

    @classmethod
    def fit(cls, lower: Array, upper: Array) -> _Line:
        """Fit the trials that are known at both; slopes are not negative: a better value below
        never lowers the forecast."""
        is_lower, both = ~np.isnan(lower), ~np.isnan(upper)
        spread = float(_clip(lower[is_lower]).var()) if is_lower.any() else 0.0
        if not both.any():
            return cls(0.0, 0.0, 1.0, PRIOR_STEP**2 * spread, 0, spread + 1e-24)
        x, y = _clip(lower[both]), _clip(upper[both])
        x_squares = float(((x - x.mean()) ** 2).sum()) + 1e-24
        covariance = float((x - x.mean()) @ (y - y.mean()))
        slope = (covariance / (x_squares / len(x)) + SLOPE_WEIGHT) / (len(x) + SLOPE_WEIGHT)
        slope = max(slope, 0.0)
        rest = float(((y - y.mean() - slope * (x - x.mean())) ** 2).sum())
        prior = STEP_WEIGHT * PRIOR_STEP**2 * spread
        noise = (rest + prior) / (max(len(x) - 2, 0) + STEP_WEIGHT)
        means, ends = (float(x.mean()), float(y.mean())), (float(x.min()), float(x.max()))
        return cls(*means, slope, noise, len(x), x_squares, ends)

    def __call__(self, values: Array) -> Array:
        return self.y_mean + self.slope * (values - self.x_mean)

    def variance(self, values: Array, variances: Array) -> Array:
        """Return the variance at the upper rung of trials with these values and variances: of
        noise, mean and slope (Bishop, 2006, eq. 3.59), and of another slope outside of x_range."""
        mean = 1.0 / (self.num_trials + 1)
        slope = (values - self.x_mean) ** 2 / (self.x_squares * (1 + SLOPE_WEIGHT * mean))
        outside = np.abs(values - np.clip(values, *self.x_range)) * OUTER_SLOPE
        found: Array = self.slope**2 * variances + self.noise * (1.0 + mean + slope) + outside**2
        return found

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the noise."""
        return max(self.num_trials - 2, 0) + STEP_WEIGHT


def _clip(values: Array) -> Array:
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    clipped: Array = np.maximum(values, median - CLIP * (high - low))
    return clipped


def _step(changes: Array) -> float:
    """Return the standard deviation of changes of forecasts, under its prior."""
    squares = float(changes @ changes) + STEP_WEIGHT * PRIOR_STEP**2
    return math.sqrt(squares / (len(changes) + STEP_WEIGHT))
