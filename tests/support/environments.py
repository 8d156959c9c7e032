"""Small environments and the trials of agents in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from hpsearch.spec import TrialConfig
from hpsearch.training.reinforcement.q_table import QTable
from hpsearch.training.reinforcement.trainer import ReinforcementTrainer

CARTPOLE = {"id": "CartPole-v1", "epoch_steps": 200, "val_episodes": 3}
LAKE = {"id": "FrozenLake-v1", "options": {"is_slippery": False}, "epoch_steps": 200}
NET = {
    "model": {"name": "mlp", "hidden_sizes": [16]},
    "optimizer": {"name": "adam", "lr": 1e-3},
    "batch_size": 16,
}
CHAIN = {
    "name": "tests.support.environments:chain",
    "length": 10,
    "epoch_steps": 3000,
    "val_episodes": 2,
}
DQN_SECTION = {"name": "dqn", "learning_starts": 50, "train_every": 2, "target_every": 20}


class Chain(gymnasium.Env):
    """States in a row: action 1 leads on, action 0 back; the last step earns 1 and ends it."""

    def __init__(self, length: int) -> None:
        self.observation_space = gymnasium.spaces.Discrete(length, start=3)
        self.action_space = gymnasium.spaces.Discrete(2, start=5)
        self._place, self._length = 0, length

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        self._place = 0
        return 3, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        assert action in (5, 6)
        self._place = max(0, self._place + (1 if action == 6 else -1))
        is_over = self._place == self._length
        return (
            3 + min(self._place, self._length - 1),
            float(is_over),
            is_over,
            False,
            {},
        )


class Pictures(gymnasium.Env):
    """An image (height 6, width 5, 3 colours) of bytes whose corner says which action earns 1."""

    observation_space = gymnasium.spaces.Box(0, 255, (6, 5, 3), np.uint8)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self._draw(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        reward = float(action == self._right)
        return self._draw(), reward, False, False, {}

    def _draw(self) -> Any:
        self._right = int(self.np_random.integers(2))
        image = np.zeros((6, 5, 3), np.uint8)
        image[0, 4, 2] = 255 * self._right
        return image


class Reach(gymnasium.Env):
    """A number from -1 to 1 is shown: the action (1 + it, 2 - it), of numbers from -2 to 4, earns
    most, which is 0."""

    observation_space = gymnasium.spaces.Box(-1, 1, (1,))
    action_space = gymnasium.spaces.Box(-2, 4, (2,))

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self._draw(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert action.shape == (2,) and self.action_space.contains(action)
        wanted = np.array([1 + self._shown, 2 - self._shown])
        reward = -float(np.square(action - wanted).sum())
        return self._draw(), reward, False, False, {}

    def _draw(self) -> Any:
        self._shown = self.np_random.uniform(-1, 1)
        return np.array([self._shown], np.float32)


class Unlike(gymnasium.Env):
    """Shows and earns what it is told to, whatever its spaces say."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,))
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, seen: list[Any], reward: Any) -> None:
        self._seen, self._reward = np.array(seen).astype(np.float32), float(reward)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        return self._seen, {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self._seen, self._reward, False, False, {}


class WithoutSeed(Unlike):
    def reset(self) -> tuple[Any, dict[str, Any]]:  # type: ignore[override]
        return self._seen, {}


def unlike(seen: Any, reward: Any = 0.0) -> Unlike:
    return Unlike(seen, reward)


def reach() -> Reach:
    return Reach()


def unbounded() -> Reach:
    made = Reach()
    made.action_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,))
    return made


def switches() -> Reach:
    made = Reach()
    made.action_space = gymnasium.spaces.MultiBinary(1)
    return made


def without_seed() -> Unlike:
    return WithoutSeed([0.0, 0.0], 0.0)


def chain(length: int) -> Chain:
    return Chain(length)


def pictures() -> Pictures:
    return Pictures()


def config(environment: dict[str, Any], agent: dict[str, Any], **values: Any) -> TrialConfig:
    sections = {"environment": {"name": "gymnasium", **environment}, "agent": agent}
    return TrialConfig(0, 0, 4, {**sections, **values}, folder=str(Path()))


def make(
    environment: dict[str, Any], agent: dict[str, Any], **values: Any
) -> ReinforcementTrainer:
    return ReinforcementTrainer(config(environment, agent, **values))


def table_of(agent: Any) -> QTable:
    """Return an agent that is a table."""
    assert isinstance(agent, QTable)
    return agent
