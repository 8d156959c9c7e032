"""Agents that learn in environments, an epoch at a time."""

from __future__ import annotations

import inspect
import io
from typing import Any

import numpy as np
import pytest
import torch

from hpsearch import open_search, registry, run_search
from hpsearch.errors import SpecError
from hpsearch.runs import Runs
from hpsearch.spec import draft_spec
from hpsearch.training import launch
from hpsearch.training.checkpoints import load_state
from hpsearch.training.reinforcement.agents import Exploration
from hpsearch.training.reinforcement.environments import Environment
from hpsearch.training.reinforcement.policy import Policy
from hpsearch.training.reinforcement.trainer import EVERY_EPOCH, ReinforcementTrainer
from hpsearch.validation import check, check_spec
from tests.support.environments import (
    CARTPOLE,
    CHAIN,
    DQN_SECTION,
    LAKE,
    NET,
    Chain,
    Pictures,
    config,
    make,
    table_of,
)

REACH = {
    "name": "tests.support.environments:reach",
    "epoch_steps": 200,
    "val_episodes": 2,
    "max_episode_steps": 20,
}


class TestSchedule:
    def test_rates_follow_the_steps_in_the_environment(self) -> None:
        schedule = {"lr_schedule": {"name": "polynomial", "power": 1.0}}
        trainer = make({**CARTPOLE, "epoch_steps": 100}, DQN_SECTION, **NET, **schedule)
        (optimizer,) = trainer._networks.optimizers
        rates = []
        for _ in range(4):
            trainer.train_epoch()
            rates.append(optimizer.param_groups[0]["lr"] / 1e-3)
        ends = [(100 * (epoch + 1) - 1) / 399 for epoch in range(4)]
        assert rates == pytest.approx([1 - end for end in ends], abs=0.02)

    def test_plateaus_are_those_of_validation(self) -> None:
        plateau = {"name": "plateau", "metric": "val_return", "patience": 1, "factor": 0.5}
        environment = {**CARTPOLE, "epoch_steps": 100, "max_episode_steps": 5}  # none is better
        trainers = [make(environment, DQN_SECTION, **NET, lr_schedule=plateau) for _ in range(2)]
        for _ in range(4):
            trainers[0].train_epoch()
        (optimizer,) = trainers[0]._networks.optimizers
        assert optimizer.param_groups[0]["lr"] < 1e-3
        trainers[1].load_state_dict(trainers[0].state_dict())
        assert trainers[0].train_epoch()["train_loss"] == trainers[1].train_epoch()["train_loss"]

    def test_a_table_has_none(self, tmp_path: Any) -> None:
        spec = {
            "name": "lake",
            "objective": {"metric": "val_return"},
            "environment": LAKE,
            "agent": "q_table",
            "lr_schedule": "cosine",
            "search": {"trials": 1},
        }
        with pytest.raises(SpecError, match="lr_schedule: must not be given with the agent q_tab"):
            check(draft_spec(spec, tmp_path))


@pytest.mark.parametrize(
    ("environment", "agent", "values"),
    [
        (LAKE, {"name": "q_table"}, {}),
        (CARTPOLE, {**DQN_SECTION, "buffer_size": 300, "dueling": True}, NET),
        # rollouts that don't end with an epoch
        (CARTPOLE, {"name": "reinforce", "episodes": 4}, NET),
        (CARTPOLE, {"name": "a2c", "n_steps": 64, "shared": True}, NET),
        (CARTPOLE, {"name": "ppo", "n_steps": 128, "passes": 2}, NET),
        (REACH, {"name": "ppo", "n_steps": 128, "passes": 2}, NET),
    ],
    ids=["q_table", "dqn", "reinforce", "a2c", "ppo", "numbers"],
)
class TestEveryAgent:
    def test_two_epochs_and_two_more_are_four_bit_for_bit(
        self, environment: dict[str, Any], agent: dict[str, Any], values: dict[str, Any]
    ) -> None:
        whole, first, second = (make(environment, agent, **values) for _ in range(3))
        curve = [whole.train_epoch() for _ in range(4)]
        halves = [first.train_epoch() for _ in range(2)]
        torch.save(first.state_dict(), file := io.BytesIO())
        file.seek(0)
        second.load_state_dict(load_state(file, torch.device("cpu")))
        halves += [second.train_epoch() for _ in range(2)]
        assert [{**each, "seconds": 0} for each in curve] == [
            {**each, "seconds": 0} for each in halves
        ]
        assert _equal(whole.state_dict(), second.state_dict())

    def test_reports_what_it_is_compared_by(
        self, environment: dict[str, Any], agent: dict[str, Any], values: dict[str, Any]
    ) -> None:
        metrics = make(environment, agent, **values).train_epoch()
        assert set(EVERY_EPOCH) <= metrics.keys() and "train_loss" in metrics

    def test_another_trial_draws_others_but_is_scored_alike(
        self, environment: dict[str, Any], agent: dict[str, Any], values: dict[str, Any]
    ) -> None:
        one = config(environment, agent, **values)
        other = config(environment, agent, **values)
        vars(other)["number"] = 1
        trainers = [launch(each, None) for each in (one, other)]
        assert all(isinstance(trainer, ReinforcementTrainer) for trainer in trainers)
        starts = [
            [each.reset(0).tolist() for each in vars(trainer)["_others"]] for trainer in trainers
        ]
        assert starts[0] == starts[1]
        curves = [trainer.train_epoch() for trainer in trainers]
        assert {**curves[0], "seconds": 0} != {**curves[1], "seconds": 0}


#: keyword → another value than its default, and what its effect needs
OTHERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "gamma": (0.5, {}),
    "double": (False, {}),
    "dueling": (True, {}),
    "buffer_size": (100, {}),
    "learning_starts": (150, {}),
    "train_every": (1, {}),
    "updates": (2, {}),
    "target_every": (3, {}),
    "target_rate": (0.2, {}),
    "huber_delta": (0.1, {}),
    "lr": (0.9, {}),
    "initial": (1.0, {}),
    "bins": (3, {}),
    "limits": ([[-1, 1]] * 4, {}),
    "episodes": (3, {}),
    "baseline": (False, {}),
    "shared": (True, {}),
    "value_weight": (5.0, {"shared": True}),
    "entropy_weight": (1.0, {}),
    "normalize_advantages": (None, {}),
    "n_steps": (128, {}),
    "gae_lambda": (0.5, {}),
    "passes": (2, {}),
    "clip_range": (0.01, {}),
    "epsilon_start": (0.5, {}),
    "epsilon_end": (0.5, {}),
    "epsilon_steps": (100, {}),
}
KEYWORDS = [
    (name, key) for name in registry.names("agent") for key in registry.get("agent", name).keywords
]


@pytest.mark.parametrize(("name", "key"), KEYWORDS)
def test_each_keyword_of_an_agent_matters(name: str, key: str) -> None:
    sections: dict[str, dict[str, Any]] = {
        "dqn": {**DQN_SECTION, "huber_delta": 0.5, "epsilon_steps": 300},
        "q_table": {
            "epsilon_steps": 300,
            "limits": [[-2, 2]] * 4
            if key == "limits"
            else [[-2.4, 2.4], [-3, 3], [-0.2, 0.2], [-3, 3]],
        },
        "ppo": {"n_steps": 100},
    }
    section = {"name": name, **sections.get(name, {})}
    value, beside = OTHERS[key]
    if key == "normalize_advantages":
        value = not registry.get("agent", name).keywords[key].default
    curves = []
    for each in ({**section, **beside}, {**section, **beside, key: value}):
        net = NET | {"optimizer": {"name": "adam", "lr": 0.03}}
        trainer = make(CARTPOLE, each, **{} if name == "q_table" else net)
        curves.append([{**trainer.train_epoch(), "seconds": 0} for _ in range(2)])
    assert curves[0] != curves[1]


@pytest.mark.parametrize(
    ("changes", "key", "low", "high"),
    [
        ({"epoch_steps": 50}, "epsilon", 0.99, 1.0),
        ({"val_episodes": 5}, "val_length", 1, 500),
        ({"max_episode_steps": 7}, "val_length", 7, 7),
        ({"id": "MountainCar-v0"}, "val_length", 200, 200),
        ({"options": {"sutton_barto_reward": True}}, "val_return", -1, 0),
    ],
)
def test_each_keyword_of_an_environment_matters(
    changes: dict[str, Any], key: str, low: float, high: float
) -> None:
    metrics = make({**CARTPOLE, **changes}, DQN_SECTION, **NET).train_epoch()
    assert low <= metrics[key] <= high
    assert metrics[key] != make(CARTPOLE, DQN_SECTION, **NET).train_epoch()[key]


class TestEnvironment:
    def test_states_and_actions_count_from_their_starts(self) -> None:
        environment = Environment(Chain(4), 100)
        assert environment.reset().tolist() == [1, 0, 0, 0]
        assert environment.step(1).observation.tolist() == [0, 1, 0, 0]
        assert environment.step(0).observation.tolist() == [1, 0, 0, 0]

    def test_images_have_their_channels_first(self) -> None:
        environment = Environment(Pictures(), 2)
        seen = environment.observations
        image = environment.reset(seed=0)
        assert seen.shape == image.shape == (3, 6, 5) and image.dtype == np.uint8
        image = np.full_like(image, 255)
        assert seen.inputs(image[None], torch.device("cpu")).unique().tolist() == [1.0]
        assert [environment.step(0).truncated for _ in range(2)] == [False, True]

    def test_exploration_falls_to_its_end(self) -> None:
        share = Exploration(epsilon_start=0.9, epsilon_end=0.1, epsilon_steps=8)
        assert [share.at(step) for step in (0, 4, 8, 100)] == [0.9, 0.5, 0.1, 0.1]


def test_a_search_of_agents_ends_with_a_report_and_a_model(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = {
        "name": "lake",
        "objective": {"metric": "val_return"},
        "environment": {**LAKE, "val_episodes": 2},
        "agent": {"name": "q_table", "lr": {"low": 0.1, "high": 1.0}, "epsilon_end": 0.5},
        "search": {"trials": 3, "early_stopping": {"name": "none", "max_epochs": 3}},
    }
    draft = draft_spec(spec, tmp_path)
    result = run_search(check_spec(draft.spec).spec, runs=tmp_path / "runs")
    trials = result.record.trials
    assert [len(trial.metric("val_return")) for trial in trials] == [3, 3, 3]
    assert "`q_table` in `FrozenLake-v1`" in result.to_markdown()
    again = ReinforcementTrainer(result.record.config(trials[2]))
    curve = [again.train_epoch()["val_value"] for _ in range(3)]
    assert list(trials[2].metric("val_value").values()) == curve
    policy = open_search("lake", tmp_path / "runs").load_model()
    assert isinstance(policy, Policy)
    best = result.best
    assert best is not None
    again = ReinforcementTrainer(result.record.config(trials[best.number]))
    for _ in range(3):
        again.train_epoch()
    assert np.array_equal(policy(torch.arange(16)), table_of(again.agent).table)
    import mlflow

    uri, _ = Runs(tmp_path / "runs").tracking_of(result.record.spec)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    served = mlflow.pyfunc.load_model("models:/lake@best")
    assert np.allclose(served.predict(np.arange(16)), table_of(again.agent).table)


def test_training_ends_once_the_environment_is_solved() -> None:
    lake = {**LAKE, "epoch_steps": 3000, "reward_threshold": 1.0}
    agent = {"name": "q_table", "lr": 0.5}
    trainer = make(lake, agent)
    metrics = trainer.train_epoch()
    assert metrics is not None and metrics["val_return"] == 1.0
    again = make(lake, agent)
    again.load_state_dict(trainer.state_dict())
    for solved in (trainer, again):
        assert (solved.train_epoch(), solved.epoch) == (None, 1)
        assert solved.end_reason == "reward_threshold"


class TestPolicy:
    @pytest.mark.parametrize(
        ("environment", "agent", "values"),
        [
            (CHAIN, {"name": "q_table"}, {}),
            (
                {**CARTPOLE, "epoch_steps": 100},
                {"name": "q_table", "bins": 4, "limits": [[-2.4, 2.4], [-3, 3]] * 2},
                {},
            ),
            (CARTPOLE, {**DQN_SECTION, "dueling": True}, NET),
            (CARTPOLE, {"name": "ppo", "n_steps": 50}, NET),
            (CARTPOLE, {"name": "a2c", "shared": True}, NET),
            (
                {"name": "tests.support.environments:pictures", "max_episode_steps": 20},
                DQN_SECTION,
                NET | {"model": {"name": "cnn", "channels": [4], "pool": 1}},
            ),
        ],
        ids=["states", "bins", "numbers", "policy", "shared_policy", "images"],
    )
    def test_it_acts_as_its_agent(
        self, environment: dict[str, Any], agent: dict[str, Any], values: dict[str, Any]
    ) -> None:
        trainer = make({"epoch_steps": 100, "val_episodes": 2, **environment}, agent, **values)
        trainer.train_epoch()
        policy = trainer.policy()
        assert policy is not None
        shown = trainer.examples(4)
        seen = np.stack([trainer._environment.reset(seed=i) for i in range(4)])
        expected = trainer.agent.values(seen)
        assert np.allclose(policy(torch.as_tensor(shown)).detach(), expected, atol=1e-6)
        actions = policy.act(shown) - trainer._environment.actions.first
        assert actions.tolist() == expected.argmax(1).tolist()

    def test_an_agent_without_values_has_none(self) -> None:
        trainer = make(LAKE, {"name": "q_table"})
        trainer.agent = object()  # type: ignore[assignment]
        assert trainer.policy() is None


def test_every_keyword_has_a_value_above() -> None:
    assert {key for _, key in KEYWORDS} == OTHERS.keys()
    shown = set(registry.get("environment", "gymnasium").keywords)
    pace = {"epoch_steps", "val_episodes", "max_episode_steps", "reward_threshold"}
    assert shown == {"id", "options"} | pace
    assert "networks" in inspect.signature(registry.get("agent", "dqn").factory).parameters


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return all(_equal(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)
