"""What every agent has, and what one is built with.

    @register("agent", "mine")             # or agent: {name: "mine.py:make"} in a spec
    def make(observations, num_actions, networks=None, gamma=0.99) -> Agent: ...

An agent whose factory has the argument `networks` learns the spec's model; one without has none.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from annotated_types import Ge, Interval
from torch import nn

from hpsearch import registry
from hpsearch.components.gradients import Clipping
from hpsearch.components.initializers.by_name import initialize
from hpsearch.components.models.building import build_model, check_outputs
from hpsearch.errors import BadConfigurationError, ComponentError, placed
from hpsearch.registry import Recommended
from hpsearch.spec import SECTIONS, TrialConfig, default_of
from hpsearch.training.building import build, new_optimizer
from hpsearch.training.pacing import TrainingSchedule
from hpsearch.training.reinforcement.environments import Array, Environment, Observations

FAMILY = "agent"
#: argument of the factories of agents that learn a net
NETWORKS = "networks"
#: argument of the factories of agents that take actions of any kind
ACTIONS = "actions"
Share = Annotated[float, Interval(ge=0, le=1)]
Gamma = Annotated[float, Interval(ge=0, le=1), Recommended(0.9, 0.9999)]


class Transition(NamedTuple):
    """A step of an episode: what was seen, done, earned and seen then.

    Only where the episode is `terminated` is nothing to be had after it: one that was cut short
    (`truncated`) would have gone on (Pardo et al., 2018, arXiv 1712.00378).
    """

    observation: Array
    action: Any
    reward: float
    next_observation: Array
    terminated: bool
    truncated: bool = False


class Agent(Protocol):
    """Says what actions are worth, and learns from what they bring."""

    gamma: float

    def values(self, observations: Array) -> Array:
        """Return the value of each action (rows, actions): the best is taken."""

    def begin_epoch(self, generator: np.random.Generator) -> None:
        """Take the source of all random draws of an epoch."""

    def learn(self, transition: Transition) -> None:
        """Take note of a step of training, and learn."""

    def end_epoch(self) -> dict[str, float]:
        """Return the metrics of an epoch's learning."""

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of all that the next epoch depends on."""

    def load_state_dict(self, state: Mapping[str, Any], *, is_others: bool = False) -> None:
        """Go on from such a state, of this trial or, in a population, of another."""


@runtime_checkable
class DrawsActions(Protocol):
    """An agent with a policy: in training its actions are drawn from that, and none is random.

    Its `values` are the logarithms of the actions' probabilities or, where actions are numbers,
    their means. A factory that has the argument `actions` takes both (see Actions).
    """

    def draw(self, observations: Array) -> Array:
        """Return an action for each observation: int64 (rows,), or numbers (rows, numbers)."""

    def best(self, observations: Array) -> Array:
        """Return the likeliest action for each observation."""

    def state_values(self, observations: Array) -> Array | None:
        """Return what is expected from states on, (rows,); None where that isn't learned."""


@dataclass(frozen=True)
class Exploration:
    """Keywords of agents that act by values, beside their own: how often actions are random.

    That is so from `epsilon_start` at the first step on, linearly, to `epsilon_end` at step
    `epsilon_steps` and later (Mnih et al., 2015, Methods).
    """

    epsilon_start: Annotated[Share, Recommended(0.5, 1.0)] = 1.0
    epsilon_end: Annotated[Share, Recommended(0.01, 0.2, log=True)] = 0.05
    epsilon_steps: Annotated[int, Ge(1), Recommended(1000, 20_000, log=True)] = 10_000

    def at(self, step: int) -> float:
        """Return the share of random actions at a step, counted from 0.

        >>> Exploration(epsilon_end=0.0, epsilon_steps=10).at(5)
        0.5
        """
        done = min(1.0, step / self.epsilon_steps)
        return (1 - done) * self.epsilon_start + done * self.epsilon_end


registry.share_keywords(FAMILY, Exploration)


@dataclass(frozen=True)
class Networks:
    """Makes nets of the spec's `model`, and what they are trained with, for one trial.

    The learning rates of all optimizers follow the spec's `lr_schedule`, over the steps that are
    taken in the environment.
    """

    config: TrialConfig
    observations: Observations
    device: torch.device
    optimizers: list[torch.optim.Optimizer] = field(default_factory=list)

    @property
    def batch_size(self) -> int:
        """Transitions that a step learns from."""
        size = self.config.values.get("batch_size")
        if isinstance(size, str):
            with placed("batch_size"):
                raise BadConfigurationError("must be a number of transitions", size)
        return int(size or default_of("batch_size"))

    def new(self, output_size: int) -> nn.Module:
        """Return a net from observations to `output_size` numbers, its weights drawn."""
        section, folder = self.config.values["model"], Path(self.config.folder)
        shape = self.observations.shape
        with placed("model"):
            model = build_model(section, shape, output_size, folder)
            check_outputs(model, section["name"], shape, (output_size,))
        drawn = self.config.values.get("initializer") or default_of("initializer")
        with placed("initializer"):
            initialize(model, drawn, folder, None)
        return model.to(self.device)

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Return the spec's optimizer of a net; BadConfigurationError for one that wants several
        gradients a step."""
        made = new_optimizer(self.config, [{"params": list(model.parameters())}])
        if getattr(made, "needs_closure", False):
            with placed("optimizer"):
                rule = "must be an optimizer that takes one gradient a step"
                name = self.config.values["optimizer"]["name"]
                raise BadConfigurationError(rule, name, keyword="name")
        self.optimizers.append(made)
        return made

    def schedule(self, epoch_steps: int) -> TrainingSchedule | None:
        """Return the schedule of the learning rate; None without one."""
        if self.config.values.get("lr_schedule") is None:
            return None
        values = {**self.config.values, "batch_size": 1}  # a step in the environment
        return TrainingSchedule(
            replace(self.config, values=values), epoch_steps, lambda size, passes: epoch_steps
        )

    def clipping(self) -> Clipping | None:
        """Return the spec's clipping of gradients."""
        clipping: Clipping | None = build(self.config, "gradient_clip")
        return clipping


def make_agent(config: TrialConfig, environment: Environment, networks: Networks) -> Agent:
    """Build the agent of a configuration for an environment."""
    section, folder = config.values[FAMILY], Path(config.folder)
    component = registry.get(FAMILY, section["name"], folder)
    shared = registry.shared_keywords(FAMILY).keys() - component.own_keywords.keys()
    keywords = {key: value for key, value in section.items() if key not in {"name", *shared}}
    actions = environment.actions
    if not actions.is_discrete and ACTIONS not in inspect.signature(component.factory).parameters:
        with placed("environment"):
            rule = "must have a finite number of actions (gymnasium's Discrete) for this agent"
            raise BadConfigurationError(rule, actions.space, keyword="name")
    offered = {
        "observations": environment.observations,
        "num_actions": actions.number,
        ACTIONS: actions,
        NETWORKS: networks,
        "folder": folder,
    }
    try:
        agent: Agent = component.build(keywords, **offered)
    except ComponentError as error:
        if error.problem.path.partition(".")[0] not in SECTIONS:  # its net's have their place
            error.problem = error.problem.below(FAMILY)
        raise
    return agent


def exploration_of(section: Mapping[str, Any]) -> Exploration:
    """Return how the agent of a section explores."""
    known = registry.shared_keywords(FAMILY)  # an agent that draws actions has none of them
    return Exploration(**{key: value for key, value in section.items() if key in known})
