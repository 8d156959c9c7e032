"""What the tests of samplers share: small spaces, functions of them, and searches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hpsearch.samplers import Observation, Sampler, make_sampler
from hpsearch.samplers.history import History
from hpsearch.space import SearchSpace
from hpsearch.spec import Scalar, parse_tree

RUNGS = (1, 3, 9)
PLANE: dict[str, Any] = {"x": {"low": 0.0, "high": 1.0}, "y": {"low": 0.0, "high": 1.0}}
MIXED: dict[str, Any] = {
    "optimizer": {
        "choices": [
            {"name": "sgd", "lr": {"low": 1e-3, "high": 1.0, "log": True}, "steps": 2},
            {"name": "adam", "lr": {"low": 1e-5, "high": 0.1, "log": True}},
        ]
    },
    "sizes": {"choices": [[64], [64, 32]]},
    "depth": {"low": 1, "high": 9, "step": 2},
    "dropout": {"low": 0.0, "high": 0.5, "step": 0.1},
    "batch": {"low": 4, "high": 64, "powers_of_two": True},
}
Function = Callable[[Mapping[str, Scalar]], float]


def space_of(tree: dict[str, Any]) -> SearchSpace:
    return SearchSpace.from_sections({"space": parse_tree(tree, "", [])})


def sampler_of(
    name: str, tree: dict[str, Any], seed: int = 0, slots: int = 1, **keywords: Any
) -> Sampler:
    return make_sampler(
        {"name": name, **keywords},
        space_of(tree),
        seed=seed,
        direction="minimize",
        rungs=RUNGS,
        slots=slots,
    )


def distance_to(x: float, y: float) -> Function:
    """A function of the plane with its minimum, 0, at a point."""

    def squared_distance(params: Mapping[str, Scalar]) -> float:
        at_x, at_y = float(str(params["x"])), float(str(params["y"]))
        return (at_x - x) ** 2 + (at_y - y) ** 2

    return squared_distance


def search(sampler: Sampler, function: Function, num_trials: int) -> tuple[Observation, ...]:
    """The trials of one search without early stopping or concurrency."""
    trials: list[Observation] = []
    for number in range(num_trials):
        params = sampler.suggest(number, trials)
        assert params is not None
        trials.append(trained(number, params, function(params)))
    return tuple(trials)


def trained(number: int, params: Mapping[str, Scalar], value: float) -> Observation:
    return Observation(number, params, dict.fromkeys(range(1, 10), value), "finished")


def random_history(function: Function, seed: int, num_trials: int = 40) -> History:
    trials = search(sampler_of("random", PLANE, seed), function, num_trials)
    return History(trials, "minimize", RUNGS)
