"""The tensors of several trainers as stacks: each trainer's are views of its row."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from hpsearch.components.batch import Batch, Tree, in_float32, map_tree
from hpsearch.components.layers.modules import ChannelsLast, Dropout
from hpsearch.components.tasks import Task
from hpsearch.training.lanes.batched_layers import Chain, losses_of
from hpsearch.training.lanes.penalties import Penalties
from hpsearch.training.lanes.recurrent import take_steps_in_lanes
from hpsearch.training.lanes.tensors import (
    addresses,
    columns_of,
    named_modules,
    named_params,
    other_tensors,
    replace_tensors,
)
from hpsearch.training.lanes.weight_norms import divide_by_norms
from hpsearch.training.trainer import Trainer

#: how the names of the model's tensors begin
NET = "net."


class LaneProgram(nn.Module):
    """What one lane computes of a batch; its tensors are given with each call."""

    def __init__(self, trainers: Sequence[Trainer]) -> None:
        super().__init__()
        self.net: nn.Module
        self._task: Task
        first = trainers[0]
        self.net, self._task = copy.deepcopy((first.model, first.task))
        self.criterion = self._task.criterion
        self.autocast = first.autocast
        for mine, *theirs in zip(_modules(self), *map(_modules_of, trainers), strict=True):
            if isinstance(mine, ChannelsLast):
                mine.active = False
            elif hasattr(mine, "active"):  # lanes without dropout have the rate 0
                mine.active = any(module.active for module in theirs)
        take_steps_in_lanes(self.net)
        divide_by_norms(self.net)

    def forward(self, batch: Batch, is_row: Tensor | None = None) -> tuple[Tree, Tensor]:
        """Return the outputs of a batch and the mean loss over its rows.

        Rows for which `is_row` is false only fill the batch: the loss has no gradient by them.
        """
        self.begin_pass()
        with self.autocast():
            outputs = self.net(batch.inputs)
        return outputs, self.loss(learned_of(outputs, is_row), batch)

    def begin_pass(self) -> None:
        """Let dropouts draw from the start of their keys."""
        for module in self.dropouts:
            module.begin_pass()

    def loss(self, outputs: Tree, batch: Batch) -> Tensor:
        """Return the mean loss of rows."""
        return self._task.loss(outputs, batch)

    def totals(self, outputs: Tree, batch: Batch) -> Tensor:
        """Return the task's totals of rows."""
        return self._task.totals(outputs, batch)

    @cached_property
    def dropouts(self) -> list[Dropout]:
        """The dropout modules in the order of their keys."""
        return [module for module in self.net.modules() if isinstance(module, Dropout)]


class Stack:
    """Rows of parameters, gradients and buffers: a trainer's are views of its row.

    What is trained lies in one matrix, `values` float32 (lanes, parameters), ordered by the
    optimizer's groups, whose columns `groups` holds. `close` gives trainers tensors of their own.
    """

    def __init__(self, trainers: Sequence[Trainer]) -> None:
        self.trainers = list(trainers)
        self.program = LaneProgram(trainers)
        #: None for models that have another layer than chains
        self.chain = Chain.of(self.program.net, [trainer.model for trainer in self.trainers])
        self._losses_of = losses_of(self.program.criterion)
        self._names, self.groups = columns_of(trainers[0])
        params = [dict(named_params(trainer)) for trainer in trainers]
        rows = [
            torch.cat([each[name].detach().flatten() for name in self._names]) for each in params
        ]
        self.values = torch.stack(rows)
        self.grads = torch.zeros_like(self.values)
        self.leaves: dict[str, Tensor] = {}
        self._columns_of: dict[str, slice] = {}
        column = 0
        for name in self._names:
            shape = params[0][name].shape
            columns = self._columns_of[name] = slice(column, column + shape.numel())
            self.leaves[name] = _shaped(self.values, columns, shape).detach().requires_grad_()
            for row, each in enumerate(params):
                each[name].data = self.values[row, columns].view(shape)
                each[name].grad = self.grads[row, columns].view(shape)
            column = columns.stop
        self.state = self.leaves | self._stacked_others()
        self._penalties = Penalties(self.trainers)
        self._addresses = list(map(addresses, self.trainers))

    def __len__(self) -> int:
        return len(self.trainers)

    @property
    def num_params(self) -> int:
        """Numbers that a lane trains."""
        return self.values.shape[1]

    @cached_property
    def grads_by_name(self) -> dict[str, Tensor]:
        """Views of the gradients, (lanes, ...) with the axes of a parameter."""
        columns = self._columns_of.items()
        return {n: _shaped(self.grads, place, self.leaves[n].shape[1:]) for n, place in columns}

    def dropout_buffers(self, name: str) -> list[Tensor]:
        """Return a buffer of each dropout, (lanes,)."""
        return [
            self.state[f"{NET}{path}.{name}"]
            for path, module in self.program.net.named_modules()
            if isinstance(module, Dropout)
        ]

    def losses(self, batch: Batch, is_row: Tensor | None) -> tuple[Tree, Tensor]:
        """Return the outputs (lanes, rows, ...) of a batch of each lane, and losses (lanes,)."""
        if self.chain is not None:
            self.program.begin_pass()
            with self.program.autocast():
                outputs = self.chain(self.state, NET, batch.inputs)
            return outputs, self.losses_of_outputs(outputs, batch, is_row)
        lanes = (0, 0, None if is_row is None else 0)
        found: tuple[Tree, Tensor] = _vmapped(self._forward, lanes)(self.state, batch, is_row)
        return found

    def losses_of_outputs(self, outputs: Tensor, batch: Batch, is_row: Tensor | None) -> Tensor:
        """Return the losses (lanes,) of outputs (lanes, rows, ...) of a batch of each lane."""
        learned = learned_of(outputs, is_row)
        if self._losses_of is not None and have_classes(learned, batch):
            return self._losses_of(learned, batch.targets)
        found: Tensor = _vmapped(self._loss, (0, 0, 0))(self.state, learned, batch)
        return found

    def gradient(self, losses: Tensor, *, add: bool, begins: Tensor | None = None) -> None:
        """Take the gradient of losses by the lanes' parameters into `grads`, or add it.

        Where batches are computed in parts, `begins` (lanes,) is 1 for a lane's first part, with
        which its penalties are computed, and 0 for the others.
        """
        if self.has_penalties:
            losses = losses + self._penalties(self.leaves, begins)
        found = torch.autograd.grad(losses.sum(), list(self.leaves.values()))
        flat = [each.reshape(len(self), -1) for each in found]
        if add:
            self.grads.add_(torch.cat(flat, 1))
        else:
            torch.cat(flat, 1, out=self.grads)

    def add_penalties(self, begins: Tensor | None) -> None:
        """Add the gradients of the penalties, where there are any; see `gradient`."""
        for name, grad in self._penalties.gradients(self.leaves, begins).items():
            self.grads_by_name[name].add_(grad)

    @property
    def has_penalties(self) -> bool:
        """Whether lanes have penalties on their weights."""
        return bool(self._penalties)

    def outputs(self, x: Tree) -> Tree:
        """Return what all lanes make of the same rows, (lanes, rows, ...)."""
        if self.chain is not None:
            with self.program.autocast():
                return self.chain(self.state, NET, x.expand(len(self), *x.shape))
        return _vmapped(self._model, (0, None))(self.state, x)

    @torch.no_grad()
    def totals(self, outputs: Tree, batch: Batch, *, shared: bool) -> Tensor:
        """Return each lane's totals of rows, (lanes, totals); a batch may be `shared` by all."""
        lanes = (0, 0, None if shared else 0)
        found: Tensor = _vmapped(self._totals, lanes)(self.state, outputs, batch)
        return found

    @torch.no_grad()
    def totals_of_rows(self, outputs: Tree, batch: Batch, counts: Tensor) -> Tensor:
        """Return each lane's totals of the rows that count, a mask (lanes, rows)."""

        def of_lane(state: dict[str, Tensor], outputs: Tree, batch: Batch) -> Tensor:
            def of_row(outputs: Tree, row: Batch) -> Tensor:
                return self._totals(state, *(map_tree(_as_row, each) for each in (outputs, row)))

            found: Tensor = _vmapped(of_row, (0, 0))(outputs, batch)
            return found

        found: Tensor = _vmapped(of_lane, (0, 0, 0))(self.state, outputs, batch)
        return torch.where(counts[..., None], found, 0.0).sum(1)

    def holds(self, row: int) -> bool:
        """Whether a lane's tensors are still those of its row."""
        return self._addresses[row] == addresses(self.trainers[row])

    def take_back(self, row: int) -> None:
        """Put a lane's tensors into its row again, where a user's code has given it others."""
        params = dict(named_params(self.trainers[row]))
        for name, columns in self._columns_of.items():
            param, value, grad = params[name], self.values[row, columns], self.grads[row, columns]
            if param.data_ptr() != value.data_ptr():
                value.copy_(param.detach().flatten())
                param.data = value.view(param.shape)
            if param.grad is None or param.grad.data_ptr() != grad.data_ptr():
                if param.grad is not None:
                    grad.copy_(param.grad.flatten())
                param.grad = grad.view(param.shape)

    def close(self) -> None:
        """Let each trainer have its tensors for itself."""
        for trainer in self.trainers:
            kept = {**dict(named_params(trainer)), **other_tensors(trainer)}
            replace_tensors(trainer, {name: each.detach().clone() for name, each in kept.items()})
            for _, param in named_params(trainer):
                param.grad = None

    def _loss(self, state: dict[str, Tensor], outputs: Tree, batch: Batch) -> Tensor:
        with _reparametrized(self.program, state):
            return self.program.loss(outputs, batch)

    def _forward(self, state: dict[str, Tensor], batch: Batch, is_row: Tensor | None) -> Any:
        return functional_call(self.program, state, (batch, is_row))

    def _model(self, state: dict[str, Tensor], x: Tree) -> Any:
        own = {
            name.removeprefix(NET): tensor
            for name, tensor in state.items()
            if name.startswith(NET)
        }
        with self.program.autocast():
            return functional_call(self.program.net, own, (x,))

    def _totals(self, state: dict[str, Tensor], outputs: Tree, batch: Batch) -> Tensor:
        with _reparametrized(self.program, state):
            return self.program.totals(outputs, batch)

    def _stacked_others(self) -> dict[str, Tensor]:
        """Stack buffers, and parameters that aren't trained."""
        others = list(map(other_tensors, self.trainers))
        stacked = {
            name: torch.stack([each[name].detach() for each in others]) for name in others[0]
        }
        for row, trainer in enumerate(self.trainers):
            replace_tensors(trainer, {name: tensor[row] for name, tensor in stacked.items()})
        return stacked


def learned_of(outputs: Tree, is_row: Tensor | None) -> Tree:
    """Return outputs in float32; of rows that only fill a batch without gradients."""
    learned = in_float32(outputs)
    if is_row is None:
        return learned

    def cut(tensor: Tensor) -> Tensor:
        wide = is_row.view(*is_row.shape, *[1] * (tensor.ndim - is_row.ndim))
        return torch.where(wide, tensor, tensor.detach())

    return map_tree(cut, learned)


def have_classes(outputs: Tensor, batch: Batch) -> bool:
    """Whether outputs are one score a class of each row, (lanes, rows, classes)."""
    return outputs.ndim == 3 and batch.mask is None and not batch.targets.is_floating_point()


def _as_row(tensor: Tensor) -> Tensor:
    return tensor[None]


def _vmapped(function: Any, in_dims: tuple[int | None, ...]) -> Any:
    return vmap(function, in_dims=in_dims, randomness="error")


def _reparametrized(program: nn.Module, state: dict[str, Tensor]) -> Any:
    return torch.nn.utils.stateless._reparametrize_module(program, state, tie_weights=True)


def _shaped(values: Tensor, columns: slice, shape: torch.Size) -> Tensor:
    return values[:, columns].view(len(values), *shape)


def _modules_of(trainer: Trainer) -> list[nn.Module]:
    return [module for _, module in named_modules(trainer)]


def _modules(program: LaneProgram) -> list[nn.Module]:
    return [*program.net.modules(), *program.criterion.modules()]
