"""Portfolios: the few configurations that did well across earlier searches."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from hpsearch.samplers import Observation
from hpsearch.samplers.history import History
from hpsearch.samplers.portfolio import portfolio
from hpsearch.spec import Scalar
from tests.support.sampling import (
    MIXED,
    PLANE,
    RUNGS,
    distance_to,
    random_history,
    sampler_of,
    search,
    space_of,
    trained,
)


def test_holds_the_best_of_searches_that_differ() -> None:
    functions = [distance_to(0.2, 0.2), distance_to(0.8, 0.7)]
    histories = [random_history(f, seed) for seed, f in enumerate(functions)]
    first_two = portfolio(histories, space_of(PLANE))[:2]
    for function in functions:
        assert min(map(function, first_two)) < 0.15**2


def test_of_one_search_is_its_best_and_no_copies_of_it() -> None:
    function = distance_to(0.3, 0.7)
    history = random_history(function, seed=0, num_trials=80)
    points = portfolio([history], space_of(PLANE), size=5)
    values = [trial.curve[9] for trial in history.trials]
    assert len(points) == 5
    assert sorted(values).index(function(points[0])) <= 3  # the model's best may be another
    assert max(map(function, points)) < np.median(values)
    places = np.array([list(point.values()) for point in points], float)
    for i, place in enumerate(places):
        assert np.linalg.norm(places[:i] - place, axis=1).min(initial=1.0) > 0.14


def test_stops_where_a_search_knows_nothing_better_than_its_median() -> None:
    function = distance_to(0.3, 0.7)
    history = random_history(function, seed=0)
    median = np.median([trial.curve[9] for trial in history.trials])
    points = portfolio([history], space_of(PLANE), size=40)
    assert 5 < len(points) < 25
    assert np.mean([function(point) < 1.5 * median for point in points]) == 1.0


def test_goes_by_each_searchs_own_direction() -> None:
    function = distance_to(0.3, 0.7)
    history = random_history(function, seed=0)
    mirrored = History(
        tuple(trained(t.number, t.params, -t.curve[9]) for t in history.trials),
        "maximize",
        RUNGS,
    )
    assert portfolio([mirrored], space_of(PLANE)) == portfolio([history], space_of(PLANE))


def test_goes_by_what_early_stopped_trials_would_have_reached() -> None:
    """Nine epochs tell what one epoch didn't: that the left half is worse."""
    rng = np.random.default_rng(0)
    trials = []
    for number in range(40):
        params = {"x": float(rng.random()), "y": 0.5}
        curve = {1: 1.0 + 0.01 * rng.random()}
        if number % 2:
            curve |= dict.fromkeys(range(2, 10), abs(params["x"] - 0.75))
        trials.append(Observation(number, params, curve, "finished"))
    point = portfolio([History(tuple(trials), "minimize", RUNGS)], space_of(PLANE))[0]
    assert abs(float(str(point["x"])) - 0.75) < 0.1


def test_holds_no_bad_configuration() -> None:
    trials = [trained(i, {"x": 0.1 * i, "y": 0.5}, 0.1 * i) for i in range(10)]
    bad = [Observation(10 + i, {"x": 0.01 * i, "y": 0.5}, {}, "bad") for i in range(10)]
    points = portfolio([History((*trials, *bad), "minimize", RUNGS)], space_of(PLANE))
    assert points
    assert all(point in [trial.params for trial in trials] for point in points)


@pytest.mark.parametrize("num_trials", [1, 2, 5])
def test_of_too_few_trials_for_a_model_has_the_best(num_trials: int) -> None:
    trials = tuple(
        trained(i, {"x": 0.9 - 0.2 * i, "y": 0.5}, 1.0 - 0.1 * i) for i in range(num_trials)
    )
    points = portfolio([History(trials, "minimize", RUNGS)], space_of(PLANE), size=3)
    assert points[0] == trials[-1].params


def test_of_nothing_is_nothing() -> None:
    bad = Observation(0, {"x": 0.5, "y": 0.5}, {}, "bad")
    assert portfolio([], space_of(PLANE)) == []
    assert portfolio([History((bad,), "minimize", RUNGS)], space_of(PLANE)) == []
    assert portfolio([History((trained(0, {}, 1.0),), "minimize", RUNGS)], space_of({})) == []


def test_takes_conditional_spaces() -> None:
    """One search did well with Adam, the other with SGD."""
    space, histories = space_of(MIXED), []
    for liked in ("adam", "sgd"):

        def function(params: Mapping[str, Scalar], liked: str = liked) -> float:
            return float(params["optimizer"] != liked) + 0.1 * float(str(params["dropout"]))

        trials = search(sampler_of("random", MIXED), function, 40)
        histories.append(History(trials, "minimize", RUNGS))
    points = portfolio(histories, space, size=6)
    assert {point["optimizer"] for point in points[:2]} == {"adam", "sgd"}
    for point in points:
        assert list(point) == [parameter.name for parameter in space.active(point)]
