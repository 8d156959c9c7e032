"""The optimizer's step of all lanes as one: torch's SGD and Adam families on whole stacks.

What a lane's optimizer multiplies by, and whether the lane takes a step at all, is a table of
coefficients, computed for an epoch beforehand. So a step is a few elementwise operations on
matrices of (lanes, parameters), the same whatever the lanes' hyperparameters, schedules and batch
sizes are, and a program that is recorded once (a CUDA graph) takes all of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Optimizer

from hpsearch.components.gradients import ClipNorm, ClipValue
from hpsearch.training.lanes.stacked_kernels import Clip
from hpsearch.training.trainer import Trainer

#: float64 (parts, lanes, groups)
Column = NDArray[np.float64]
Flags = NDArray[np.bool_]
#: a coefficient's column, and its value for lanes that take no step
Coefficient = tuple[Column, float]


class StackedStep(ABC):
    """Takes the steps of lanes whose optimizers are of one kind.

    `state` is what the optimizers keep, by name, float32 (lanes, parameters). After `write_back`
    a lane's optimizer has its row of it, after `close` a copy.
    """

    def __init__(self, trainers: Sequence[Trainer], columns: Sequence[slice]) -> None:
        self._trainers, self._columns = trainers, columns
        self._optimizers = [trainer.optimizer for trainer in trainers]
        self.state: dict[str, Tensor] = {}
        self._shared: Flags = np.zeros((len(trainers), len(columns)), np.bool_)

    def bind(self, values: Tensor, grads: Tensor) -> None:
        """Take the lanes' rows of parameters and gradients, and what the optimizers keep."""
        self._values, self._grads = values, grads
        if not self.state:
            self.state = {name: self._stacked(name) for name in self._names()}
        self._clip = Clip([_limits(trainer.update.clip) for trainer in self._trainers], values)

    @property
    def needs_norms(self) -> bool:
        """Whether each step takes the gradients' norms anyway."""
        return self._clip.max_norms is not None

    def coefficients(self, steps: np.ndarray, ends: Flags) -> Tensor:
        """Return the coefficients of an epoch's parts, float32 (parts, groups, columns, lanes).

        `steps` and `ends` (parts, lanes) say of which step of its epoch a lane computes a part,
        and which lanes step after it. Learning rates are left as the last step has them.
        """
        columns = self._coefficients(self._read(steps, ends), ends)
        table = np.stack([np.where(ends[..., None], *column) for column in columns], 2)
        on_cpu = torch.from_numpy(np.ascontiguousarray(table.transpose(0, 3, 2, 1))).float()
        return on_cpu.to(self._values.device)

    @torch.no_grad()
    def step(self, coefficients: Tensor, *, measure: bool) -> Tensor | None:
        """Step all lanes that take one now, by coefficients (groups, columns, lanes).

        Returns the gradients' norms (lanes,) before clipping, if asked for.
        """
        norms = None
        if measure or self.needs_norms:
            norms = torch.linalg.vector_norm(self._grads, dim=1)
        scale = self._clip.scale(norms)
        for columns, table in zip(self._columns, coefficients, strict=True):
            self._update(
                self._values[:, columns],
                self._grads[:, columns],
                [state[:, columns] for state in self.state.values()],
                [column[:, None] for column in table],
                scale,
                self._clip.bounds,
            )
        return norms if measure else None

    def write_back(self) -> None:
        """Let each optimizer have its row of what is kept."""
        if not np.array_equal(self._shared, self._kept()):
            self._share(copy=False)
            self._shared = self._kept()

    def close(self) -> None:
        """Let each optimizer have what is kept for itself."""
        self._share(copy=True)

    @abstractmethod
    def _names(self) -> tuple[str, ...]:
        """Return the names of the state that is as large as the parameters."""

    @abstractmethod
    def _kept(self) -> Flags:
        """Return of which groups a lane's optimizer keeps a state by now, (lanes, groups)."""

    @abstractmethod
    def _hyperparameters(self, group: Mapping[str, Any]) -> dict[str, float]:
        """Return those of a group, by name."""

    @abstractmethod
    def _coefficients(self, read: Mapping[str, Column], ends: Flags) -> list[Coefficient]:
        """Return the coefficients, given the hyperparameters at each part."""

    @abstractmethod
    def _update(self, *arguments: Any) -> None:
        """Change a group's parameters and state in place: see `stacked_kernels`."""

    def _state_of(
        self, lane: int, place: int, columns: slice, shape: torch.Size
    ) -> dict[str, Tensor]:
        """Return the state of an optimizer's parameter, as views."""
        return {name: state[lane, columns].view(shape) for name, state in self.state.items()}

    def _read(self, steps: np.ndarray, ends: Flags) -> dict[str, Column]:
        """Return the hyperparameters at each part, by name."""
        groups = self._optimizers[0].param_groups
        names = list(self._hyperparameters(groups[0]))
        table = np.empty((*ends.shape, len(groups), len(names)))
        for lane, trainer in enumerate(self._trainers):
            if trainer.changes_within_epochs:
                for part in np.flatnonzero(ends[:, lane]):
                    trainer.begin_step(int(steps[part, lane]))
                    table[part, lane] = self._now(trainer)
            table[slice(None) if not trainer.changes_within_epochs else ~ends[:, lane], lane] = (
                self._now(trainer)
            )
        return {name: table[..., number] for number, name in enumerate(names)}

    def _now(self, trainer: Trainer) -> list[list[float]]:
        groups = trainer.optimizer.param_groups
        return [list(self._hyperparameters(group).values()) for group in groups]

    def _stacked(self, name: str) -> Tensor:
        """Return what the optimizers keep under a name; zeros before the first step."""
        stacked = torch.zeros_like(self._values)
        for row, optimizer in zip(stacked, self._optimizers, strict=True):
            for _, param, columns in params_of(optimizer):
                if (kept := state_of(optimizer, param).get(name)) is not None:
                    row[columns].copy_(kept.detach().flatten())
        return stacked

    def _share(self, *, copy: bool) -> None:
        kept = self._kept()
        for lane in np.flatnonzero(kept.any(1)).tolist():
            optimizer = self._optimizers[lane]
            for place, (group, param, columns) in enumerate(params_of(optimizer)):
                if kept[lane, group]:
                    views = self._state_of(lane, place, columns, param.shape)
                    state = {k: view.clone() for k, view in views.items()} if copy else views
                    optimizer.state[param].update(state)


def params_of(optimizer: Optimizer) -> Iterator[tuple[int, Tensor, slice]]:
    """Yield the parameters with the numbers of their groups and their columns."""
    start = 0
    for number, group in enumerate(optimizer.param_groups):
        for param in group["params"]:
            yield number, param, slice(start, start := start + param.numel())


def by_group(optimizers: Sequence[Optimizer], value: Any) -> Any:
    """Return a value of each group, (lanes, groups)."""
    return np.array([[value(o, group) for group in o.param_groups] for o in optimizers])


def state_of(optimizer: Optimizer, param: Tensor) -> Mapping[str, Any]:
    return optimizer.state.get(param) or {}


def _limits(clip: ClipNorm | ClipValue | Any) -> tuple[float, float]:
    """Return the greatest norm and the greatest component that clipping leaves."""
    norm = clip.max_norm if isinstance(clip, ClipNorm) else np.inf
    return norm, clip.max_value if isinstance(clip, ClipValue) else np.inf
