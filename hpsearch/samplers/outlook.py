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
from hpsearch.samplers.finals import FinalsModel, fit_finals
from hpsearch.samplers.unit_cube import Array, Cube
from hpsearch.space import SearchSpace

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
    rng = generator(seed, len(observations))
    model = fit_finals(observations, space, rungs, direction, rng)
    if model is None:
        return None
    open_trials = [trial.params for trial in observations if trial.state == "running"]
    samples = _posterior(model, model.cube.points(open_trials), rng)
    further = _further(samples, num_trials, len(open_trials))
    found = samples[NUM_SAMPLES // 2 :, further].max(axis=1, initial=-np.inf)
    return Outlook(num_trials, np.maximum(model.offset + model.scale * found - model.best, 0.0))


def _posterior(model: FinalsModel, running: Array, rng: np.random.Generator) -> Array:
    """Return samples of candidates' finals, (num_samples, num_candidates), in units of the
    process: those that run come first."""
    cube = model.cube
    parents = model.points[np.argsort(-model.scores, kind="stable")[:NUM_PARENTS]]
    anywhere = cube.snap(rng.random((NUM_RANDOM, cube.size)))
    candidates = np.vstack([running, parents, anywhere, _neighbours(cube, parents, rng)])
    samples = model.process.samples(cube.features(candidates), NUM_SAMPLES, rng)
    samples += math.sqrt(model.noise) * rng.standard_normal(samples.shape)
    return samples


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
