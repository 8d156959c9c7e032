"""torch's optimizers as stacked steps: SGD, Adam and AdamW."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

from hpsearch.components.gradients import ClipNorm, ClipValue
from hpsearch.training.lanes.stacked_kernels import step_adam, step_sgd
from hpsearch.training.lanes.stacked_steps import (
    Coefficient,
    Column,
    Flags,
    StackedStep,
    by_group,
    params_of,
    state_of,
)
from hpsearch.training.trainer import Trainer


def kind_of_step(trainer: Trainer) -> Hashable:
    """Return what is the same for trainers whose steps can be taken as one; None if none can."""
    groups = trainer.optimizer.param_groups
    update = trainer.update
    if any(group.get("maximize") for group in groups) or update.projections or update.noise:
        return None
    if update.average is not None:
        return None
    if trainer.augmenting:  # lane by lane, with what is not in the tables of an epoch
        return None
    if any(param.requires_grad for param in trainer.task.criterion.parameters()):
        return None  # what is measured of a step goes by what the loss has learned since
    if not isinstance(update.clip, ClipNorm | ClipValue | None):
        return None
    if type(trainer.optimizer) is SGD:
        return "sgd"
    amsgrad = {bool(group.get("amsgrad")) for group in groups}
    if type(trainer.optimizer) in (Adam, AdamW) and len(amsgrad) == 1:
        return "adam", amsgrad.pop()
    return None


def stacked_step(trainers: Sequence[Trainer], columns: Sequence[slice]) -> StackedStep:
    """Return the step of trainers of one kind, whose groups are these columns of their rows."""
    made = _SGDStep if type(trainers[0].optimizer) is SGD else _AdamStep
    return made(trainers, columns)


class _SGDStep(StackedStep):
    """p -= lr d with d = g, the buffer b, or g + m b (Nesterov); b = m b + (1 - dampening) g."""

    def __init__(self, trainers: Sequence[Trainer], columns: Sequence[slice]) -> None:
        super().__init__(trainers, columns)
        self._has_buffer: Flags = by_group(self._optimizers, _has_buffer)

    def _names(self) -> tuple[str, ...]:
        groups = [group for optimizer in self._optimizers for group in optimizer.param_groups]
        schedules = any(trainer.changes_within_epochs for trainer in self._trainers)
        needs = schedules or self._has_buffer.any() or any(group["momentum"] for group in groups)
        return ("momentum_buffer",) if needs else ()

    def _kept(self) -> Flags:
        return self._has_buffer

    def _hyperparameters(self, group: Mapping[str, Any]) -> dict[str, float]:
        names = ("lr", "momentum", "dampening", "weight_decay", "nesterov")
        return {name: float(group[name]) for name in names}

    def _coefficients(self, read: Mapping[str, Column], ends: Flags) -> list[Coefficient]:
        lr, momentum, is_nesterov = read["lr"], read["momentum"], read["nesterov"] != 0
        uses = (momentum != 0) & ends[..., None]
        is_first = uses & ~self._has_buffer & (np.cumsum(uses, 0) == 1)
        self._has_buffer = self._has_buffer | uses.any(0)
        direct = np.where((momentum == 0) | is_nesterov, -lr, 0.0)
        buffered = np.where(is_nesterov, momentum, 1.0) * np.where(uses, -lr, 0.0)
        return [
            (read["weight_decay"], 0.0),
            (np.where(uses, np.where(is_first, 0.0, momentum), 1.0), 1.0),
            (np.where(uses, np.where(is_first, 1.0, 1 - read["dampening"]), 0.0), 0.0),
            (direct, 0.0),
            (buffered, 0.0),
        ]

    def _update(self, *arguments: Any) -> None:
        step_sgd(*arguments)


class _AdamStep(StackedStep):
    """m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g²; p -= lr / c1 · m / (√v / √c2 + eps)."""

    def __init__(self, trainers: Sequence[Trainer], columns: Sequence[slice]) -> None:
        super().__init__(trainers, columns)
        self._counts = by_group(self._optimizers, _num_steps)
        self._group_of_place = [group for group, _, _ in params_of(self._optimizers[0])]

    def bind(self, values: Tensor, grads: Tensor) -> None:
        """See StackedStep."""
        super().bind(values, grads)
        self._steps = torch.zeros(len(values), len(self._group_of_place), device=values.device)
        self._write_counts()

    def write_back(self) -> None:
        """See StackedStep."""
        super().write_back()
        self._write_counts()

    def _names(self) -> tuple[str, ...]:
        amsgrad = self._optimizers[0].param_groups[0]["amsgrad"]
        return ("exp_avg", "exp_avg_sq", *(["max_exp_avg_sq"] if amsgrad else []))

    def _kept(self) -> Flags:
        kept: Flags = self._counts > 0
        return kept

    def _hyperparameters(self, group: Mapping[str, Any]) -> dict[str, float]:
        beta1, beta2 = group["betas"]
        names = ("lr", "eps", "weight_decay", "decoupled_weight_decay")
        return {"beta1": beta1, "beta2": beta2, **{name: float(group[name]) for name in names}}

    def _coefficients(self, read: Mapping[str, Column], ends: Flags) -> list[Coefficient]:
        lr, beta1, beta2, decay = (read[n] for n in ("lr", "beta1", "beta2", "weight_decay"))
        is_decoupled = read["decoupled_weight_decay"] != 0
        counts = self._counts + np.cumsum(ends, 0)[..., None]
        self._counts = counts[-1]
        counts = np.maximum(counts, 1)  # before its first step a lane has idle parts
        return [
            (np.where(is_decoupled, 0.0, decay), 0.0),
            (np.where(is_decoupled, 1 - lr * decay, 1.0), 1.0),
            (beta1, 1.0),
            (1 - beta1, 0.0),
            (beta2, 1.0),
            (1 - beta2, 0.0),
            (-lr / (1 - beta1**counts), 0.0),
            (1 / np.sqrt(1 - beta2**counts), 1.0),
            (read["eps"], 1.0),
        ]

    def _update(self, *arguments: Any) -> None:
        step_adam(*arguments)

    def _state_of(
        self, lane: int, place: int, columns: slice, shape: torch.Size
    ) -> dict[str, Tensor]:
        # an optimizer counts the steps of each parameter by itself
        views = super()._state_of(lane, place, columns, shape)
        return {**views, "step": self._steps[lane, place]}

    def _write_counts(self) -> None:
        counts = torch.from_numpy(self._counts[:, self._group_of_place])
        self._steps.copy_(counts)


def _has_buffer(optimizer: Optimizer, group: Mapping[str, Any]) -> bool:
    states = [state_of(optimizer, param) for param in group["params"]]
    return any(state.get("momentum_buffer") is not None for state in states)


def _num_steps(optimizer: Optimizer, group: Mapping[str, Any]) -> int:
    counts = [state_of(optimizer, param).get("step") for param in group["params"][:1]]
    return sum(int(count) for count in counts if count is not None)
