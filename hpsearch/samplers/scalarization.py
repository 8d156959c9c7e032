"""Several objectives, and constraints, as one number, for samplers that maximise one.

Each suggestion has its own weights of the objectives, so that suggestions spread over the Pareto
front (ParEGO; Knowles, 2006). Objectives have the unit of the front's extent at each rung, from
the ideal to the nadir point: outliers, and where most trials are, don't change it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hpsearch.pareto import Standing, pareto_front
from hpsearch.samplers.base import Direction, Observation, Sampler
from hpsearch.samplers.fidelity import value_at
from hpsearch.samplers.unit_cube import Array
from hpsearch.spec import Scalar, sign_of

#: weight of the sum beside the maximum (Knowles, 2006, eq. 2)
SUM_WEIGHT = 0.05
#: sets the weights' random numbers apart from the sampler's
_STREAM = 1


class Scalarized:
    """A sampler that maximises one number, over trials of several objectives or constraints.

    With `penalizes` a trial that breaks constraints is worse than all others of its rung.
    """

    def __init__(
        self,
        sampler: Sampler,
        seed: int,
        directions: Sequence[Direction],
        rungs: Sequence[int],
        penalizes: bool,
    ) -> None:
        self._sampler = sampler
        self._seed = seed
        self._signs = [sign_of(each) for each in directions]
        self._rungs = rungs
        self._penalizes = penalizes

    def suggest(
        self, number: int, observations: Sequence[Observation]
    ) -> dict[str, Scalar] | None:
        """See Sampler."""
        rng = np.random.default_rng((self._seed, number % 2**64, _STREAM))
        weights = rng.dirichlet(np.ones(len(self._signs)))
        curves: list[dict[int, float]] = [{} for _ in observations]
        for rung in self._rungs:
            found = ((i, self._scores(each, rung)) for i, each in enumerate(observations))
            scores = {i: each for i, each in found if each is not None}
            if scores:
                reached = list(scores)
                values = self._values(np.array([*scores.values()]), weights)
                if self._penalizes:
                    values = _penalized(values, [observations[i] for i in reached])
                for index, value in zip(reached, values, strict=True):
                    curves[index][rung] = float(value)
        scalar = [
            replace(each, curve=curve, others=())
            for each, curve in zip(observations, curves, strict=True)
        ]
        return self._sampler.suggest(number, scalar)

    def _scores(self, trial: Observation, rung: int) -> list[float] | None:
        """Return what a trial has of all objectives at a rung, more is better."""
        scores = []
        for curve, sign in zip((trial.curve, *trial.others), self._signs, strict=True):
            if (value := value_at(curve, rung)) is None:
                return None
            scores.append(sign * value)
        return scores

    def _values(self, scores: Array, weights: Array) -> Array:
        """Return one number a trial, more is better, from scores (num_trials, num_objectives)."""
        if scores.shape[1] == 1:
            return scores[:, 0]
        costs = weights * _costs(scores)
        values: Array = -(costs.max(axis=1) + SUM_WEIGHT * costs.sum(axis=1))
        return values


def _costs(scores: Array) -> Array:
    """Return costs, 0 at the best of each objective and 1 at the worst of the front."""
    front = scores[pareto_front([Standing(tuple(row)) for row in scores])]
    ideal, nadir = front.max(axis=0), front.min(axis=0)
    spread = np.where(ideal > nadir, ideal - nadir, np.ptp(scores, axis=0))
    costs: Array = (ideal - scores) / np.where(spread > 0, spread, 1.0)
    return costs


def _penalized(values: Array, trials: Sequence[Observation]) -> Array:
    violations = np.array([each.violation for each in trials])
    spread = float(np.ptp(values)) or 1.0
    share = np.minimum(violations, 1e9) / (1.0 + np.minimum(violations, 1e9))
    below: Array = values.min() - spread * (0.5 + share)
    return np.where(violations > 0, below, values)
