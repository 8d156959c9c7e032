"""Environments by name, as agents see them: arrays in, numbers of actions out.

    @register("environment", "mine")       # or environment: {name: "mine.py:make"} in a spec
    def make() -> gymnasium.Env: ...

An environment of a user's has spaces of gymnasium: observations that are Box or Discrete, actions
that are Discrete.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from annotated_types import Ge
from numpy.typing import NDArray
from torch import Tensor

from hpsearch import registry
from hpsearch.components.packages import optional_package
from hpsearch.errors import BadConfigurationError, UserCodeError, nearest_names, placed
from hpsearch.registry import register

FAMILY = "environment"
INSTALL = "pip install hpsearch[reinforcement]"
Array = NDArray[Any]
#: the greatest value of images of bytes
WHITE = 255.0


@dataclass(frozen=True)
class Pace:
    """Keywords that all environments have beside their own.

    An epoch is `epoch_steps` steps of training, then a validation by `val_episodes` episodes,
    which begin alike after every epoch of every trial. An episode ends after
    `max_episode_steps` at the latest, and the training once `val_return` is at least
    `reward_threshold` (475 of CartPole-v1): an agent that goes on may forget.
    """

    epoch_steps: Annotated[int, Ge(1)] = 1000
    val_episodes: Annotated[int, Ge(1)] = 20
    max_episode_steps: Annotated[int, Ge(1)] = 10_000
    reward_threshold: float | None = None


registry.share_keywords(FAMILY, Pace)


@register(FAMILY, "gymnasium")
def gymnasium(
    id: str,  # noqa: A002  # gymnasium calls it that
    options: Mapping[str, Any] = {},  # noqa: B006
) -> Any:
    """An environment of gymnasium by its `id`, such as CartPole-v1.

    `options` are those of the environment itself: `{is_slippery: false}` of FrozenLake-v1. It
    needs `pip install hpsearch[reinforcement]`.
    """
    library = optional_package("gymnasium", id, INSTALL, BadConfigurationError)
    if id not in library.registry and ":" not in id:
        near = nearest_names(id, library.registry)
        rule = "must be the id of an environment that gymnasium knows"
        raise BadConfigurationError(rule, id, keyword="id", nearest=near)
    try:
        return library.make(id, disable_env_checker=True, **options)
    except TypeError as error:  # an option that it doesn't have
        rule = f"must be options of {id} ({error})"
        raise BadConfigurationError(rule, dict(options), keyword="options") from error


@dataclass(frozen=True)
class Observations:
    """What an agent sees: arrays of `shape`.

    Of a finite number of states (`is_discrete`) a 1 stands at the state's place. Images of bytes
    have their channels first. `low` and `high` are the bounds of numbers, infinite where there
    are none.
    """

    shape: tuple[int, ...]
    is_discrete: bool
    low: Array
    high: Array
    dtype: Any = field(default=np.float32)

    @property
    def is_bytes(self) -> bool:
        """Whether observations are bytes, as images are."""
        return bool(self.dtype == np.uint8)

    def inputs(self, observations: Array, device: torch.device) -> Tensor:
        """Return observations (rows, *shape) as inputs of a net, bytes from 0 to 1."""
        inputs = torch.from_numpy(observations).to(device).float()
        return inputs / WHITE if self.is_bytes else inputs


@dataclass(frozen=True)
class Actions:
    """What an agent can do: one of `number` actions, counted from 0, or, where that is 0, numbers.

    Agents give numbers from -1 to 1, as a vector; they stand for those of `shape` from `low` to
    `high`. `space` says what gymnasium calls it.
    """

    number: int
    shape: tuple[int, ...]
    low: Array
    high: Array
    space: str
    first: int = 0

    @property
    def is_discrete(self) -> bool:
        """Whether actions are numbered."""
        return self.number > 0

    @property
    def num_outputs(self) -> int:
        """Return how many outputs a policy has."""
        return self.number or int(np.prod(self.shape))

    @property
    def any(self) -> Any:
        """Return an action."""
        return 0 if self.is_discrete else np.zeros(self.num_outputs, np.float32)

    def taken(self, action: Any) -> Any:
        """Return an agent's action as the environment takes it; numbers beyond a bound become
        that."""
        if self.is_discrete:
            return int(action) + self.first
        middle, half = (self.low + self.high) / 2, (self.high - self.low) / 2
        bounded = np.clip(np.reshape(action, self.shape), -1, 1)
        return (middle + half * bounded).astype(np.float32)


class Step(NamedTuple):
    """What an action brings; only a `terminated` episode has no rewards after it."""

    observation: Array
    reward: float
    terminated: bool
    truncated: bool


class Environment:
    """An environment of gymnasium, its observations and actions as agents have them."""

    def __init__(self, made: Any, max_episode_steps: int) -> None:
        for method in ("reset", "step", "observation_space", "action_space"):
            if not hasattr(made, method):
                rule = "must return a gymnasium.Env"
                raise UserCodeError(rule, type(made).__name__, keyword="name")
        self._made, self._limit, self._steps = made, max_episode_steps, 0
        self.observations = _observations(made.observation_space)
        self.actions = _actions(made.action_space)
        self.first_state = int(getattr(made.observation_space, "start", 0))

    def reset(self, seed: int | None = None) -> Array:
        """Begin an episode and return what is seen; a seed makes all from there on repeatable."""
        self._steps = 0
        return self._seen(self._made.reset(seed=seed)[0])

    def step(self, action: Any) -> Step:
        """Act."""
        self._steps += 1
        seen, reward, terminated, truncated, _ = self._made.step(self.actions.taken(action))
        is_over = bool(truncated) or self._steps >= self._limit
        return Step(self._seen(seen), float(reward), bool(terminated), is_over)

    def shown(self, number: int) -> Array:
        """Return what the environment itself shows at the start of so many episodes."""
        return np.stack([np.asarray(self._made.reset(seed=i)[0]) for i in range(number)])

    def try_out(self) -> None:
        """Take a step of an episode; UserCodeError for what it shows and earns that no agent can
        learn from."""
        for seen in (self.reset(seed=0), (step := self.step(self.actions.any)).observation):
            if seen.shape != self.observations.shape:
                rule = f"must show what its observation_space says, {self.observations.shape}"
                raise UserCodeError(rule, seen.shape, keyword="name")
            if not np.isfinite(seen).all():
                raise UserCodeError("must show finite numbers", seen.tolist(), keyword="name")
        if not np.isfinite(step.reward):
            raise UserCodeError("must give finite rewards", step.reward, keyword="name")

    def close(self) -> None:
        """Let go of what it holds."""
        self._made.close()

    def _seen(self, raw: Any) -> Array:
        seen = self.observations
        if seen.is_discrete:
            state = np.zeros(seen.shape, np.float32)
            state[int(raw) - self.first_state] = 1.0
            return state
        array = np.asarray(raw, seen.dtype)
        return np.moveaxis(array, -1, 0) if array.ndim == 3 else array


def make_environment(section: Mapping[str, Any], folder: Path) -> Environment:
    """Make an environment of a spec's section.

    Raises BadConfigurationError for one that can't be had, or whose observations or actions no
    agent can take, UserCodeError where a user's factory returns something else.
    """
    name = section["name"]
    with placed(FAMILY):
        component = registry.get(FAMILY, name, folder)
        shared = registry.shared_keywords(FAMILY).keys() - component.own_keywords.keys()
        keywords = {key: value for key, value in section.items() if key not in {"name", *shared}}
        made = component.build(keywords, folder=folder)
        return Environment(made, pace_of(section).max_episode_steps)


def pace_of(section: Mapping[str, Any]) -> Pace:
    """Return the epochs and episodes that an environment's section asks for."""
    known = registry.shared_keywords(FAMILY)
    return Pace(**{key: value for key, value in section.items() if key in known})


def _size(space: Any) -> int:
    """Return how many values a space has; 0 for one that isn't Discrete, as MultiBinary isn't."""
    return int(space.n) if hasattr(space, "n") and getattr(space, "shape", ()) == () else 0


def _actions(space: Any) -> Actions:
    none = np.zeros(0)
    if size := _size(space):
        return Actions(size, (), none, none, str(space), int(getattr(space, "start", 0)))
    low, high = getattr(space, "low", none), getattr(space, "high", none)
    if not (np.size(low) and np.isfinite(low).all() and np.isfinite(high).all()):
        rule = "must have actions with numbers or bounds (gymnasium's Discrete, Box)"
        raise BadConfigurationError(rule, str(space), keyword="name")
    return Actions(0, tuple(space.shape), low, high, str(space))


def _observations(space: Any) -> Observations:
    if size := _size(space):
        return Observations((size,), True, np.zeros(size), np.ones(size))
    low, high = getattr(space, "low", None), getattr(space, "high", None)
    if low is None or high is None:
        rule = "must have observations that are numbers or states (gymnasium's Box, Discrete)"
        raise BadConfigurationError(rule, str(space), keyword="name")
    shape = tuple(space.shape)
    dtype = np.uint8 if space.dtype == np.uint8 else np.float32
    if len(shape) == 3:
        shape = (shape[2], *shape[:2])
        low, high = (np.moveaxis(bound, -1, 0) for bound in (low, high))
    return Observations(shape, False, low, high, dtype)
