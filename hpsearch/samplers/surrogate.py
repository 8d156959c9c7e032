"""The model of the default sampler: what results say of configurations that were not tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import compress
from operator import is_not
from typing import TYPE_CHECKING, Any

import numpy as np

from hpsearch.samplers.base import Direction, Observation
from hpsearch.samplers.feasibility import Feasibility
from hpsearch.samplers.forecast import Forecast, best_and_some, forecast
from hpsearch.samplers.trend import Trend
from hpsearch.samplers.unit_cube import Array, Cube
from hpsearch.spec import Scalar

if TYPE_CHECKING:
    from hpsearch.samplers.gaussian_process import GaussianProcess

#: points of the Gaussian process, and those that its hyperparameters are fitted on
MAX_POINTS = 80
MAX_FIT_POINTS = 40
#: sets the random numbers of a fit apart from those of suggestions
_STREAM = 1


class Results:
    """What the results of a search say, until there is a new one (`is_of`).

    Trials without a result take no part in it: all suggestions between two results share it, and
    so its surrogate, whose fit takes most of the time of a suggestion.
    """

    def __init__(
        self,
        observations: Sequence[Observation],
        rungs: Sequence[int],
        direction: Direction,
        trend: Trend,
        cube: Cube,
        seed: int,
    ) -> None:
        self._observations = list(observations)
        self._tried = {_configuration(trial.params) for trial in observations}
        self._trials = [trial for trial in observations if trial.has_result]
        self._trend, self._cube, self._seed = trend, cube, seed
        self._known = forecast(self._trials, rungs, direction)
        #: the weights of the trend; None while no model can be fitted
        self.weights = None if self._known is None else self._weights(self._known)

    def is_of(self, observations: Sequence[Observation]) -> bool:
        """Whether these observations have the same results.

        They are those of the last call and further ones, most as the same objects: a search has
        thousands of trials, of which few change from one suggestion to the next.
        """
        last, num_last = self._observations, len(self._observations)
        if len(observations) < num_last:
            return False
        changed = compress(zip(last, observations, strict=False), map(is_not, last, observations))
        new = observations[num_last:]
        if any(_key(a) != _key(b) for a, b in changed) or any(each.has_result for each in new):
            return False
        self._tried.update(_configuration(trial.params) for trial in new)
        self._observations = list(observations)
        return True

    def has_tried(self, params: Mapping[str, Scalar]) -> bool:
        """Whether a trial has this configuration."""
        return _configuration(params) in self._tried

    @cached_property
    def surrogate(self) -> Surrogate:
        """The model, fitted when it is first asked for."""
        assert self._known is not None
        assert self.weights is not None
        rng = np.random.default_rng((self._seed, len(self._trials), _STREAM))
        return Surrogate(self._cube, self._trend, self._known, self.weights, self._trials, rng)

    def _weights(self, known: Forecast) -> Array:
        """Return the weights of the trend, given what is known."""
        points = self._cube.points([trial.params for trial in known.trials])
        return self._trend.weights(points, known.scores, known.variances)


class Surrogate:
    """A Gaussian process over the forecasts of trials, above the trend."""

    def __init__(
        self,
        cube: Cube,
        trend: Trend,
        known: Forecast,
        weights: Array,
        trials: Sequence[Observation],
        rng: np.random.Generator,
    ) -> None:
        # With scipy's optimizers, which the first trials needn't wait for.
        from hpsearch.samplers.gaussian_process import fit_hyperparameters

        self._cube = cube
        chosen = best_and_some(known.scores, MAX_POINTS, rng)
        #: the trials' points, (num_points, num_parameters), and how far each breaks constraints
        self.points = cube.points([known.trials[i].params for i in chosen])
        self.violations = np.array([known.trials[i].violation for i in chosen])
        self.feasibility = Feasibility(cube, trials, rng)
        self._trend = trend.features(self.points) @ weights
        self._features = cube.features(self.points)
        self._targets = known.scores[chosen] - self._trend
        variances = known.variances[chosen]
        some = best_and_some(self._targets, MAX_FIT_POINTS, rng)
        self._scales, self._noise = fit_hyperparameters(
            self._features[some], self._targets[some], variances[some], cube.feature_groups
        )
        self._variances = self._noise + variances
        self._model = self._process(self._features, self._targets, self._variances)

    def means(self, model: GaussianProcess) -> Array:
        """Return the scores that a model expects at the trials' points, (num_points,)."""
        means: Array = model.predict(self._features)[0] + self._trend
        return means

    def with_pending(self, pending: Sequence[Observation]) -> GaussianProcess:
        """Return the model of trials and running ones, which score what it expects of them."""
        if not pending:
            return self._model
        features = self._cube.features(self._cube.points([trial.params for trial in pending]))
        return self._process(
            np.vstack([self._features, features]),
            np.append(self._targets, self._model.predict(features)[0]),
            np.append(self._variances, np.full(len(pending), self._noise)),
        )

    def _process(self, features: Array, targets: Array, noise: Array) -> GaussianProcess:
        from hpsearch.samplers.gaussian_process import GaussianProcess

        return GaussianProcess(features, targets, noise, self._scales, self._cube.feature_groups)


def _configuration(params: Mapping[str, Scalar]) -> frozenset[tuple[str, Scalar]]:
    return frozenset(params.items())


def _key(trial: Observation) -> tuple[Any, ...]:
    """Return all that `Results` reads of a trial: whether it still runs isn't in it."""
    return trial.number, trial.params, trial.curve, trial.margins, trial.state == "bad"
