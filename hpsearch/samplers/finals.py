"""A model of what trials reach in full: a Gaussian process over forecasts of final values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hpsearch.samplers.base import Direction, Observation
from hpsearch.samplers.fidelity import score_at
from hpsearch.samplers.forecast import best_and_some, forecast_finals
from hpsearch.samplers.unit_cube import Array, Cube
from hpsearch.space import SearchSpace

if TYPE_CHECKING:
    from hpsearch.samplers.gaussian_process import GaussianProcess

#: trials that must have reached the first rung, and have been trained in full
MIN_TRIALS = 12
MIN_COMPLETE = 3
#: points of the Gaussian process, and those that its hyperparameters are fitted on
MAX_POINTS = 150
MAX_FIT_POINTS = 40
#: how far below the median a score counts, in units of the best one's distance from it: what is
#: further below says only that it is
MAX_BELOW = 1.5


@dataclass(frozen=True)
class FinalsModel:
    """Scores are final values, best high; the process has them as (score - offset) / scale."""

    cube: Cube
    points: Array  # (num_trials, num_parameters)
    scores: Array  # (num_trials,)
    process: GaussianProcess
    noise: float  # of a single training, in units of the process
    offset: float
    scale: float
    best: float  # score of a trial that was trained in full


@np.errstate(over="ignore", invalid="ignore")
def fit_finals(
    observations: Sequence[Observation],
    space: SearchSpace,
    rungs: Sequence[int],
    direction: Direction,
    rng: np.random.Generator,
) -> FinalsModel | None:
    """Return a model of the finals; None while too few trials were trained in full to tell, or
    where values are too large to be compared."""
    complete = [score_at(t, rungs[-1], direction) for t in observations if t.state == "finished"]
    values = [value for value in complete if value is not None]
    finals = forecast_finals(observations, rungs, direction)
    if len(values) < MIN_COMPLETE or finals is None or len(finals.trials) < MIN_TRIALS:
        return None
    best, median = max(values), float(np.median(finals.scores))
    unit = max(best - median, 1e-12)
    scores = np.maximum((finals.scores - median) / unit, -MAX_BELOW)
    variances = np.minimum(finals.variances / unit / unit, 1.0)
    if not (np.isfinite(scores).all() and np.isfinite(variances).all()):
        return None
    cube = Cube(space)
    chosen = best_and_some(scores, MAX_POINTS, rng)
    points, scores = cube.points([finals.trials[i].params for i in chosen]), scores[chosen]
    center, width = scores.mean(), scores.std() + 1e-9
    targets, noise_of = (scores - center) / width, variances[chosen] / width**2
    process, noise = _fit(cube, points, targets, noise_of, rng)
    offset, scale = median + unit * center, unit * width
    return FinalsModel(cube, points, offset + scale * targets, process, noise, offset, scale, best)


def _fit(
    cube: Cube, points: Array, targets: Array, noise_of: Array, rng: np.random.Generator
) -> tuple[GaussianProcess, float]:
    # With scipy's optimizers, which the first trials needn't wait for.
    from hpsearch.samplers.gaussian_process import GaussianProcess, fit_hyperparameters

    features, groups = cube.features(points), cube.feature_groups
    some = best_and_some(targets, MAX_FIT_POINTS, rng)
    scales, noise = fit_hyperparameters(features[some], targets[some], noise_of[some], groups)
    return GaussianProcess(features, targets, noise + noise_of, scales, groups), noise
