"""What samplers make of priors: where they begin, and how fast a wrong one is dropped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.priors import cost_of
from hpsearch.samplers import Observation
from hpsearch.samplers.earlier_models import EarlierModels
from hpsearch.samplers.priors import Priors
from hpsearch.samplers.trend import Trend
from hpsearch.samplers.unit_cube import Array, Cube
from hpsearch.spec import Scalar
from tests.support.sampling import distance_to, sampler_of, search, space_of, trained

AT: dict[str, Any] = {"confidence": "high"}
UNKNOWN: dict[str, Any] = {
    "lr": {"low": 1e-5, "high": 0.1, "log": True},
    "depth": {"low": 1, "high": 64, "log": True},
    "width": {"low": 0, "high": 100, "step": 5},
    "kind": {"choices": ["a", "b", "c", "d"]},
}
GUESS: dict[str, Scalar] = {"lr": 1e-2, "depth": 3, "width": 80, "kind": "c"}
GUESSED = {name: {**UNKNOWN[name], "prior": GUESS[name], **AT} for name in UNKNOWN}


def plane(x: float, y: float) -> dict[str, Any]:
    ends = {"low": 0.0, "high": 1.0}
    return {"x": {**ends, "prior": x}, "y": {**ends, "prior": y}}


def distances(name: str, tree: dict[str, Any], num: int = 40) -> Array:
    """How far the first trials are from the guess: mean distance in units of the ranges."""
    cube, sampler = Cube(space_of(tree)), sampler_of(name, tree)
    tried = [sampler.suggest(number, []) or {} for number in range(num)]
    away = np.abs(cube.points(tried) - cube.point(GUESS))
    away[:, 3] = away[:, 3] > 0
    distance: Array = away.mean(axis=0)
    return distance


@pytest.mark.parametrize("name", ["auto", "cmaes", "gp", "nsga2", "qmc", "random", "tpe"])
def test_first_trials_are_nearer_to_each_prior(name: str) -> None:
    assert (distances(name, GUESSED) < 0.85 * distances(name, UNKNOWN)).all()


@pytest.mark.parametrize("name", ["auto", "qmc", "random"])
def test_the_rest_of_the_space_is_tried_too(name: str) -> None:
    sampler = sampler_of(name, GUESSED)
    tried = [sampler.suggest(number, []) or {} for number in range(60)]
    assert {params["kind"] for params in tried} == {"a", "b", "c", "d"}
    assert min(float(str(params["lr"])) for params in tried) < 1e-4


def test_a_grid_begins_with_the_cell_of_the_priors_and_has_all() -> None:
    sgd = {"name": "sgd", "steps": {"low": 1, "high": 3, "prior": 2}}
    tree = {
        "optimizer": {"choices": ["adam", sgd], "prior": "sgd"},
        "rate": {"low": 0.0, "high": 0.2, "step": 0.1, "prior": 0.1},
    }
    sampler = sampler_of("grid", tree)
    cells = [sampler.suggest(number, []) for number in range(13)]
    assert cells[0] == {"optimizer": "sgd", "optimizer.sgd.steps": 2, "rate": 0.1}
    assert len({str(cell) for cell in cells[:12]}) == 12 and cells[12] is None


def test_confidence_narrows() -> None:
    def spread(confidence: str) -> float:
        tree = {"x": {"low": 0.0, "high": 1.0, "prior": 0.4, "confidence": confidence}}
        moved = Priors(Cube(space_of(tree))).moved(np.linspace(0.0, 1.0, 1001)[:, None])
        assert moved.min() >= 0.0 and moved.max() <= 1.0
        return float(np.abs(moved - 0.4).mean())

    assert spread("high") < 0.7 * spread("medium") < 0.6 * spread("low")


def test_a_prior_of_choices_has_its_odds() -> None:
    tree = {"kind": {"choices": ["a", "b", "c"], "prior": "b", "confidence": "medium"}}
    moved = Priors(Cube(space_of(tree))).moved(np.linspace(0.0, 0.9999, 6000)[:, None])
    shares = np.bincount((moved[:, 0] * 3).astype(int), minlength=3) / 6000
    assert shares == pytest.approx([1 / 6, 4 / 6, 1 / 6], abs=0.01)


def test_what_does_not_exist_says_nothing_of_a_prior() -> None:
    adam = {"name": "adam", "lr": {"low": 0.0, "high": 1.0, "prior": 0.5}}
    cube = Cube(space_of({"optimizer": {"choices": ["sgd", adam]}}))
    points = cube.points([{"optimizer": "sgd"}, {"optimizer": "adam", "optimizer.adam.lr": 0.5}])
    features = Priors(cube).features(points)
    assert features[0] == 0.0 < features[1]


def test_trials_confirm_or_refute_a_prior() -> None:
    """A parameter by itself: one is right, the other isn't."""
    cube = Cube(space_of(plane(0.2, 0.2)))
    priors, rng = Priors(cube), np.random.default_rng(0)
    points = rng.random((60, 2))
    scores = -np.abs(points[:, 0] - 0.2) - np.abs(points[:, 1] - 0.9)
    scores = (scores - scores.mean()) / scores.std()
    trend = Trend(priors, EarlierModels((), cube))
    right, wrong = trend.weights(points, scores, np.zeros(60))
    assert right > 0.5 * trend.expected[0] > wrong == 0.0


def test_a_good_guess_finds_more_and_a_wrong_one_costs_little() -> None:
    function = distance_to(0.3, 0.7)

    def best(tree: dict[str, Any], num: int) -> float:
        tried = [search(sampler_of("auto", tree, seed), function, num) for seed in range(4)]
        return float(np.mean([min(trial.curve[9] for trial in trials) for trials in tried]))

    unknown = {"x": {"low": 0.0, "high": 1.0}, "y": {"low": 0.0, "high": 1.0}}
    assert best(plane(0.35, 0.65), 10) < 0.5 * best(unknown, 10)
    assert best(plane(0.95, 0.05), 40) < 0.002


def test_the_cost_of_a_guess_is_the_delay_in_percent_of_the_budget() -> None:
    falling = np.tile(np.linspace(1.0, 0.0, 100), (3, 1))
    later = np.hstack([np.ones((3, 10)), falling[:, :-10]])
    assert cost_of(falling, falling) == 0.0
    assert 9.0 < cost_of(falling, later) < 10.0  # less where the budget ends before
    assert -10.0 < cost_of(later, falling) < -8.0
    assert cost_of(falling, np.ones((3, 100))) == pytest.approx(45.0)  # never


def test_without_priors_suggestions_are_those_of_before() -> None:
    """Records of earlier versions continue as they would have."""
    tree = {"x": {"low": 0.0, "high": 1.0}, "y": {"choices": ["a", "b"]}}
    known: list[Observation] = []
    for number in range(14):
        params = sampler_of("random", tree).suggest(number, known) or {}
        known.append(trained(number, params, float(str(params["x"]))))
    drawn = sampler_of("auto", tree).suggest(19, known) or {}
    assert drawn == {"x": 0.5925109310609795, "y": "a"}
    modelled = sampler_of("auto", tree).suggest(14, known) or {}
    assert modelled == {"x": pytest.approx(0.0013506, rel=0.01), "y": "b"}
