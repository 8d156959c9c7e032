"""What a policy has done since it was last changed, and how much better that was than expected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from hpsearch.training.reinforcement.agents import Transition
from hpsearch.training.reinforcement.environments import Actions, Array, Observations

#: types of a transition's parts but for its observations
_DTYPES = {
    "reward": np.float32,
    "terminated": np.bool_,
    "truncated": np.bool_,
}


class Steps(NamedTuple):
    """Transitions as arrays, a row each, in the order in which they were taken."""

    observation: Array
    action: Array
    reward: Array
    next_observation: Array
    terminated: Array
    truncated: Array


class Rollout:
    """The steps that one policy has taken, one after another."""

    def __init__(self, observations: Observations, actions: Actions) -> None:
        self._observations, self._actions = observations, actions
        self._taken: list[Transition] = []
        self.num_episodes = 0

    def __len__(self) -> int:
        return len(self._taken)

    def add(self, transition: Transition) -> None:
        """Take a step in."""
        self._taken.append(transition)
        self.num_episodes += transition.terminated or transition.truncated

    def steps(self) -> Steps:
        """Return all that it holds."""
        seen, is_discrete = self._observations, self._actions.is_discrete
        dtypes = {**_DTYPES, "action": np.int64 if is_discrete else np.float32}
        shapes = {
            **dict.fromkeys(("observation", "next_observation"), seen.shape),
            "action": () if is_discrete else (self._actions.num_outputs,),
        }
        return Steps(
            *(
                np.array(
                    [getattr(each, name) for each in self._taken], dtypes.get(name, seen.dtype)
                ).reshape(len(self), *shapes.get(name, ()))
                for name in Steps._fields
            )
        )

    def clear(self) -> None:
        """Begin again, with another policy."""
        self._taken, self.num_episodes = [], 0

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of what it holds."""
        return {name: torch.from_numpy(part) for name, part in self.steps()._asdict().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Hold what another held."""
        self.clear()
        parts = (state[name].cpu().numpy().copy() for name in Steps._fields)
        for seen, action, reward, after, terminated, truncated in zip(*parts, strict=True):
            self.add(
                Transition(seen, action, float(reward), after, bool(terminated), bool(truncated))
            )


def advantages(
    steps: Steps, values: Array, next_values: Array, gamma: float, gae_lambda: float
) -> Array:
    """Return how much better each step was than expected, float64 (steps,): generalised advantage
    estimates (Schulman et al., 2016, equations 11 and 16).

    A_t = Σ_k (γ λ)^k δ_{t+k} over the rest of the episode, δ_t = r_t + γ V(s_{t+1}) - V(s_t),
    where V is 0 after the end of an episode, but not where it was cut short. With λ 1 it is the
    return less V(s_t), with λ 0 δ_t alone. Values are float (steps,), of the state and the next.
    """
    future = np.where(steps.terminated, 0.0, next_values)
    errors = steps.reward + gamma * future - values
    is_last = steps.terminated | steps.truncated
    found = np.zeros(len(errors))
    following = 0.0
    for step in range(len(errors) - 1, -1, -1):
        following = errors[step] + gamma * gae_lambda * (not is_last[step]) * following
        found[step] = following
    return found
