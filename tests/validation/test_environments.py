"""Specs of agents: what they need, and what has no meaning for them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from hpsearch.schema import json_schema
from hpsearch.spec import draft_spec
from hpsearch.validation import check_spec
from tests.support.problems import problems_of

GOOD: dict[str, Any] = {
    "name": "pole",
    "objective": {"metric": "val_return"},
    "environment": {"id": "CartPole-v1"},
    "agent": {"choices": [{"name": "dqn", "gamma": {"low": 0.9, "high": 0.99}}]},
    "model": {"choices": [{"name": "mlp", "hidden_sizes": [8]}, {"name": "perceptron"}]},
    "optimizer": {"name": "adam", "lr": {"low": 1e-4, "high": 1e-2, "log": True}},
}
UNLIKE = "tests.support.environments:unlike"
TABLE = {key: GOOD[key] for key in ("name", "objective")} | {
    "environment": {"id": "FrozenLake-v1"},
    "agent": {"name": "q_table", "lr": {"low": 0.1, "high": 1.0}},
}
POLICY = {
    **GOOD,
    "model": {"name": "mlp", "hidden_sizes": [8]},
    "agent": {"choices": ["a2c", {"name": "ppo", "n_steps": 64}]},
    "batch_size": 32,
}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"dataset": "wine"}, "dataset: must not be given with environment: an agent learns from no"),
    ({"augmentations": ["mixup"]}, "augmentations: must not be given with environment: an agent"),
    ({"task": "classification"}, "task: must not be given with environment: an agent"),
    ({"stages": [{"epochs": 1}]}, "stages: must not be given with environment: an agent"),
    ({"accumulate": 2}, "accumulate: must not be given with environment: an agent learns from"),
    ({"fuse": 4}, "fuse: must be auto or off with environment: each agent acts in its own"),
    ({"compile": True}, "compile: must not be given with environment"),
    ({"precision": "bf16"}, "precision: must not be given with environment"),
    ({"search": {"lr": "auto"}}, "search.lr: must not be given with environment: range tests"),
    ({"agent": None}, "agent: must be given with environment: what learns to act in it"),
    (
        {"agent": "dqnn"},
        "agent.name: must be one of a2c, dqn, ppo, q_table, reinforce, or yours as "
        "module:factory, but got 'dqnn'",
    ),
    ({"agent": {"name": "dqn", "gamma": 2}}, "agent.gamma: must be"),
    ({"agent": {"name": "dqn", "networks": 1}}, "agent.networks: must not be given"),
    ({"model": None}, "model: must be given: the agent learns a net"),
    ({"model": {"name": "cnn"}}, "model: cnn needs images of the shape (channels, height, width)"),
    (
        {"optimizer": {"name": "backstitch", "lr": 0.1}},
        "optimizer.name: must be an optimizer that",
    ),
    ({"batch_size": "full"}, "batch_size: must be a number of transitions, but got 'full'"),
    ({"objective": {"metric": "val_accuracy"}}, "objective.metric: must be a metric that every"),
    ({"objective": {"metric": "train_return"}}, "objective.metric: must be a metric that every"),
    ({"environment": {"id": "CartPole-v8"}}, "environment.id: must be the id of an environment"),
    ({"environment": {"epoch_steps": 5}}, "environment.id: must be given"),
    (
        {"environment": "CartPole-v1"},
        "environment.name: must be one of gymnasium, or yours as module:factory, but got "
        "'CartPole-v1'; an environment of gymnasium is {name: gymnasium, id: CartPole-v1}",
    ),
    (
        {"batch_size": {"choices": [32, 9000]}, "agent": {"name": "dqn", "buffer_size": 8000}},
        "batch_size: must be at most the transitions that the agent keeps (agent.buffer_size: 8,0",
    ),
    (
        {"environment": {"id": {"choices": ["CartPole-v1", "Acrobot-v1"]}}},
        "environment.id: must be a constant, the same for all trials",
    ),
    (
        {"environment": {"id": "CartPole-v1", "options": {"gravity": 1}}},
        "environment.options: must be options of CartPole-v1 (",
    ),
    (
        {"environment": {"id": "Pendulum-v1"}},
        "environment.name: must have a finite number of actions (gymnasium's Discrete) for this",
    ),
    (
        {"agent": {"name": "reinforce", "episodes": 27_001}},
        "agent.episodes: must be at most the 27,000 steps of a trial (environment.epoch",
    ),
    (
        {"agent": {"name": "dqn", "learning_starts": {"low": 28_000, "high": 90_000}}},
        "agent.learning_starts: must be at most the 27,000 steps of a trial (environment.epoch",
    ),
    (
        {
            "environment": {"name": "tests.support.environments:unbounded"},
            "agent": "a2c",
            "model": {"name": "mlp", "hidden_sizes": [8]},
        },
        "environment.name: must have actions with numbers or bounds (gymnasium's Discrete, Box)",
    ),
    (
        {"environment": {"name": "tests.support.environments:switches"}},
        "environment.name: must have actions with numbers or bounds (gymnasium's Discrete, Box)",
    ),
    (
        {"agent": {"name": "ppo", "n_steps": {"low": 28_000, "high": 90_000}}},
        "agent.n_steps: must be at most the 27,000 steps of a trial (environment.epoch",
    ),
    (
        {"batch_size": 128, "agent": {"name": "ppo", "n_steps": 100}},
        "batch_size: must be at most the transitions that the agent keeps (agent.n_steps: 100",
    ),
    (
        {"batch_size": 128, "agent": {"name": "a2c"}},
        "batch_size: must not be given with the agent a2c, which learns from whole rollouts",
    ),
    ({"agent": {"name": "ppo", "epsilon_end": 0.1}}, "agent.epsilon_end: must be a keyword of"),
    ({"agent": {"name": "ppo", "clip_range": 0}}, "agent.clip_range: must be"),
    (
        {"environment": {"name": UNLIKE, "seen": [0.0, 0.0, 0.0]}},
        "environment.name: must show what its observation_space says, (2,), but got (3,)",
    ),
    (
        {"environment": {"name": UNLIKE, "seen": ["0", "nan"]}},
        "environment.name: must show finite numbers, but got [0.0, nan]",
    ),
    (
        {
            "environment": {
                "name": UNLIKE,
                "seen": [0.0, 0.0],
                "reward": "inf",
            }
        },
        "environment.name: must give finite rewards, but got inf",
    ),
    (
        {"environment": {"name": "tests.support.environments:without_seed"}},
        "environment: must begin an episode and take a step as a gymnasium.Env (TypeError: ",
    ),
    (
        {"environment": {"name": "builtins:object"}},
        "environment.name: builtins:object: must be your own code",
    ),
]


def test_a_range_that_cant_be_read_is_the_one_problem() -> None:
    raw = {**GOOD, "optimizer": {"name": "adam", "lr": {"low": "a", "high": 0.1}}}
    assert problems_of(raw) == ["optimizer.lr.low: must be a finite number, but got 'a'"]


@pytest.mark.parametrize("raw", [GOOD, TABLE, POLICY], ids=["dqn", "q_table", "policy"])
def test_a_spec_of_an_agent_is_valid_and_stays_it(raw: dict[str, Any], tmp_path: Path) -> None:
    assert problems_of(raw) == []
    spec = draft_spec(raw, tmp_path).spec
    assert spec is not None
    assert check_spec(spec).spec.to_dict() == spec.to_dict()


@pytest.mark.parametrize(("changes", "problem"), WRONG, ids=[problem for _, problem in WRONG])
def test_says_what_is_wrong(changes: dict[str, Any], problem: str) -> None:
    found = problems_of({**GOOD, **changes})
    assert any(each.startswith(problem) for each in found), found


def test_a_policy_takes_actions_that_are_numbers() -> None:
    plain = {key: value for key, value in POLICY.items() if key != "environment"}
    assert problems_of({**plain, "environment": {"id": "Pendulum-v1"}}) == []


def test_a_table_has_no_net() -> None:
    nets = {"model": GOOD["model"], "optimizer": "adam", "batch_size": 32, "gradient_clip": 1.0}
    found = problems_of({**TABLE, **nets})
    rule = "must not be given with the agent q_table, which has no net"
    assert [each.partition(", but")[0] for each in found] == [
        f"model: {rule}",
        f"optimizer: {rule}",
        f"gradient_clip: {rule}",
        f"batch_size: {rule}",
    ]


def test_an_agent_needs_an_environment() -> None:
    rest = {key: value for key, value in GOOD.items() if key != "environment"}
    found = problems_of({**rest, "dataset": "wine", "objective": {"metric": "val_loss"}})
    assert any(each.startswith("agent: must be given with environment only") for each in found)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    (found,) = problems_of(GOOD)
    command = "`pip install hpsearch[reinforcement]`"
    assert found == f"environment: CartPole-v1 needs the package gymnasium: {command}"


def test_the_schema_knows_both_sections() -> None:
    import jsonschema

    schema = json_schema()
    for raw in (GOOD, TABLE):
        jsonschema.validate(raw, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({key: GOOD[key] for key in ("name", "objective", "agent")}, schema)
