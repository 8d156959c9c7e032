"""Samplers on several objectives and under constraints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from hpsearch.errors import UserCodeError
from hpsearch.pareto import Standing, pareto_front
from hpsearch.samplers import Observation, Sampler, make_sampler
from hpsearch.spec import Scalar
from tests.support.sampling import PLANE, RUNGS, space_of

Values = Callable[[Mapping[str, Scalar]], tuple[float, ...]]
SPREAD = 0.1


def sampler_of(name: str, **keywords: Any) -> Sampler:
    return make_sampler(
        {"name": name}, space_of(PLANE), direction="minimize", rungs=RUNGS, slots=1, **keywords
    )


def search(
    sampler: Sampler, values: Values, margins: Values | None, num_trials: int
) -> list[Observation]:
    trials: list[Observation] = []
    for number in range(num_trials):
        params = sampler.suggest(number, trials)
        assert params is not None
        first, *others = [dict.fromkeys(range(1, 10), value) for value in values(params)]
        within = margins(params) if margins is not None else ()
        trials.append(Observation(number, params, first, "finished", tuple(others), within))
    return trials


def two_distances(params: Mapping[str, Scalar]) -> tuple[float, float]:
    """The squared distances to (0, 0.5) and to (1, 0.5): the front is the line between them."""
    x, y = float(str(params["x"])), float(str(params["y"]))
    return x**2 + (y - 0.5) ** 2, (x - 1) ** 2 + (y - 0.5) ** 2


def hypervolume(trials: list[Observation]) -> float:
    """The area that the front dominates below (1, 1) (Zitzler & Thiele, 1999)."""
    points = [(trial.curve[9], trial.others[0][9]) for trial in trials]
    inside = sorted(point for point in points if max(point) < 1)
    area, above = 0.0, 1.0
    for first, second in inside:
        area += (1 - first) * max(above - second, 0.0)
        above = min(above, second)
    return area


def test_a_model_covers_the_front() -> None:
    def covered(name: str, seed: int) -> float:
        sampler = sampler_of(name, seed=seed, others=["minimize"])
        return hypervolume(search(sampler, two_distances, None, 40))

    by_model, at_random = (
        sum(covered(name, seed) for seed in range(3)) / 3 for name in ("auto", "random")
    )
    best = 5 / 6  # the area below the curve of the whole front
    assert best - by_model < 0.8 * (best - at_random)


def test_suggestions_spread_over_the_front() -> None:
    trials = search(sampler_of("auto", seed=0, others=["minimize"]), two_distances, None, 40)
    scores = [Standing((-trial.curve[9], -trial.others[0][9])) for trial in trials]
    places = sorted(float(str(trials[i].params["x"])) for i in pareto_front(scores))
    assert places[0] < SPREAD and places[-1] > 1 - SPREAD
    assert max(b - a for a, b in zip(places, places[1:], strict=False)) < 3 * SPREAD


@pytest.mark.parametrize("name", ["auto", "tpe"])
def test_what_breaks_a_constraint_is_avoided(name: str) -> None:
    """The objective is best at x = 0, and x must be at least 0.6."""
    trials = search(
        sampler_of(name, seed=0, is_constrained=True),
        lambda params: (float(str(params["x"])),),
        lambda params: ((float(str(params["x"])) - 0.6) / 0.6,),
        40,
    )
    late = sorted(trial.margins[0] for trial in trials[20:])
    assert late[len(late) // 2] > -0.02  # at random it would be -0.17
    assert min(trial.curve[9] for trial in trials if trial.violation == 0.0) < 0.62


def test_a_space_where_nothing_keeps_the_constraint_yet_is_searched_for_what_does() -> None:
    trials = search(
        sampler_of("auto", seed=0, is_constrained=True),
        lambda params: (0.0,),
        lambda params: (0.05 - two_distances(params)[1],),  # near (1, 0.5)
        40,
    )
    assert sum(trial.violation == 0.0 for trial in trials) > 12  # at random it would be 3


def test_a_suggestion_follows_from_the_observations_alone() -> None:
    trials = search(sampler_of("auto", seed=3, others=["minimize"]), two_distances, None, 15)
    again = sampler_of("auto", seed=3, others=["minimize"]).suggest(14, trials[:14])
    assert again == trials[14].params


def test_a_sampler_of_one_objective_is_refused() -> None:
    with pytest.raises(UserCodeError, match="with several objectives must be one of auto, .*tpe"):
        sampler_of("cmaes", seed=0, others=["minimize"])
