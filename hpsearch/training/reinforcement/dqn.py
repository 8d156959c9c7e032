"""Deep Q-networks (Mnih et al., 2015), double (van Hasselt et al., 2016), dueling (Wang et al.,
2016)."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Interval
from torch import Tensor, nn

from hpsearch.registry import Recommended, register
from hpsearch.training.checkpoints import copied_to_cpu
from hpsearch.training.reinforcement.agents import FAMILY, Gamma, Networks, Transition
from hpsearch.training.reinforcement.environments import Array, Observations
from hpsearch.training.reinforcement.net_training import NetTraining
from hpsearch.training.reinforcement.replay import Replay

Steps = Annotated[int, Ge(1)]


class Dueling(nn.Module):
    """Turns outputs (rows, 1 + actions) of a net, a value and advantages, into values of actions.

    Q = V + A - mean A (Wang et al., 2016, equation 9); both streams share all but the last layer.
    """

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the values of actions (rows, actions)."""
        outputs: Tensor = self.body(inputs)
        advantages = outputs[:, 1:]
        return outputs[:, :1] + advantages - advantages.mean(1, keepdim=True)


@dataclass(frozen=True)
class Settings:
    """The keywords of `dqn`."""

    gamma: float
    double: bool
    dueling: bool
    buffer_size: int
    learning_starts: int
    train_every: int
    updates: int
    target_every: int
    target_rate: float
    huber_delta: float


class DQN:
    """A net that says what actions are worth, taught by what an older copy of it says."""

    def __init__(
        self, observations: Observations, num_actions: int, networks: Networks, settings: Settings
    ) -> None:
        self.gamma, self._settings, self._observations = settings.gamma, settings, observations
        net = networks.new(num_actions + settings.dueling)
        self.network: nn.Module = Dueling(net) if settings.dueling else net
        self.target = copy.deepcopy(self.network).requires_grad_(False).eval()
        self._training, self._device = NetTraining(self.network, networks), networks.device
        self._batch_size = networks.batch_size
        self._replay = Replay(settings.buffer_size, observations)
        self._generator = np.random.default_rng(0)
        self._steps = self._updates = 0
        self._losses: list[Tensor] = []

    def values(self, observations: Array) -> Array:
        """See Agent."""
        with torch.inference_mode():
            inputs = self._observations.inputs(observations, self._device)
            found: Array = self.network(inputs).cpu().numpy()
        return found

    def begin_epoch(self, generator: np.random.Generator) -> None:
        """See Agent."""
        self._generator, self._losses = generator, []

    def learn(self, transition: Transition) -> None:
        """See Agent: every few steps it learns from transitions drawn from its memory."""
        self._replay.add(transition)
        self._steps += 1
        settings = self._settings
        if self._steps >= settings.learning_starts and self._steps % settings.train_every == 0:
            for _ in range(settings.updates):
                self._update()

    def end_epoch(self) -> dict[str, float]:
        """Return the mean loss; nothing before it has learned."""
        if not self._losses:
            return {}
        return {"train_loss": torch.stack(self._losses).mean().item()}

    def values_module(self) -> nn.Module:
        """See LearnsPolicy."""
        return copy.deepcopy(self.network).cpu().eval()

    def state_dict(self) -> dict[str, Any]:
        """See Agent."""
        return {
            **self._training.state_dict(),
            "target": copied_to_cpu(self.target.state_dict()),
            "replay": self._replay.state_dict(),
            "steps": self._steps,
            "updates": self._updates,
        }

    def load_state_dict(self, state: Mapping[str, Any], *, is_others: bool = False) -> None:
        """See Agent."""
        self._training.load_state_dict(state, is_others=is_others)
        self.target.load_state_dict(state["target"])
        self._replay.load_state_dict(state["replay"])
        self._steps, self._updates = state["steps"], state["updates"]

    def _update(self) -> None:
        """Take a step of the optimizer on a batch of transitions."""
        batch = self._replay.draw(self._generator, self._batch_size)
        after = self._observations.inputs(batch.next_observations, self._device)
        rewards = torch.from_numpy(batch.rewards).to(self._device)
        going_on = torch.from_numpy(~batch.terminated).to(self._device)
        goals = rewards + self.gamma * going_on * self._future(after)
        seen = self._observations.inputs(batch.observations, self._device)
        actions = torch.from_numpy(batch.actions).to(self._device)[:, None]
        self.network.train()
        values = self.network(seen).gather(1, actions)[:, 0]
        loss = F.huber_loss(values, goals, delta=self._settings.huber_delta)
        self._training.step(loss)
        self.network.eval()
        self._losses.append(loss.detach())
        self._updates += 1
        if self._updates % self._settings.target_every == 0:
            self._update_target()

    @torch.no_grad()
    def _update_target(self) -> None:
        """Take the older copy nearer to the net; what isn't a number is copied."""
        newest = self.network.state_dict()
        for name, tensor in self.target.state_dict().items():
            if tensor.is_floating_point():
                tensor.lerp_(newest[name], self._settings.target_rate)
            else:
                tensor.copy_(newest[name])

    @torch.no_grad()
    def _future(self, observations: Tensor) -> Tensor:
        """Return what can be had from states on (rows,): by the older copy, of its best action or
        (`double`) of that which the net itself would take."""
        values: Tensor = self.target(observations)
        if not self._settings.double:
            return values.max(1).values
        chosen = self.network(observations).argmax(1, keepdim=True)
        return values.gather(1, chosen)[:, 0]


@register(FAMILY, "dqn", weight_copies=1)
def dqn(
    observations: Observations,
    num_actions: int,
    networks: Networks,
    gamma: Gamma = 0.99,
    double: bool = True,
    dueling: bool = False,
    buffer_size: Annotated[int, Ge(1), Recommended(5_000, 100_000, log=True)] = 50_000,
    learning_starts: Annotated[int, Ge(1), Recommended(100, 5_000, log=True)] = 1_000,
    train_every: Annotated[Steps, Recommended(1, 16, log=True)] = 4,
    updates: Annotated[Steps, Recommended(1, 8, log=True)] = 1,
    target_every: Annotated[Steps, Recommended(10, 1_000, log=True)] = 250,
    target_rate: Annotated[float, Interval(gt=0, le=1), Recommended(0.002, 1.0, log=True)] = 1.0,
    huber_delta: Annotated[float, Gt(0)] = 1.0,
) -> DQN:
    """Deep Q-network: the spec's model, with a memory and an older copy (Mnih et al., 2015).

    Every `train_every` steps, once there are `learning_starts`, it takes `updates` steps of the
    optimizer, each on `batch_size` of the newest `buffer_size` transitions; after each
    `target_every` of them the older copy goes `target_rate` of the way to the net: at 1 it becomes
    the net; a copy that follows slowly after every step has rates like 0.005 (Lillicrap et al.,
    2016, section 3). `double` lets the net choose the
    action whose value the copy gives (van Hasselt et al., 2016), `dueling` gives the net an
    output for the state's value and one for each action's advantage (Wang et al., 2016).
    Errors beyond `huber_delta` count linearly.
    """
    return DQN(
        observations,
        num_actions,
        networks,
        Settings(
            gamma,
            double,
            dueling,
            buffer_size,
            learning_starts,
            train_every,
            updates,
            target_every,
            target_rate,
            huber_delta,
        ),
    )
