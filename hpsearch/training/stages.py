"""Trials of several stages: pre-training, then what the trial's own sections say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hpsearch.components.data import Data
from hpsearch.components.layer_groups import layer_groups
from hpsearch.components.stages import Stage
from hpsearch.components.tasks.base import as_learned_by
from hpsearch.errors import BadConfigurationError, place_of, placed
from hpsearch.spec import COMPONENT_SECTIONS, TrialConfig
from hpsearch.training.building import build_all
from hpsearch.training.trainer import Trainer

SECTION = "stages"
#: metrics that mean the same in each stage; those of an earlier one have its number otherwise
SAME_METRICS = frozenset({"lr", "grad_norm", "seconds"})


class StagedTrainer:
    """As a Trainer, whose first epochs are those of stages before the trial's own.

    Each stage has a trainer of its own, whose schedules span its epochs, and begins with the
    weights of the one before (see `hand_over`). The last stage has the rest of the budget, more
    where a callback ended an earlier one. Only its metrics have plain names, so nothing compares
    a trial by an earlier stage: these report `stage1_val_loss`. An epoch of any stage counts as
    one. The trainer of one stage is there at a time, and the state is that of the newest.
    """

    def __init__(
        self,
        config: TrialConfig,
        data: Data,
        device: str | torch.device = "cpu",
        *,
        stream: str = "",
    ) -> None:
        if data.folds:
            with placed(SECTION):
                raise BadConfigurationError("must not be given with folds of the data")
        self.config, self.data, self._device = config, data, device
        self._stream = stream
        self._stages: list[Stage] = build_all(config, SECTION)
        self._ended: list[int] = []  # epochs of the stages before the current one
        self._current = self._new()

    @property
    def epoch(self) -> int:
        """Epochs trained so far, of all stages."""
        return sum(self._ended) + self._current.epoch

    @property
    def end_reason(self) -> str:
        """See EpochTrainer."""
        return self._current.end_reason

    @property
    def trainers(self) -> Sequence[Trainer]:
        """See ModelTrainer: the last stage's, before it has begun a new one."""
        return (self._current if self._is_last else self._new(len(self._stages)),)

    def combined(self, metrics: Sequence[dict[str, float] | None]) -> dict[str, float] | None:
        """See ModelTrainer."""
        return metrics[0]

    def train_epoch(self) -> dict[str, float] | None:
        """Train the next epoch, which may begin a stage; see `Trainer.train_epoch`."""
        while not self._is_last:
            stage = self._stages[len(self._ended)]
            is_over = self._current.epoch >= stage.epochs
            metrics = None if is_over else self._current.train_epoch()
            if metrics is not None:
                return self._named(metrics)
            self._begin_next()
        return self._current.train_epoch()

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of the current stage's state, and how the ones before ended."""
        return {"ended": list(self._ended), "trainer": self._current.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state_dict` gave."""
        self._go_to(state["ended"])
        self._current.load_state_dict(state["trainer"])

    def load_weights(self, state: Mapping[str, Any]) -> None:
        """See ModelTrainer."""
        self._go_to(state["ended"])
        self._current.load_weights(state["trainer"])

    def final(self) -> Trainer:
        """See ModelTrainer: that of the last stage."""
        return self._current

    def try_optimizer(self, *, always: bool = False) -> None:
        """Build each stage with its optimizer; see `Trainer.try_optimizer`."""
        before = self._current
        for number in range(len(self._stages) + 1):
            trainer = self._new(number)
            if number:
                hand_over(before, trainer)
            with self._placed(number):
                trainer.try_optimizer(always=always)
            before = trainer

    def close(self) -> None:
        """See EpochTrainer."""
        self._current.close()

    @property
    def _is_last(self) -> bool:
        return len(self._ended) == len(self._stages)

    def _begin_next(self) -> None:
        before = self._current
        self._ended.append(before.epoch)
        self._current = self._new()
        hand_over(before, self._current)
        before.close()

    def _go_to(self, ended: Sequence[int]) -> None:
        if list(ended) != self._ended:
            self._current.close()
            self._ended = list(ended)
            self._current = self._new()

    def _new(self, number: int | None = None) -> Trainer:
        """Return a new trainer of a stage, by default of the current one."""
        number = len(self._ended) if number is None else number
        config = self._config_of(number)
        stream = self._stream if number == len(self._stages) else f"{self._stream}stage{number}/"
        with self._placed(number):
            data = as_learned_by(self.data, config.values.get("task"), Path(config.folder))
            return Trainer(config, data, self._device, stream=stream)

    def _config_of(self, number: int) -> TrialConfig:
        own = {name: value for name, value in self.config.values.items() if name != SECTION}
        if number == len(self._stages):
            rest = self.config.max_epochs - sum(self._ended)
            return replace(self.config, values=own, max_epochs=max(1, rest))
        stage = self._stages[number]
        values = {**own, **_written_out(stage.sections)}
        config = replace(self.config, values=values, max_epochs=stage.epochs)
        return replace(config, metric="", other_metrics=())  # what they measure is of the trial

    @contextmanager
    def _placed(self, number: int) -> Iterator[None]:
        """Let errors have the place of a stage where they are of its own sections."""
        try:
            yield
        except Exception as error:  # a user's component may raise anything
            is_own = number < len(self._stages) and (
                self._stages[number].sections.get(place_of(error).partition(".")[0]) is not None
            )
            if not is_own:
                raise
            with placed(SECTION, number):
                raise

    def _named(self, metrics: Mapping[str, float]) -> dict[str, float]:
        prefix = f"stage{len(self._ended) + 1}_"
        return {
            name if name in SAME_METRICS else prefix + name: value
            for name, value in metrics.items()
        }


def new_trainer(
    config: TrialConfig, data: Data, device: str | torch.device = "cpu"
) -> Trainer | StagedTrainer:
    """Return the trainer of a configuration, of one stage or of several."""
    kind = StagedTrainer if config.values.get(SECTION) else Trainer
    return kind(config, data, device)


def hand_over(before: Trainer, after: Trainer) -> None:
    """Let a stage begin with the weights of the one before: all of the same name and shape.

    Where it learns another task its head, the last of the model's groups of layers, begins anew.
    Raises BadConfigurationError where no weight is the same.
    """
    is_same_task = before.data.kind == after.data.kind
    head = set() if is_same_task else _names_of_head(after.model)
    own, given = after.model.state_dict(), before.model.state_dict()
    kept: dict[str, Tensor] = {
        name: tensor
        for name, tensor in given.items()
        if name not in head and name in own and own[name].shape == tensor.shape
    }
    if not any(tensor.ndim > 1 for tensor in kept.values()):
        with placed(SECTION):
            raise BadConfigurationError(
                "must leave weights to the stage after it, but the models of both have none in "
                "common but their heads"
            )
    after.model.load_state_dict({**own, **kept})
    if is_same_task and type(before.task) is type(after.task):
        state = before.task.criterion.state_dict()
        if state.keys() == after.task.criterion.state_dict().keys():
            after.task.criterion.load_state_dict(state)


def _names_of_head(model: nn.Module) -> set[str]:
    """Return the names of the parameters and buffers of a model's last group of layers."""
    parts = {part for module in layer_groups(model)[-1] for part in module.modules()}
    paths = [path for path, module in model.named_modules() if module in parts]
    return {
        name for name in model.state_dict() if any(name.rpartition(".")[0] == p for p in paths)
    }


def _written_out(sections: Mapping[str, Any]) -> dict[str, Any]:
    """Return sections of which each component is a mapping."""
    found = {}
    for name, value in sections.items():
        of = COMPONENT_SECTIONS[name]
        if of.many and value is not None:
            found[name] = [replace(of, many=False).written_out(each) for each in value]
        else:
            found[name] = of.written_out(value)
    return found
