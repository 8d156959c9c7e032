"""Agents that act by the values of actions: tables, deep Q-networks, and what these remember."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hpsearch.errors import BadConfigurationError
from hpsearch.training.reinforcement.agents import Transition
from hpsearch.training.reinforcement.dqn import DQN, Dueling
from hpsearch.training.reinforcement.environments import Observations
from hpsearch.training.reinforcement.q_table import QTable
from hpsearch.training.reinforcement.replay import Replay
from tests.support.environments import CARTPOLE, CHAIN, DQN_SECTION, LAKE, NET, make, table_of


class TestQTable:
    def test_a_chain_is_worth_its_reward_discounted(self) -> None:
        # a reward of 1 ten steps ahead, each worth 0.99 of the next: 0.99^9 from the first
        trainer = make(CHAIN, {"name": "q_table", "lr": 1.0})
        metrics = trainer.train_epoch()
        best = table_of(trainer.agent).table.max(1)
        assert np.allclose(best, 0.99 ** np.arange(9, -1, -1), atol=1e-12)
        assert 0.99 * best[0] == pytest.approx(0.9043820750)  # from ten steps ahead
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
        agent = table_of(make(CARTPOLE, {"name": "q_table", "bins": 4, "limits": limits}).agent)
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
    def test_refuses_what_gives_notable_of(self, keywords: dict[str, Any], rule: str) -> None:
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


def _set(net: nn.Module, biases: list[float]) -> None:
    """Let a net's outputs be constant."""
    *_, last = [each for each in net.modules() if isinstance(each, nn.Linear)]
    nn.init.zeros_(last.weight)
    last.bias.data = torch.tensor(biases)
