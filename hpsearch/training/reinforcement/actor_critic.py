"""Agents whose nets are policies, with a critic or without: what they have in common."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from hpsearch.training.reinforcement.agents import Networks, Transition
from hpsearch.training.reinforcement.distributions import (
    Categorical,
    Gaussian,
    distribution_of,
)
from hpsearch.training.reinforcement.environments import Actions, Array, Observations
from hpsearch.training.reinforcement.net_training import NetTraining
from hpsearch.training.reinforcement.rollouts import Rollout, advantages

#: added to the deviation of advantages by which they are divided
_LEAST_DEVIATION = 1e-8


class ActorCritic(nn.Module):
    """Observations to the outputs of a policy (rows, outputs) and the values of states (rows,).

    The critic is a net of its own, or the first output of the actor's (`shares`); without one all
    values are 0.
    """

    def __init__(
        self,
        actor: nn.Module,
        critic: nn.Module | None,
        policy: Categorical | Gaussian,
        *,
        shares: bool,
    ) -> None:
        super().__init__()
        self.actor, self.critic, self._shares = actor, critic, shares
        self.policy = policy

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return outputs and values."""
        outputs: Tensor = self.actor(inputs)
        if self._shares:
            return outputs[:, 1:], outputs[:, 0]
        return outputs, outputs.new_zeros(len(inputs)) if self.critic is None else (
            self.critic(inputs)[:, 0]
        )

    def shown(self, inputs: Tensor) -> Tensor:
        """Return what the policy shows: log-probabilities or means, (rows, outputs)."""
        outputs: Tensor = self.actor(inputs)
        return self.policy.shown(outputs[:, self._shares :])


class Shown(nn.Module):
    """Observations to the logarithms of the actions' probabilities, or their means."""

    def __init__(self, network: ActorCritic) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        """Return them."""
        return self.network.shown(inputs)


@dataclass(frozen=True)
class Settings:
    """What the agents here have in common; see their keywords."""

    gamma: float
    gae_lambda: float
    value_weight: float
    entropy_weight: float
    normalize_advantages: bool
    has_critic: bool = True
    shared: bool = False


class Batch(NamedTuple):
    """Steps of a rollout, as they were judged when it ended; float32 (steps,) but for inputs."""

    inputs: Tensor
    actions: Tensor
    #: logarithms of the probabilities that the actions had
    log_probabilities: Tensor
    advantages: Tensor
    returns: Tensor

    def at(self, rows: Tensor) -> Batch:
        """Return these steps."""
        return Batch(*(part[rows] for part in self))


class PolicyGradient(ABC):
    """A net whose actions become likelier the more they bring beyond what was expected."""

    def __init__(
        self, observations: Observations, actions: Actions, networks: Networks, settings: Settings
    ) -> None:
        self.gamma, self._settings, self._observations = settings.gamma, settings, observations
        own_critic = settings.has_critic and not settings.shared
        self.network = ActorCritic(
            networks.new(actions.num_outputs + settings.shared),
            networks.new(1) if own_critic else None,
            distribution_of(actions),
            shares=settings.shared,
        ).to(networks.device)
        self._training, self._device = NetTraining(self.network, networks), networks.device
        self._rollout = Rollout(observations, actions)
        self._generator = np.random.default_rng(0)
        self._measured: list[dict[str, Tensor]] = []

    @abstractmethod
    def _is_complete(self, rollout: Rollout) -> bool:
        """Whether there are enough steps to learn from."""

    def _batches(self, rollout: Batch) -> Iterator[Batch]:
        """Yield what each step of the optimizer is taken on: by default one step on all of it."""
        yield rollout

    def _policy_loss(self, log_probabilities: Tensor, batch: Batch) -> Tensor:
        """Return the loss of the actions' log-probabilities now (steps,)."""
        return -(log_probabilities * batch.advantages).mean()

    def values(self, observations: Array) -> Array:
        """See Agent: log-probabilities or means; the likeliest action is the best."""
        with torch.inference_mode():
            found = self.network.shown(self._inputs(observations))
        values: Array = found.cpu().numpy()
        return values

    def draw(self, observations: Array) -> Array:
        """See DrawsActions."""
        return self.network.policy.drawn(self.values(observations), self._generator)

    def best(self, observations: Array) -> Array:
        """See DrawsActions."""
        return self.network.policy.best(self.values(observations))

    def state_values(self, observations: Array) -> Array | None:
        """See DrawsActions."""
        if not self._settings.has_critic:
            return None
        with torch.inference_mode():
            found: Array = self.network(self._inputs(observations))[1].cpu().numpy()
        return found

    def begin_epoch(self, generator: np.random.Generator) -> None:
        """See Agent."""
        self._generator, self._measured = generator, []

    def learn(self, transition: Transition) -> None:
        """See Agent: once there are enough steps it learns from them, and forgets them."""
        self._rollout.add(transition)
        if self._is_complete(self._rollout):
            for batch in self._batches(self._judged()):
                self._update(batch)
            self._rollout.clear()

    def end_epoch(self) -> dict[str, float]:
        """Return the means of the loss, of the policy's entropy in nats, and others; nothing
        before it has learned."""
        names = self._measured[0] if self._measured else {}
        return {
            name: torch.stack([each[name] for each in self._measured]).mean().item()
            for name in names
        }

    def values_module(self) -> nn.Module:
        """See LearnsPolicy."""
        return Shown(copy.deepcopy(self.network).cpu()).eval()

    def state_dict(self) -> dict[str, Any]:
        """See Agent."""
        return {**self._training.state_dict(), "rollout": self._rollout.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any], *, is_others: bool = False) -> None:
        """See Agent."""
        self._training.load_state_dict(state, is_others=is_others)
        self._rollout.load_state_dict(state["rollout"])

    def _inputs(self, observations: Array) -> Tensor:
        return self._observations.inputs(observations, self._device)

    @torch.no_grad()
    def _judged(self) -> Batch:
        """Return the steps of the rollout with their advantages and returns."""
        steps, settings = self._rollout.steps(), self._settings
        inputs = self._inputs(steps.observation)
        outputs, values = self.network(inputs)
        known = values.cpu().numpy()
        after = self.network(self._inputs(steps.next_observation))[1].cpu().numpy()
        found = advantages(steps, known, after, self.gamma, settings.gae_lambda)
        returns = found + known
        if settings.normalize_advantages:
            found = (found - found.mean()) / (found.std() + _LEAST_DEVIATION)
        actions = torch.from_numpy(steps.action).to(self._device)
        log_probabilities = self.network.policy.log_probabilities(outputs, actions)
        as_tensors = (torch.from_numpy(each).float().to(self._device) for each in (found, returns))
        return Batch(inputs, actions, log_probabilities, *as_tensors)

    def _update(self, batch: Batch) -> None:
        """Take a step of the optimizer."""
        settings = self._settings
        self.network.train()
        outputs, values = self.network(batch.inputs)
        chosen = self.network.policy.log_probabilities(outputs, batch.actions)
        entropy = self.network.policy.entropy(outputs).mean()
        loss = self._policy_loss(chosen, batch) - settings.entropy_weight * entropy
        if settings.has_critic:
            loss = loss + settings.value_weight * (values - batch.returns).square().mean()
        self._training.step(loss)
        self.network.eval()
        measured = self._measures(chosen.detach(), batch)
        self._measured.append(
            {"train_loss": loss.detach(), "entropy": entropy.detach(), **measured}
        )

    def _measures(self, log_probabilities: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return what else is measured of an update."""
        return {}
