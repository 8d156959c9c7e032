"""What trains a trial, by name: a launcher makes the trainer of one trial.

    @register("launcher", "mine")          # or, in a spec, launcher: {name: "launch.py:mine"}
    def mine(config: TrialConfig, data: Data | None, device: torch.device) -> EpochTrainer: ...

A launcher's other parameters are keywords of the spec's `launcher`: they may be searched, and may
be components themselves. Without that section the one is taken whose trait SUITS is true of the
trial; a launcher without that trait must be named. The trainer that it returns has the methods of
`EpochTrainer`. Only launchers with the trait EXPORTS leave a checkpoint that the final model can
be made of.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import torch

from hpsearch import registry
from hpsearch.components import Data
from hpsearch.errors import UserCodeError, placed
from hpsearch.registry import ComponentOf, register
from hpsearch.spec import TrialConfig
from hpsearch.training.command import CommandTrainer, OtherNodes, TrialFolders
from hpsearch.training.cross_validation import CrossValidation
from hpsearch.training.protocol import EpochTrainer
from hpsearch.training.reinforcement.trainer import ReinforcementTrainer
from hpsearch.training.stages import StagedTrainer, new_trainer
from hpsearch.training.trainer import Trainer
from hpsearch.training.user_code.classes import ClassTrainer
from hpsearch.training.user_code.functions import FunctionTrainer
from hpsearch.training.user_code.ranks import ranks_trainer
from hpsearch.training.user_code.trial import is_class

FAMILY = "launcher"
#: traits: (config, data) → whether it is the one for such a trial; whether it trains the model
#: of the spec's sections
SUITS, EXPORTS = "suits", "exports"
_Suits = Callable[[TrialConfig, Data | None], bool]


@register(
    FAMILY,
    "components",
    traits={
        SUITS: lambda config, data: _has_data(config) and not _folds(data),
        EXPORTS: True,
    },
)
def components(config: TrialConfig, data: Data, device: torch.device) -> Trainer | StagedTrainer:
    """Trains the model of the spec's sections, in its stages."""
    return new_trainer(config, data, device)


@register(
    FAMILY,
    "cross_validation",
    traits={SUITS: lambda config, data: _has_data(config) and _folds(data), EXPORTS: True},
)
def cross_validation(config: TrialConfig, data: Data, device: torch.device) -> CrossValidation:
    """Trains the model of the spec's sections once a fold of the data, side by side."""
    return CrossValidation(config, data, device)


@register(
    FAMILY,
    "reinforcement",
    traits={SUITS: lambda config, _: not config.is_own_code and not _has_data(config)},
)
def reinforcement(config: TrialConfig, device: torch.device) -> ReinforcementTrainer:
    """Trains the agent of the spec's sections in its environment."""
    return ReinforcementTrainer(config, device)


@register(
    FAMILY,
    "function",
    traits={SUITS: lambda config, _: bool(config.trainable) and not is_class(config)},
)
def function(
    config: TrialConfig,
    device: torch.device,
    folders: TrialFolders | None,
    other_nodes: OtherNodes | None,
) -> FunctionTrainer | CommandTrainer:
    """Runs the training function that `trainable` names, in as many processes as asked for."""
    if config.process_launcher is not None:
        return ranks_trainer(config, folders, other_nodes)
    return FunctionTrainer(config, device, config.metric or None)


@register(
    FAMILY,
    "class",
    traits={SUITS: lambda config, _: bool(config.trainable) and is_class(config)},
)
def class_(config: TrialConfig, device: torch.device) -> ClassTrainer:
    """Calls the methods of the class that `trainable` names."""
    return ClassTrainer(config, device, config.metric or None)


@register(FAMILY, "command", traits={SUITS: lambda config, _: config.command is not None})
def command(
    config: TrialConfig, folders: TrialFolders | None, other_nodes: OtherNodes | None
) -> CommandTrainer:
    """Runs the command that `command` gives."""
    return CommandTrainer(config, folders, other_nodes)


def launch(
    config: TrialConfig,
    data: Data | None,
    device: str | torch.device = "cpu",
    folders: TrialFolders | None = None,
    other_nodes: OtherNodes | None = None,
) -> EpochTrainer:
    """Return the trainer of a trial; `other_nodes` are those beside this one where it has several.

    Raises UserCodeError where the user's code can't be imported, and where no launcher suits the
    trial, or several do.
    """
    with placed("launcher"):
        section = config.values.get(FAMILY) or {"name": suiting(config, data)}
    trainer: EpochTrainer = ComponentOf(FAMILY).build(
        section,
        Path(config.folder),
        config=copy.deepcopy(config),  # a launcher of the user's may change what it gets
        data=data,
        device=torch.device(device),
        folders=folders,
        other_nodes=other_nodes,
    )
    return trainer


def suiting(config: TrialConfig, data: Data | None) -> str:
    """Return the name of the registered launcher that suits a trial."""
    found = [name for name in registry.names(FAMILY) if suits(name, config, data)]
    if len(found) != 1:
        which = f"{' and '.join(found)} suit" if found else "no registered one suits"
        raise UserCodeError(f"must be given: {which} the trial")
    return found[0]


def suits(name: str, config: TrialConfig, data: Data | None, default: bool = False) -> bool:
    """Whether a launcher suits a trial; `default` where it doesn't say."""
    says: _Suits | None = registry.get(FAMILY, name, Path(config.folder)).traits.get(SUITS)
    return default if says is None else says(config, data)


def exports_model(config: TrialConfig, data: Data | None) -> bool:
    """Whether the model of the spec's sections can be made of a trial's checkpoint."""
    section = config.values.get(FAMILY)
    name = section["name"] if section else suiting(config, data)
    return bool(registry.get(FAMILY, name, Path(config.folder)).traits.get(EXPORTS, False))


def _has_data(config: TrialConfig) -> bool:
    return not config.is_own_code and config.values.get("environment") is None


def _folds(data: Data | None) -> bool:
    return data is not None and bool(data.folds)
