"""Agents that learn in environments, an epoch at a time."""

from __future__ import annotations

import inspect
import io
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hpsearch import open_search, registry, run_search
from hpsearch.errors import BadConfigurationError, SpecError
from hpsearch.runs import Runs
from hpsearch.spec import draft_spec
from hpsearch.training import launch
from hpsearch.training.checkpoints import load_state
from hpsearch.training.reinforcement.agents import Exploration, Transition
from hpsearch.training.reinforcement.dqn import DQN, Dueling
from hpsearch.training.reinforcement.environments import Environment, Observations
from hpsearch.training.reinforcement.policy import Policy
from hpsearch.training.reinforcement.q_table import QTable
from hpsearch.training.reinforcement.replay import Replay
from hpsearch.training.reinforcement.trainer import EVERY_EPOCH, ReinforcementTrainer
from hpsearch.validation import check, check_spec
from tests.support.environments import CARTPOLE, LAKE, NET, Chain, Pictures, config, make

CHAIN = {
    "name": "tests.support.environments:chain",
    "length": 10,
    "epoch_steps": 3000,
    "val_episodes": 2,
}
REACH = {
    "name": "tests.support.environments:reach",
    "epoch_steps": 200,
    "val_episodes": 2,
    "max_episode_steps": 20,
}
DQN_SECTION = {"name": "dqn", "learning_starts": 50, "train_every": 2, "target_every": 20}


class TestQTable:
    def test_a_chain_is_worth_its_reward_discounted(self) -> None:
        # a reward of 1 ten steps ahead, each worth 0.99 of the next: 0.99^9 from the first
        trainer = make(CHAIN, {"name": "q_table", "lr": 1.0})
        metrics = trainer.train_epoch()
        best = _table(trainer.agent).table.max(1)
        assert np.allclose(best, 0.99 ** np.arange(9, -1, -1), atol=1e-12)
        assert [metrics[name] for name in ("val_value", "val_discounted_return")] == [
            pytest.approx(0.99**9)
        ] * 2
        assert metrics["val_return"] == 1.0 and metrics["val_length"] == 10

    def test_solves_a_lake_without_slipping(self) -> None:
        trainer = make({**LAKE, "epoch_steps": 3000}, {"name": "q_table", "lr": 0.5})
        before = trainer.validate()["val_return"]
        assert (before, trainer.train_epoch()["val_return"]) == (0.0, 1.0)

    def test_numbers_have_bins_between_limits(self) -> None:
        limits = [[-2.4, 2.4], [-3, 3], [-0.2, 0.2], [-3, 3]]
        agent = _table(make(CARTPOLE, {"name": "q_table", "bins": 4, "limits": limits}).agent)
        assert agent.table.shape == (4**4, 2)
        seen = np.array([[-9, -2.9, 0.01, 9], [-2.4, -3, -0.2, -3]])
        assert agent._states(seen).tolist() == [2 * 4**2 + 3 * 4**3, 0]

    @pytest.mark.parametrize(
        ("keywords", "rule"),
        [
            ({"limits": [[0, 1]]}, "agent.limits: must be 4 pairs"),
            ({}, "agent.limits: must be given, low below high"),
            ({"bins": 100}, "agent.bins: must give a table of at most 10,000,000"),
        ],
    )
    def test_refuses_what_gives_no_table(self, keywords: dict[str, Any], rule: str) -> None:
        with pytest.raises(BadConfigurationError, match=rule):
            make(CARTPOLE, {"name": "q_table", **keywords})

    def test_refuses_the_table_of_an_image(self) -> None:
        rule = r"agent.bins: must give a table .* but it would have 10 \*\* 90 \* 2"
        with pytest.raises(BadConfigurationError, match=rule):
            make({"name": "tests.support.environments:pictures"}, {"name": "q_table"})
        whole = Observations((3, 210, 160), False, np.zeros((3, 210, 160)), np.ones((3, 210, 160)))
        with pytest.raises(BadConfigurationError, match="bins: must give a table"):
            QTable(whole, 2, 0.1, 0.9, 0.0, 10, None)


class TestDQN:
    def test_holds_a_pole_up(self) -> None:
        environment = {**CARTPOLE, "epoch_steps": 1000, "val_episodes": 10}
        agent = {"name": "dqn", "train_every": 1, "epsilon_steps": 3000, "learning_starts": 500}
        model = {"name": "mlp", "hidden_sizes": [64, 64]}
        trainer = make(environment, agent, **NET | {"model": model, "batch_size": 64})
        curve = [trainer.train_epoch()["val_return"] for _ in range(3)]
        # a pole falls after about 10 steps where nothing is learned
        assert curve[0] < 30 and max(curve) > 100

    def test_the_net_chooses_and_the_copy_says_what_it_is_worth(self) -> None:
        agents = {double: self._agent(double=double) for double in (True, False)}
        for agent in agents.values():
            _set(agent.network, [1.0, 2.0])
            _set(agent.target, [7.0, 5.0])
        future = {
            double: agent._future(torch.zeros(1, 4)).item() for double, agent in agents.items()
        }
        assert future == {True: 5.0, False: 7.0}

    def test_an_episode_that_is_cut_short_would_have_gone_on(self) -> None:
        losses = {}
        for terminated in (True, False):
            agent = self._agent(batch_size=1, huber_delta=100.0, target_every=100)
            _set(agent.network, [0.0, 0.0])
            _set(agent.target, [4.0, 4.0])
            agent.begin_epoch(np.random.default_rng(0))
            agent.learn(Transition(np.zeros(4), 0, 1.0, np.zeros(4), terminated))
            losses[terminated] = agent.end_epoch()["train_loss"]
        assert losses[True] == pytest.approx(1.0**2 / 2)
        assert losses[False] == pytest.approx((1.0 + 0.99 * 4.0) ** 2 / 2)

    def test_no_gradient_reaches_the_copy_which_follows_in_steps(self) -> None:
        agent = self._agent(target_every=3, batch_size=1)
        agent.begin_epoch(np.random.default_rng(0))
        same = []
        for _ in range(6):
            agent.learn(Transition(np.ones(4), 0, 1.0, np.ones(4), False))
            pairs = zip(agent.network.parameters(), agent.target.parameters(), strict=True)
            same.append(all(torch.equal(one, other) for one, other in pairs))
        assert same == [False, False, True, False, False, True]
        assert all(param.grad is None for param in agent.target.parameters())

    def test_the_copy_goes_a_part_of_the_way(self) -> None:
        agent = self._agent(target_every=1, target_rate=0.25, batch_size=1)
        before = [param.clone() for param in agent.target.parameters()]
        agent.begin_epoch(np.random.default_rng(0))
        agent.learn(Transition(np.ones(4), 0, 1.0, np.ones(4), False))
        pairs = zip(agent.network.parameters(), agent.target.parameters(), strict=True)
        for old, (net, copied) in zip(before, pairs, strict=True):
            torch.testing.assert_close(copied, 0.75 * old + 0.25 * net.detach())

    def test_dueling_outputs_differ_by_their_advantages(self) -> None:
        body = nn.Linear(1, 3)
        _set(body, [10.0, 1.0, 4.0])
        assert Dueling(body)(torch.zeros(1, 1)).tolist() == [[8.5, 11.5]]

    def test_learns_from_images(self) -> None:
        environment = {
            "name": "tests.support.environments:pictures",
            "epoch_steps": 300,
            "max_episode_steps": 20,
        }
        model = {"name": "cnn", "channels": [4], "pool": 1}
        agent = {**DQN_SECTION, "gamma": 0.0, "epsilon_steps": 100}
        optimizer = {"name": "adam", "lr": 0.01}
        trainer = make(
            {**environment, "val_episodes": 2},
            agent,
            **NET | {"model": model, "optimizer": optimizer},
        )
        for _ in range(2):
            metrics = trainer.train_epoch()
        assert metrics["val_return"] >= 19 and metrics["val_length"] == 20

    @staticmethod
    def _agent(batch_size: int = 2, **keywords: Any) -> DQN:
        section = {"name": "dqn", "learning_starts": 1, "train_every": 1, **keywords}
        values = {**NET, "model": {"name": "mlp", "hidden_sizes": []}, "batch_size": batch_size}
        agent: DQN = make(CARTPOLE, section, **values).agent
        return agent


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


class TestReplay:
    SEEN = Observations((2,), False, np.zeros(2), np.ones(2))

    def test_holds_the_newest_and_goes_on_from_a_state(self) -> None:
        replay = self._filled(5, 8)
        assert sorted(replay._arrays.rewards.tolist()) == [3, 4, 5, 6, 7]
        other = Replay(5, self.SEEN)
        other.load_state_dict(replay.state_dict())
        for each in (replay, other):
            self._add(each, 8)
        drawn = [each.draw(np.random.default_rng(0), 9) for each in (replay, other)]
        assert all(np.array_equal(one, two) for one, two in zip(*drawn, strict=True))
        assert len(other) == 5

    @pytest.mark.parametrize(("size", "held"), [(3, [5, 6, 7]), (9, [3, 4, 5, 6, 7])])
    def test_another_size_takes_the_newest(self, size: int, held: list[int]) -> None:
        other = Replay(size, self.SEEN)
        other.load_state_dict(self._filled(5, 8).state_dict())
        assert other._arrays.rewards.tolist() == held
        self._add(other, 8)
        assert 8 in other._arrays.rewards and len(other) == min(size, 6)
        assert 4 in other._arrays.rewards or size == 3

    def test_memory_grows_as_it_fills(self) -> None:
        replay = self._filled(10_000, 1500)
        assert len(replay) == 1500 and len(replay._arrays.rewards) == 2048

    @staticmethod
    def _add(replay: Replay, reward: float) -> None:
        replay.add(Transition(np.zeros(2), 0, reward, np.ones(2), False))

    def _filled(self, size: int, number: int) -> Replay:
        replay = Replay(size, self.SEEN)
        for reward in range(number):
            self._add(replay, reward)
        return replay


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
    assert np.array_equal(policy(torch.arange(16)), _table(again.agent).table)
    import mlflow

    uri, _ = Runs(tmp_path / "runs").tracking_of(result.record.spec)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    served = mlflow.pyfunc.load_model("models:/lake@best")
    assert np.allclose(served.predict(np.arange(16)), _table(again.agent).table)


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


def _set(net: nn.Module, biases: list[float]) -> None:
    """Let a net's outputs be constant."""
    *_, last = [each for each in net.modules() if isinstance(each, nn.Linear)]
    nn.init.zeros_(last.weight)
    last.bias.data = torch.tensor(biases)


def _table(agent: Any) -> QTable:
    assert isinstance(agent, QTable)
    return agent


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return all(_equal(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)
