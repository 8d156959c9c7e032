"""The disciplined plan: its phases, what each goes by, and that a record decides them again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hpsearch.errors import SpecError
from hpsearch.samplers import NotYetError, Observation
from hpsearch.samplers.disciplined import DisciplinedSampler
from hpsearch.spec import Scalar
from tests.support.sampling import space_of

SPACE: dict[str, Any] = {
    "lr": {"low": 1e-3, "high": 0.6, "log": True},
    "momentum": {"choices": [0.99, 0.9, 0.95]},
    "weight_decay": {"low": 1e-5, "high": 1e-2, "log": True},
}
RUNGS = (3, 9)
Params = dict[str, Scalar]


def plan_over(tree: dict[str, Any] | None = None) -> DisciplinedSampler:
    return DisciplinedSampler(space_of(tree or SPACE), "minimize", RUNGS)


def score(params: Params) -> float:
    """Least at a rate of 0.2, a momentum of 0.99 and a weight decay of 0.001."""
    lr, momentum, decay = (float(str(params[name])) for name in SPACE)
    return abs(lr - 0.2) + abs(momentum - 0.99) + abs(decay - 1e-3)


def observed(number: int, params: Params, state: Any = "finished") -> Observation:
    return Observation(number, params, {1: 9.0, 3: score(params), 9: 0.0}, state)


def run(sampler: DisciplinedSampler) -> list[Observation]:
    seen: list[Observation] = []
    while (params := sampler.suggest(len(seen), seen)) is not None:
        seen.append(observed(len(seen), params))
    return seen


def test_one_phase_after_the_other_each_beside_the_best_so_far() -> None:
    sampler = plan_over()
    seen = run(sampler)
    rates = [each.params["lr"] for each in seen]
    assert rates[:3] == [0.6, 0.2, 0.06] and set(rates[3:]) == {0.2}
    momenta = [each.params["momentum"] for each in seen]
    assert momenta == [0.95] * 3 + [0.9, 0.99] + [0.99] * 5
    decays = [each.params["weight_decay"] for each in seen]
    assert decays == [1e-4] * 5 + [1e-5, 1e-3, 1e-2, 0.000316, 0.00316]
    phases = sampler.phases(len(seen), seen)
    assert [each.name for each in phases] == ["lr", "momentum", "weight_decay", "weight_decay"]
    assert [each.chosen.value for each in phases] == [0.2, 0.99, 1e-3, 1e-3]
    assert [each.value for each in phases[1].tried] == [0.9, 0.95, 0.99]
    assert phases[-1].chosen.score == pytest.approx(score(seen[6].params))
    assert sampler.num_trials == len(seen)
    assert sampler.plan(len(seen), seen) == [each.params for each in seen]


def test_a_phase_waits_until_all_of_the_one_before_are_compared() -> None:
    sampler = plan_over()
    seen = run(sampler)[:3]
    begun = [*seen[:2], replace(seen[2], curve={1: 9.0, 2: 9.0}, state="running")]
    with pytest.raises(NotYetError):
        sampler.suggest(3, begun)
    assert sampler.phases(3, begun) == []
    with pytest.raises(NotYetError):
        sampler.suggest(3, [*seen[:2], replace(begun[2], curve={})])
    still_training = [replace(each, state="running") for each in seen]
    assert sampler.suggest(3, still_training) == {**seen[1].params, "momentum": 0.9}


def test_what_follows_is_decided_at_the_first_rung_whatever_comes_later() -> None:
    """So that a driver that begins again, and a check years later, decide the same."""
    sampler = plan_over()
    seen = run(sampler)
    for number in range(len(seen)):
        assert sampler.suggest(number, seen[:number]) == seen[number].params
        assert sampler.suggest(number, seen) == seen[number].params


def test_trials_that_failed_or_diverged_lose() -> None:
    sampler = plan_over()
    high, best, low = run(sampler)[:3]
    diverged = replace(best, curve={1: 9.0}, state="bad")
    for left in ([high, low], [high, diverged, low]):  # failed ones aren't shown to samplers
        following = sampler.suggest(3, left)
        assert following is not None and following["lr"] == low.params["lr"]
        assert sampler.phases(3, left)[0].tried[1].score is None
    nothing = sampler.suggest(3, [])
    assert nothing is not None and sampler.phases(3, [])[0].chosen.score is None


def test_a_prior_is_where_a_hyperparameter_begins() -> None:
    tree = {**SPACE, "momentum": {"low": 0.8, "high": 0.98, "prior": 0.9}}
    sampler = plan_over(tree)
    assert {each.params["momentum"] for each in run(sampler)[:3]} == {0.9}
    assert [each.params["momentum"] for each in run(sampler)[3:7]] == [0.8, 0.86, 0.92, 0.98]


def test_other_hyperparameters_are_refused() -> None:
    two = {"sgd": {"momentum": {"low": 0.1, "high": 0.9}}}
    with pytest.raises(SpecError) as caught:
        plan_over({**SPACE, **two, "width": {"choices": [64, 128]}})
    first, second = caught.value.problems
    assert first.path == "sgd.momentum" and "the only momentum" in first.rule
    assert second.path == "width" and "must be constant" in second.rule
