"""What further trials would bring: a forecast of the improvement over the best complete trial.

A Gaussian process over the forecasts of all trials' final values, in units of the metric. The
further trials are those that Thompson sampling (Thompson, 1933) would choose from one half of the
posterior's samples; what they bring is read from the other half, the noise of single trainings
included: the best of many is a lucky one, too. Stopping by such a forecast is Makarova et al.,
"Automatic termination for hyperparameter optimization" (AutoML 2022).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpsearch.samplers.base import Direction, Observation, generator
from hpsearch.samplers.fidelity import score_at
from hpsearch.samplers.forecast import best_and_some, forecast_finals
from hpsearch.samplers.unit_cube import Array, Cube
from hpsearch.space import SearchSpace

#: trials that must have reached the first rung, and have been trained in full
MIN_TRIALS = 12
MIN_COMPLETE = 3
#: points of the Gaussian process, and those that its hyperparameters are fitted on
MAX_POINTS = 150
MAX_FIT_POINTS = 40
#: candidates for further trials: random ones, and neighbours of the best
NUM_RANDOM = 200
NUM_PARENTS = 5
NUM_NEIGHBOURS = 20
#: samples of the posterior, half of which choose trials
NUM_SAMPLES = 512
MAX_FURTHER = 128


@dataclass(frozen=True)
class Outlook:
    """The improvement that further trials would bring: samples, in units of the metric."""

    num_trials: int
    improvements: Array  # (num_samples,), none negative

    @property
    def expected(self) -> float:
        """The mean improvement."""
        return float(self.improvements.mean())

    def probability_below(self, improvement: float) -> float:
        """Return the probability that they improve the best by less."""
        return float((self.improvements < improvement).mean())


def outlook(
    observations: Sequence[Observation],
    space: SearchSpace,
    rungs: Sequence[int],
    direction: Direction,
    num_trials: int,
    seed: int,
) -> Outlook | None:
    """Return what this many further trials, and those that run, would bring.

    None while too few trials were trained in full to tell. A function of the observations alone.
    """
    complete = [score_at(t, rungs[-1], direction) for t in observations if t.state == "finished"]
    values = [value for value in complete if value is not None]
    finals = forecast_finals(observations, rungs, direction)
    if len(values) < MIN_COMPLETE or finals is None or len(finals.trials) < MIN_TRIALS:
        return None
    best, rng = max(values), generator(seed, len(observations))
    # What is far below the median says only that it is.
    median = float(np.median(finals.scores))
    scale = max(best - median, 1e-12)
    scores = np.maximum((finals.scores - median) / scale, -1.5)
    variances = np.minimum(finals.variances / scale**2, 1.0)
    open_trials = [trial.params for trial in observations if trial.state == "running"]
    cube = Cube(space)
    chosen = best_and_some(scores, MAX_POINTS, rng)
    points = cube.points([finals.trials[i].params for i in chosen])
    samples = _posterior(
        cube, points, scores[chosen], variances[chosen], cube.points(open_trials), rng
    )
    further = _further(samples, num_trials, len(open_trials))
    found = samples[NUM_SAMPLES // 2 :, further].max(axis=1, initial=-np.inf)
    above = np.maximum(found - (best - median) / scale, 0.0) * scale
    return Outlook(num_trials, above)


def _posterior(
    cube: Cube,
    points: Array,
    scores: Array,
    variances: Array,
    running: Array,
    rng: np.random.Generator,
) -> Array:
    """Return samples of the final scores of candidates, (num_samples, num_candidates): those that
    run come first."""
    # With scipy's optimizers, which the first trials needn't wait for.
    from hpsearch.samplers.gaussian_process import GaussianProcess, fit_hyperparameters

    center, width = scores.mean(), scores.std() + 1e-9
    targets, noise_of = (scores - center) / width, variances / width**2
    features, groups = cube.features(points), cube.feature_groups
    some = best_and_some(targets, MAX_FIT_POINTS, rng)
    scales, noise = fit_hyperparameters(features[some], targets[some], noise_of[some], groups)
    model = GaussianProcess(features, targets, noise + noise_of, scales, groups)
    parents = points[np.argsort(-targets, kind="stable")[:NUM_PARENTS]]
    anywhere = cube.snap(rng.random((NUM_RANDOM, cube.size)))
    candidates = np.vstack([running, parents, anywhere, _neighbours(cube, parents, rng)])
    samples = model.samples(cube.features(candidates), NUM_SAMPLES, rng)
    samples += math.sqrt(noise) * rng.standard_normal(samples.shape)
    scaled: Array = center + width * samples
    return scaled


def _neighbours(cube: Cube, parents: Array, rng: np.random.Generator) -> Array:
    points = np.repeat(parents, NUM_NEIGHBOURS, axis=0)
    points = np.where(np.isnan(points), rng.random(points.shape), points)
    steps = 10.0 ** rng.uniform(-2.0, -0.5, (len(points), 1))
    moved = np.clip(points + steps * rng.standard_normal(points.shape), 0.0, 1.0)
    return cube.snap(np.where(cube.is_categorical, points, moved))


def _further(samples: Array, num_trials: int, num_running: int) -> list[int]:
    """Return the candidates that would be trained: those that run, and the next ones."""
    num = max(1, min(num_trials, MAX_FURTHER, NUM_SAMPLES // 2))
    picked = samples[:num].argmax(axis=1).tolist()
    return sorted({*range(num_running), *picked})
