"""Forecasts of what early-stopped trials would have reached, from the trials that continued.

A model of the trials at a high rung alone ignores all that was stopped below it, and suggests it
again. So each trial is extrapolated, rung by rung, by the regression line of the trials that
reached both rungs. Since early stopping selects by the lower value alone, the selection does not
bias that line. The variance of a forecast is estimated on the trials whose value at the top is
known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hpsearch.samplers.base import Direction, Observation
from hpsearch.samplers.fidelity import highest_rung, score_at
from hpsearch.samplers.unit_cube import Array, Integers

Line = Callable[[Array], Array]

#: trials that are looked at: half the newest, half those trained longest of the others
MAX_TRIALS = 600
#: how far below the median a value counts, in units of the best one's distance from it
MAX_BELOW = 3.0


@dataclass(frozen=True)
class Forecast:
    """Trials with their scores at one rung, best high, as normal scores: ranks, spread as a
    standard normal sample would be. `variances` are those of forecasts; 0 for values known."""

    trials: tuple[Observation, ...]
    scores: Array
    variances: Array


def forecast(
    observations: Sequence[Observation], rungs: Sequence[int], direction: Direction
) -> Forecast | None:
    """Return all trials at the highest rung that enough have reached; None while there is none.

    Bad configurations get the worst score.
    """
    observations = _most_telling(observations)
    top = highest_rung(observations, rungs)
    if top is None:
        return None
    good = [t for t in observations if t.state != "bad" and _reached(t, rungs[0], direction)]
    bad = [t for t in observations if t.state == "bad"]
    values = np.array([[_value(t, r, direction) for r in rungs[: top + 1]] for t in good])
    scores, variances = _carry_to_top(values)
    return Forecast(
        (*good, *bad),
        np.append(scores, np.full(len(bad), scores.min())),
        np.append(variances, np.zeros(len(bad))),
    )


def forecast_finals(
    observations: Sequence[Observation], rungs: Sequence[int], direction: Direction
) -> Forecast | None:
    """Return what trials would reach at the last rung, best high, in units of the metric.

    None while no trial has reached it. Variances are those of the regressions' errors, with the
    spread of all values as prior of the weight of one trial. Bad configurations are left out.
    """
    known = [t for t in _most_telling(observations) if t.state != "bad"]
    reached = [trial for trial in known if _reached(trial, rungs[0], direction)]
    values = np.array([[_value(trial, rung, direction) for rung in rungs] for trial in reached])
    if not reached or np.isnan(values[:, -1]).all():
        return None
    values = _without_outliers(values)
    top = values.shape[1] - 1
    lines = [_regression(values[:, i], values[:, i + 1]) for i in range(top)]
    last, at_top = _last_known(values), values[:, top].copy()
    for i in range(top):
        at_top[last == i] = _follow(lines[i:], values[last == i, i])
    variances = np.zeros(len(values))
    for i in range(top):
        both = (last == top) & ~np.isnan(values[:, i])
        errors = _follow(lines[i:], values[both, i]) - values[both, top]
        spread = np.median(np.abs(at_top - np.median(at_top))) ** 2
        variances[last == i] = (errors @ errors + spread) / (len(errors) + 1)
    return Forecast(tuple(reached), at_top, variances)


@np.errstate(over="ignore", invalid="ignore")
def _without_outliers(values: Array) -> Array:
    """Move what is far below the median of its rung to a bound: a loss may be as large as it
    likes, and a line of least squares would follow it alone."""
    median, best = np.nanmedian(values, axis=0), np.nanmax(values, axis=0)
    bounded: Array = np.maximum(values, median - MAX_BELOW * (best - median))
    return bounded


def _most_telling(observations: Sequence[Observation]) -> Sequence[Observation]:
    if len(observations) <= MAX_TRIALS:
        return observations
    by_number = sorted(observations, key=lambda trial: trial.number)
    older, newest = by_number[: -MAX_TRIALS // 2], by_number[-MAX_TRIALS // 2 :]
    older.sort(key=lambda trial: len(trial.curve), reverse=True)
    return [*older[: MAX_TRIALS // 2], *newest]


def _carry_to_top(values: Array) -> tuple[Array, Array]:
    """Return normal scores and variances from values (num_trials, num_rungs), NaN if not reached.

    Every trial has a value at the first rung.
    """
    top = values.shape[1] - 1
    lines = [_regression(values[:, i], values[:, i + 1]) for i in range(top)]
    reached = _last_known(values)
    at_top = values[:, top].copy()
    for i in range(top):
        stopped = reached == i
        at_top[stopped] = _follow(lines[i:], values[stopped, i])
    scores = normal_scores(at_top)
    variances = np.zeros(len(values))
    order = np.argsort(at_top)
    for i in range(top):
        known = (reached == top) & ~np.isnan(values[:, i])
        guesses = _follow(lines[i:], values[known, i])
        errors = np.interp(guesses, at_top[order], scores[order]) - scores[known]
        variances[reached == i] = np.mean(errors**2)
    return scores, variances


def best_and_some(
    scores: Array, num_chosen: int, rng: np.random.Generator | None = None
) -> Integers:
    """Return indices, the best first: all of them, or half of those chosen the best, and others.

    The others are drawn by `rng`, or, without one, spread evenly over their ranks.
    """
    best_first: Integers = np.argsort(-scores, kind="stable")
    if len(scores) <= num_chosen:
        return best_first
    half = num_chosen // 2
    others, num_others = best_first[half:], num_chosen - half
    if rng is None:
        some = others[np.linspace(0, len(others) - 1, num_others).astype(int)]
    else:
        some = rng.choice(others, num_others, replace=False)
    return np.append(best_first[:half], some)


def normal_scores(values: Array) -> Array:
    """Return standard normal quantiles of the values' ranks (van der Waerden scores)."""
    from scipy.special import ndtri

    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - 0.5 * (counts - 1)  # those of equal values are averaged
    scores: Array = ndtri((ranks[index] - 0.5) / len(values))
    return scores


def _regression(lower: Array, upper: Array) -> Line:
    """Return the least-squares line of the upper on the lower rung.

    The prior is a slope of 1, with the weight of one trial; slopes are not negative: a better
    value below never lowers the forecast.
    """
    both = ~np.isnan(lower) & ~np.isnan(upper)
    x, y = lower[both], upper[both]
    x_mean, y_mean, variance = x.mean(), y.mean(), x.var() + 1e-24
    slope = ((x - x_mean) @ (y - y_mean) / variance + 1.0) / (len(x) + 1.0)
    return lambda values: y_mean + max(slope, 0.0) * (values - x_mean)


def _follow(lines: Sequence[Line], values: Array) -> Array:
    for line in lines:
        values = line(values)
    return values


def _last_known(values: Array) -> Integers:
    last: Integers = values.shape[1] - 1 - np.argmax(~np.isnan(values[:, ::-1]), axis=1)
    return last


def _reached(trial: Observation, rung: int, direction: Direction) -> bool:
    return score_at(trial, rung, direction) is not None


def _value(trial: Observation, rung: int, direction: Direction) -> float:
    score = score_at(trial, rung, direction)
    return np.nan if score is None else score
