"""A portfolio: a few configurations, at least one of which did well in each earlier search.

It is chosen greedily (Wistuba et al., ICDM 2015; Feurer et al., "Auto-sklearn 2.0", JMLR 2022):
each new member is the one that most reduces the regret of the best member so far, on average
over the searches.
A configuration has a result in one search only, so its regret in the others is predicted by a
Gaussian process fitted on the forecasts of that search. Far from the tried configurations its
prediction is the mean, so that a search says nothing about regions that it hasn't explored.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hpsearch.samplers.forecast import Forecast
from hpsearch.samplers.gaussian_process import squared_distances
from hpsearch.samplers.history import History, features_of, fitted, scored
from hpsearch.samplers.unit_cube import Array, Cube
from hpsearch.space import SearchSpace
from hpsearch.spec import Scalar

#: trials of a search: those that may become members, that a model has, that it is fitted on
MAX_CANDIDATES = 100
MAX_POINTS = 200
MAX_FIT_POINTS = 60
#: mean regret that a new member must save, or each search's best is as good as reached
MIN_GAIN = 0.01
#: members differ by this distance times the root of the number of parameters: a quarter of the
#: usual distance of two random points
MIN_DISTANCE = 0.1


def portfolio(
    histories: Sequence[History], space: SearchSpace, size: int = 10
) -> list[dict[str, Scalar]]:
    """Return at most `size` configurations, each of an earlier trial, the most useful first.

    Each is better than the median trial of at least one search, and no two are equal.
    """
    cube = Cube(space)
    known = [scored(history) for history in histories]
    candidates: list[dict[str, Scalar]] = []
    for search in known:
        new = (dict(search.trials[i].params) for i in _candidates(search))
        candidates += [params for params in new if params not in candidates]
    if not candidates or not cube.size:
        return []
    features = cube.features(cube.points(candidates))
    regrets = np.stack([_regrets(search, cube, features) for search in known])
    chosen = _choose(regrets, features, size, MIN_DISTANCE * cube.size**0.5)
    return [candidates[i] for i in chosen]


def _candidates(known: Forecast) -> list[int]:
    best_first = np.argsort(-known.scores, kind="stable")
    usable = [int(i) for i in best_first if known.trials[i].state != "bad"]
    return usable[:MAX_CANDIDATES]


def _regrets(known: Forecast, cube: Cube, features: Array) -> Array:
    """Return the expected regret of candidates in one search, (num_candidates,).

    0 is the best prediction for any trial, 1 that for the median trial or worse.
    """
    model = fitted(known, cube, MAX_POINTS, MAX_FIT_POINTS)
    best, median = model.mean(features_of(known, cube)).max(), np.median(known.scores)
    means = model.mean(features)
    regrets: Array = np.clip((best - means) / max(best - median, 1e-9), 0.0, 1.0)
    return regrets


def _choose(regrets: Array, features: Array, size: int, min_distance: float) -> list[int]:
    """Return indices of candidates, from regrets (num_searches, num_candidates).

    Once the best of every search is included, another round begins with the rest: the second
    best may do better in the new search.
    """
    chosen: list[int] = []
    nothing = np.ones((len(regrets), 1))  # the median trial, which needs no portfolio
    reached, is_left = nothing, np.ones(regrets.shape[1], bool)
    while len(chosen) < size:
        gains = np.where(is_left, np.maximum(reached - regrets, 0.0).mean(axis=0), 0.0)
        best = int(np.argmax(gains))
        if gains[best] < MIN_GAIN:
            if reached is nothing:
                break
            reached = nothing
            continue
        chosen.append(best)
        reached = np.minimum(reached, regrets[:, [best]])
        is_left &= squared_distances(features, features[[best]])[:, 0] >= min_distance**2
    return chosen
