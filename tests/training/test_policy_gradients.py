"""Agents whose nets are policies: what they learn from, worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hpsearch.spec import TrialConfig
from hpsearch.training.reinforcement.actor_critic import Batch, PolicyGradient
from hpsearch.training.reinforcement.agents import Transition
from hpsearch.training.reinforcement.distributions import Gaussian
from hpsearch.training.reinforcement.environments import Environment
from hpsearch.training.reinforcement.policy_gradients import ProximalPolicy
from hpsearch.training.reinforcement.rollouts import Steps, advantages
from hpsearch.training.reinforcement.trainer import ReinforcementTrainer
from tests.support.environments import CARTPOLE, NET, Reach, make

LINEAR = NET | {
    "model": {"name": "mlp", "hidden_sizes": []},
    "optimizer": {"name": "sgd", "lr": 0.1},
}


class TestAdvantages:
    """Three steps with the values 0.5, 1, 2; what comes after the last is worth 3."""

    VALUES, NEXT = np.array([0.5, 1.0, 2.0]), np.array([1.0, 2.0, 3.0])

    def test_worked_example(self) -> None:
        # with γ 0.5 and λ 0.5: δ = 1 + 0.5·1 - 0.5 = 1, 1 + 1 - 1 = 1, 1 + 1.5 - 2 = 0.5
        found = advantages(self._steps(), self.VALUES, self.NEXT, 0.5, 0.5)
        assert found.tolist() == [1 + 0.25 * (1 + 0.25 * 0.5), 1 + 0.25 * 0.5, 0.5]

    def test_lambda_one_is_the_return_less_the_value(self) -> None:
        found = advantages(self._steps(), self.VALUES, self.NEXT, 0.5, 1.0)
        returns = np.array([1 + 0.5 + 0.25 + 0.125 * 3, 1 + 0.5 + 0.25 * 3, 1 + 0.5 * 3])
        assert np.allclose(found, returns - self.VALUES)

    def test_lambda_zero_is_the_error_of_one_step(self) -> None:
        found = advantages(self._steps(), self.VALUES, self.NEXT, 0.5, 0.0)
        assert found.tolist() == [1.0, 1.0, 0.5]

    @pytest.mark.parametrize(("terminated", "second"), [(True, 0.0), (False, 1.0)])
    def test_nothing_follows_an_end_but_a_cut(self, terminated: bool, second: float) -> None:
        # the second step is the last of an episode: no reward of the third counts, and its own
        # future is worth 0 or, where it was cut short, what the critic says
        found = advantages(self._steps(1, terminated), self.VALUES, self.NEXT, 0.5, 1.0)
        assert found.tolist() == [1.0 + 0.5 * second, second, 0.5]

    @staticmethod
    def _steps(last: int | None = None, terminated: bool = False) -> Steps:
        is_last = np.arange(3) == last
        seen, actions, rewards = np.zeros((3, 1)), np.zeros(3, np.int64), np.ones(3)
        return Steps(
            seen, actions, rewards, seen, is_last & terminated, is_last & (not terminated)
        )


class TestClipping:
    """-min(r A, clip(r) A): figure 1 of Schulman et al., 2017."""

    @pytest.mark.parametrize(
        ("advantage", "ratio", "loss", "has_gradient"),
        [
            (1.0, 1.1, -1.1, True),
            (1.0, 1.5, -1.2, False),  # likelier already than it may become
            (1.0, 0.5, -0.5, True),
            (-1.0, 0.9, 0.9, True),
            (-1.0, 0.5, 0.8, False),
            (-1.0, 1.5, 1.5, True),
        ],
    )
    def test_figure_1(
        self, advantage: float, ratio: float, loss: float, has_gradient: bool
    ) -> None:
        agent = make(CARTPOLE, {"name": "ppo", "n_steps": 50}, **NET).agent
        assert isinstance(agent, ProximalPolicy)
        now = torch.tensor([ratio]).log().requires_grad_()
        none = torch.zeros(1)
        batch = Batch(none, none.long(), none, torch.tensor([advantage]), none)
        found = agent._policy_loss(now, batch)
        assert found.item() == pytest.approx(loss)
        (gradient,) = torch.autograd.grad(found, now)
        assert bool(gradient.abs() > 0) == has_gradient


class TestReinforce:
    def test_the_gradient_is_that_of_the_returns(self) -> None:
        # two steps with rewards 1 and γ 0.5: G = 1.5, 1; logits are biases b, π = (1/2, 1/2), so
        # that ∂ log π(a) / ∂b_a = 1/2: of the mean over steps (1.5 - 1) / 2 · 1/2 for action 0
        agent = self._agent(baseline=False, gamma=0.5)
        bias = _biases(agent.network.actor)
        agent.begin_epoch(np.random.default_rng(0))
        for action, ends in ((0, False), (1, True)):
            agent.learn(Transition(np.zeros(4), action, 1.0, np.zeros(4), ends))
        assert torch.allclose(bias, 0.1 * torch.tensor([0.125, -0.125]))
        assert agent.network.critic is None and agent.state_values(np.zeros((1, 4))) is None

    def test_a_baseline_is_taken_off_and_learned(self) -> None:
        # b = 1: advantages 0.5, 0; the critic goes up by lr · value_weight · 2 · mean(G - b)
        agent = self._agent(gamma=0.5, value_weight=0.5)
        bias, value = _biases(agent.network.actor), _biases(agent.network.critic, 1.0)
        agent.begin_epoch(np.random.default_rng(0))
        for action, ends in ((0, False), (1, True)):
            agent.learn(Transition(np.zeros(4), action, 1.0, np.zeros(4), ends))
        assert torch.allclose(bias, 0.1 * torch.tensor([0.125, -0.125]))
        assert value.item() == pytest.approx(1.0 + 0.1 * 0.25)

    def test_it_learns_after_so_many_episodes(self) -> None:
        agent = self._agent(episodes=2)
        agent.begin_epoch(np.random.default_rng(0))
        learned = []
        for ends in (True, False, True):
            agent.learn(Transition(np.zeros(4), 0, 1.0, np.zeros(4), ends))
            learned.append("train_loss" in agent.end_epoch())
        assert learned == [False, False, True]

    @staticmethod
    def _agent(**keywords: Any) -> PolicyGradient:
        agent: Any = make(CARTPOLE, {"name": "reinforce", **keywords}, **LINEAR).agent
        return agent


class TestPolicy:
    def test_actions_are_drawn_as_often_as_they_are_likely(self) -> None:
        agent: Any = make(CARTPOLE, {"name": "a2c"}, **LINEAR).agent
        _biases(agent.network.actor)[1] = np.log(3.0)
        agent.begin_epoch(np.random.default_rng(0))
        drawn = agent.draw(np.zeros((4000, 4), np.float32))
        assert drawn.mean() == pytest.approx(0.75, abs=0.02)
        values = np.exp(agent.values(np.zeros((1, 4), np.float32)))
        assert values.tolist() == [[pytest.approx(0.25), pytest.approx(0.75)]]

    def test_the_entropy_is_in_nats_and_grows_by_its_weight(self) -> None:
        entropies = {}
        for weight in (0.0, 1.0):
            section = {"name": "a2c", "n_steps": 20, "entropy_weight": weight}
            trainer = make(CARTPOLE, section, **LINEAR)
            agent: Any = trainer.agent
            _biases(agent.network.actor)[1] = 2.0
            entropies[weight] = (trainer.train_epoch() or {})["entropy"]
        assert 0 < entropies[0.0] < entropies[1.0] < np.log(2)

    def test_a_shared_net_has_the_value_as_its_first_output(self) -> None:
        agent: Any = make(CARTPOLE, {"name": "a2c", "shared": True}, **LINEAR).agent
        _biases(agent.network.actor)[:] = torch.tensor([7.0, 1.0, 1.0])
        seen = np.zeros((1, 4), np.float32)
        assert agent.state_values(seen).tolist() == [7.0]
        assert np.allclose(np.exp(agent.values(seen)), 0.5)

    def test_none_is_random_and_the_critic_says_what_is_expected(self) -> None:
        with_critic = make(CARTPOLE, {"name": "ppo", "n_steps": 50}, **NET).train_epoch() or {}
        without = {"name": "reinforce", "baseline": False}
        metrics = make(CARTPOLE, without, **NET).train_epoch() or {}
        assert "val_value" in with_critic and "val_value" not in metrics
        assert "epsilon" not in with_critic and {"kl", "clip_fraction"} <= with_critic.keys()


@pytest.mark.parametrize(
    ("agent", "epochs"),
    [
        ({"name": "ppo", "gamma": 0.98, "gae_lambda": 0.8}, 2),
        ({"name": "a2c"}, 4),
        ({"name": "reinforce"}, 4),
    ],
    ids=["ppo", "a2c", "reinforce"],
)
def test_holds_a_pole_up(agent: dict[str, Any], epochs: int) -> None:
    environment = {**CARTPOLE, "epoch_steps": 2000, "val_episodes": 10}
    model = {"name": "mlp", "hidden_sizes": [64, 64]}
    values = NET | {"model": model, "batch_size": 64}
    trainer = make(environment, agent, **values)
    curve = [(trainer.train_epoch() or {})["train_return"] for _ in range(epochs)]
    assert curve[0] < 60 and max(curve) > 80  # random actions hold it for about 22 steps


class TestNumbers:
    """Actions that are numbers, drawn from a normal distribution."""

    def test_densities_and_entropy_are_torchs(self) -> None:
        torch.manual_seed(0)
        policy, means, actions = Gaussian(3), torch.randn(5, 3), torch.randn(5, 3)
        policy.log_std.data = torch.tensor([-1.0, 0.0, 0.5])
        other = torch.distributions.Normal(means, policy.log_std.exp())
        found = policy.log_probabilities(means, actions)
        torch.testing.assert_close(found, other.log_prob(actions).sum(1))
        torch.testing.assert_close(policy.entropy(means), other.entropy().sum(1))

    def test_they_are_drawn_with_the_deviation_that_is_learned(self) -> None:
        policy = Gaussian(2)
        policy.log_std.data = torch.tensor([0.1, 2.0]).log()
        drawn = policy.drawn(np.zeros((5000, 2), np.float32), np.random.default_rng(0))
        assert drawn.std(0).tolist() == pytest.approx([0.1, 2.0], rel=0.05)
        assert policy.best(np.ones((1, 2), np.float32)).tolist() == [[1, 1]]

    def test_numbers_from_minus_one_to_one_stand_for_those_between_the_bounds(self) -> None:
        actions = Environment(Reach(), 10).actions
        assert actions.taken(np.array([-1.0, 0.5])).tolist() == [-2.0, 2.5]
        assert actions.taken(np.array([-7.0, 7.0])).tolist() == [-2.0, 4.0]

    def test_it_learns_which_are_best_and_leaves_them_in_a_model(self) -> None:
        environment = {"name": "tests.support.environments:reach", "epoch_steps": 1000}
        environment |= {"val_episodes": 2, "max_episode_steps": 50}
        agent = {"name": "ppo", "gamma": 0.0, "n_steps": 250}
        adam = {"name": "adam", "lr": 0.003}
        trainer = make(environment, agent, **NET | {"optimizer": adam, "batch_size": 64})
        curve = [(trainer.train_epoch() or {})["val_return"] for _ in range(3)]
        assert curve[-1] > -5  # 0.1 a step; 0 for both actions costs 1.3 a step or more
        policy = trainer.policy()
        assert policy is not None
        seen = torch.tensor([[0.0], [0.8]])
        found, wanted = policy.act(seen), torch.tensor([[1.0, 2.0], [1.8, 1.2]])
        assert (found - wanted).abs().max() < 0.4
        assert torch.equal(policy(seen), found)


def test_what_a_population_copies_goes_on_with_other_keywords() -> None:
    """A rollout of 100 steps goes to a trial that learns from each 50."""
    first, second = (
        make(CARTPOLE, {"name": "ppo", "n_steps": n_steps}, **NET) for n_steps in (150, 50)
    )
    first.train_epoch()
    config: TrialConfig = second.config
    vars(config)["copied_epochs"] = 1
    second = ReinforcementTrainer(config)
    second.load_state_dict(first.state_dict())
    agent: Any = second.agent
    assert len(agent._rollout) == 50
    assert second.train_epoch() is not None
    assert len(agent._rollout) == 49  # 51, then each 50 of 199 more


def _biases(net: nn.Module, value: float = 0.0) -> torch.Tensor:
    """Let a net's outputs be its last layer's biases, and return these."""
    (layer,) = [each for each in net.modules() if isinstance(each, nn.Linear)]
    nn.init.zeros_(layer.weight)
    nn.init.constant_(layer.bias, value)
    return layer.bias.data
