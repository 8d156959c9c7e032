"""Trains an agent in an environment, an epoch at a time, and scores what it has learned."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from hpsearch.spec import TrialConfig
from hpsearch.training.reinforcement.agents import (
    DrawsActions,
    Networks,
    Transition,
    exploration_of,
    make_agent,
)
from hpsearch.training.reinforcement.environments import Array, make_environment, pace_of
from hpsearch.training.reinforcement.policy import LearnsPolicy, Policy
from hpsearch.training.seeds import derive_seed, keeps_random_states, seed_all

#: the metrics of every epoch of every agent
EVERY_EPOCH = ("val_return", "val_length", "val_discounted_return", "seconds")


class Episode(NamedTuple):
    """What an episode brought: rewards, rewards discounted, and how many steps it had."""

    reward: float
    discounted: float
    length: int


class ReinforcementTrainer:
    """Trains the agent of a configuration; see EpochTrainer.

    Each epoch begins a new episode, and that which it ends in is cut short, so that a state holds
    nothing of the environment. All randomness comes from the configuration's seed and number, the
    purpose and the epoch; the episodes of validation begin alike for all trials of a search.
    """

    end_reason = "reward_threshold"

    @keeps_random_states
    def __init__(self, config: TrialConfig, device: str | torch.device = "cpu") -> None:
        self.config, self.epoch, self._steps, self._is_solved = config, 0, 0, False
        section, folder = config.values["environment"], Path(config.folder)
        self._pace, self._exploration = pace_of(section), exploration_of(config.values["agent"])
        self._environment = make_environment(section, folder)
        self._others = [make_environment(section, folder) for _ in range(self._pace.val_episodes)]
        seed_all(self._seed("agent"))
        seen = self._environment.observations
        self._networks = Networks(config, seen, torch.device(device))
        self.agent = make_agent(config, self._environment, self._networks)
        self._schedule = self._networks.schedule(self._pace.epoch_steps)

    @keeps_random_states
    def train_epoch(self) -> dict[str, float] | None:
        """Take the steps of an epoch, then score the best actions; returns the metrics.

        None, without training, once the environment is solved.

        `train_return` is the mean of the episodes that ended in the epoch, random actions
        included, and `train_loss` the agent's own. `val_return` is the mean sum of rewards,
        `val_length` the mean number of steps of the validation's episodes. `val_value` is what
        the agent expects of them at their start, if it does, and `val_discounted_return` what it
        should have. `epsilon` is the share of random actions of an agent that acts by values.
        """
        if self._is_solved:
            return None
        start = time.perf_counter()
        self.epoch += 1
        seed_all(self._seed("epoch"))
        if self._schedule is not None:
            for optimizer in self._networks.optimizers:
                self._schedule.begin_epoch(optimizer, self.epoch)
        self.agent.begin_epoch(np.random.default_rng(self._seed("agent")))
        returns = self._act_and_learn(np.random.default_rng(self._seed("exploration")))
        metrics = {"train_return": float(np.mean(returns))} if returns else {}
        metrics |= self.agent.end_epoch()
        seed_all(self._seed("evaluation"))
        metrics |= self.validate()
        threshold = self._pace.reward_threshold
        self._is_solved = threshold is not None and metrics["val_return"] >= threshold
        if not isinstance(self.agent, DrawsActions):
            metrics["epsilon"] = self._exploration.at(self._steps)
        if self._schedule is not None:
            self._schedule.observe(metrics)
        metrics["seconds"] = time.perf_counter() - start
        return metrics

    def state_dict(self) -> dict[str, Any]:
        """See EpochTrainer."""
        state = {
            "epoch": self.epoch,
            "steps": self._steps,
            "is_solved": self._is_solved,
            "agent": self.agent.state_dict(),
        }
        if self._schedule is not None:
            state["lr_schedule"] = self._schedule.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See EpochTrainer."""
        self.epoch, self._steps = state["epoch"], state["steps"]
        self._is_solved = state.get("is_solved", False)  # earlier versions had no threshold
        is_others = 0 < self.epoch == self.config.copied_epochs
        self.agent.load_state_dict(state["agent"], is_others=is_others)
        if self._schedule is not None:
            self._schedule.load_state_dict(state.get("lr_schedule", {}))

    def policy(self) -> Policy | None:
        """Return what the agent has learned as a module; None where it can't be had without it."""
        if not isinstance(self.agent, LearnsPolicy):
            return None
        return Policy(self.agent.values_module(), self._environment).eval()

    def examples(self, number: int) -> Array:
        """Return observations as the environment shows them, (number, ...)."""
        return self._environment.shown(number)

    def close(self) -> None:
        """Close the environments."""
        for environment in (self._environment, *self._others):
            environment.close()

    def _act_and_learn(self, generator: np.random.Generator) -> list[float]:
        """Take the steps of an epoch; returns the sums of rewards of the episodes that ended."""
        returns, total = [], 0.0
        seen = self._environment.reset(self._seed("environment"))
        for number in range(self._pace.epoch_steps):
            self._set_rates(number)
            action = self._action(seen, generator)
            step = self._environment.step(action)
            self._steps += 1
            is_cut = step.truncated or number + 1 == self._pace.epoch_steps
            self.agent.learn(
                Transition(seen, action, step.reward, step.observation, step.terminated, is_cut)
            )
            seen, total = step.observation, total + step.reward
            if step.terminated or step.truncated:
                returns.append(total)
                seen, total = self._environment.reset(), 0.0
        return returns

    def _action(self, seen: Array, generator: np.random.Generator) -> Any:
        """Return the action of a step of training."""
        if isinstance(self.agent, DrawsActions):
            return self.agent.draw(seen[None])[0]
        if generator.random() < self._exploration.at(self._steps):
            return int(generator.integers(self._environment.actions.number))
        return int(self.agent.values(seen[None]).argmax())

    def _set_rates(self, step: int) -> None:
        """Set the learning rates for a step of the epoch, counted from 0."""
        if self._schedule is not None:
            for optimizer in self._networks.optimizers:
                self._schedule.begin_step(optimizer, self.epoch, step)

    def validate(self) -> dict[str, float]:
        """Return the means of the validation's episodes, of which each step is taken together."""
        seeds = [derive_seed(self.config.seed, i, "validation") for i in range(len(self._others))]
        seen = [each.reset(seed) for each, seed in zip(self._others, seeds, strict=True)]
        expected = self._expected(np.stack(seen))
        episodes = [Episode(0.0, 0.0, 0)] * len(seen)
        live = list(range(len(seen)))
        while live:
            actions = self._best(np.stack([seen[i] for i in live]))
            going_on = []
            for i, action in zip(live, actions, strict=True):
                step, so_far = self._others[i].step(action), episodes[i]
                discounted = so_far.discounted + self.agent.gamma**so_far.length * step.reward
                reward, length = so_far.reward + step.reward, so_far.length + 1
                episodes[i] = Episode(reward, discounted, length)
                seen[i] = step.observation
                if not (step.terminated or step.truncated):
                    going_on.append(i)
            live = going_on
        reward, discounted, length = np.mean(episodes, axis=0).tolist()
        returns = {
            "val_return": reward,
            "val_length": length,
            "val_discounted_return": discounted,
        }
        return returns if expected is None else {**returns, "val_value": float(expected.mean())}

    def _best(self, seen: Array) -> Array:
        """Return the best action for each observation."""
        if isinstance(self.agent, DrawsActions):
            return self.agent.best(seen)
        return np.asarray(self.agent.values(seen).argmax(1))

    def _expected(self, seen: Array) -> Array | None:
        """Return what the agent expects from states on, (rows,)."""
        if isinstance(self.agent, DrawsActions):
            return self.agent.state_values(seen)
        return np.asarray(self.agent.values(seen).max(1))

    def _seed(self, purpose: str) -> int:
        return derive_seed(self.config.seed, self.config.stream, purpose, self.epoch)
