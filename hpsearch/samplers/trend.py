"""What is expected of configurations beforehand: a trend that results confirm or refute.

Its parts are the priors that users give, and models of earlier searches. The weight of each is
that of a linear model with a prior of its own: results that agree with a part raise its weight,
those that speak against it bring it to 0, never below, and many results speak for themselves.
"""

from __future__ import annotations

import numpy as np

from hpsearch.samplers.earlier_models import EarlierModels
from hpsearch.samplers.priors import Priors
from hpsearch.samplers.unit_cube import Array

#: scored trials after which a trend counts less and less, as their number grows (β of πBO)
FADING = 50
#: expected gain in score for one standard deviation of the mean of all earlier models
GAIN = 0.7


class Trend:
    """A linear model of scores, over what priors and earlier searches expect."""

    def __init__(self, priors: Priors, models: EarlierModels) -> None:
        self._priors, self._models = priors, models
        self._num_priors = len(priors.expected)
        num_models, share = len(models), GAIN / max(1, len(models))
        #: the weights that are expected, priors first, and 1 / their deviations
        self.expected = np.append(priors.expected, np.full(num_models, share))
        spread = np.append(priors.expected, np.full(num_models, share * num_models**0.5))
        self._certainty = 1.0 / spread

    def features(self, points: Array) -> Array:
        """Return how well snapped points agree with each part, (num_points, num_parts)."""
        return np.hstack([self._priors.features(points), self._models.features(points)])

    def weights(self, points: Array, scores: Array, noise: Array) -> Array:
        """Return the weights (num_parts,) that are likeliest, given normal scores of points.

        Where the earlier models lie on average over the points says nothing of agreement.
        """
        if not len(self.expected):
            return self.expected
        # With scipy's optimizers, which the first trials needn't wait for.
        from scipy.optimize import nnls

        features = self.features(points)
        features[:, self._num_priors :] -= features[:, self._num_priors :].mean(axis=0)
        certainty = np.sqrt(1.0 / (1.0 + noise))
        rows = np.vstack([features * certainty[:, None], np.diag(self._certainty)])
        targets = np.append(scores * certainty, self._certainty * self.expected)
        found, _ = nnls(rows, targets)
        weights: Array = found * min(1.0, FADING / max(1, len(scores)))
        return weights

    def trust(self, weights: Array | None) -> float:
        """Return the share of the expected weights that results leave to the priors."""
        expected = self.expected[: self._num_priors]
        if weights is None or not len(expected):
            return 1.0
        return float(np.minimum(weights[: self._num_priors] / expected, 1.0).mean())
