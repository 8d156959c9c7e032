"""Tries a program before trials are trained by it: does it compute what they do?"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from hpsearch.components.batch import Batch, map_tree
from hpsearch.components.layers.modules import Dropout
from hpsearch.formatting import show_error
from hpsearch.training.batches import TensorBatches
from hpsearch.training.lanes.comparing import is_close, random_states, without_fallback
from hpsearch.training.lanes.gradients import Gradients, LaneBatch
from hpsearch.training.lanes.programs import (
    at,
    have_same_batches,
    module_tree,
    needs_whole_batches,
)
from hpsearch.training.lanes.stack import Stack
from hpsearch.training.seeds import keeps_random_states
from hpsearch.training.trainer import Trainer

#: rows of the batch that is tried, at most
NUM_ROWS = 64
#: steps that are timed, of which the quickest counts: two at least, no more after so many seconds
NUM_TIMED = 9
TIMED_S = 0.1


class _NotSharedError(Exception):
    """Why a program can't be shared."""


@keeps_random_states
def why_not(trainers: Sequence[Trainer], *, stacked: bool = False) -> str:
    """Return why trainers of one program must be trained one by one, or nothing.

    A step's outputs, loss, gradients and buffers are compared with those that the first trainer
    gives by itself. Nothing is changed. Raises torch.OutOfMemoryError.
    """
    try:
        with tried(trainers, stacked=stacked) as trial, without_fallback():
            return trial.why_not()
    except _NotSharedError as error:
        return str(error)


@contextmanager
def _refused(rule: str) -> Iterator[None]:
    """Let errors say that a rule is broken; memory may be there for fewer lanes."""
    try:
        yield
    except (torch.OutOfMemoryError, _NotSharedError):
        raise
    except (Exception, SystemExit) as error:  # a model may do anything
        raise _NotSharedError(at("model", f"{rule}: {show_error(error)}")) from error


@contextmanager
def tried(
    trainers: Sequence[Trainer], *, stacked: bool, num_rows: int = NUM_ROWS
) -> Iterator[ProgramTrial]:
    """Put trainers together for a trial of their program, on so many rows of the data."""
    with _refused("can't be copied"):
        stack = Stack(trainers)
    try:
        trial = ProgramTrial(stack, Gradients(stack, closed_forms=not stacked), num_rows)
        try:
            yield trial
        finally:
            trial.restore()
    finally:
        stack.close()


class ProgramTrial:
    """One step of a stack on rows of the data; the stack's tensors stay as they are.

    What the first trainer gives by itself is computed by a copy of its model and its loss, whose
    Python state a step may change.
    """

    def __init__(self, stack: Stack, gradients: Gradients, num_rows: int) -> None:
        self._stack, self._gradients = stack, gradients
        self._first = stack.trainers[0]
        data = self._first.splits.batches("train")
        assert isinstance(data, TensorBatches)
        # of all of the data, which may be in the order of its classes
        rows = torch.linspace(0, len(data) - 1, min(num_rows, len(data))).long()
        self._batch = data.at(rows.to(data.rows.device))
        self._kept = {name: tensor.detach().clone() for name, tensor in stack.state.items()}
        for first_row in stack.dropout_buffers("first_row"):
            first_row.zero_()  # an epoch leaves that of its last part
        with _refused("can't be copied"):
            self._model, self._task, self._penalties = copy.deepcopy(
                (self._first.model, self._first.task, self._first.update.penalties)
            )
        self._before = self._tree()
        stack.program.train()
        self._model.train()

    @property
    def is_closed(self) -> bool:
        """Whether gradients have closed forms."""
        return self._gradients.is_closed

    def why_not(self) -> str:
        drawn = random_states()
        with _refused("a step of a trial by itself fails"):
            mine = [*self._alone(), *self._buffers_alone(), self._evaluated_alone()]
        if drawn != random_states():
            return at("model", "draws random numbers of its own")
        if self._before != self._tree():
            return at("model", "a step changes attributes of its modules")
        with _refused("can't be batched over trials"):
            theirs = [*self._fused(), *self._buffers(), self._evaluated()]
        if mine[0].dtype != theirs[0].dtype:  # vmap computes in fp32 what autocast doesn't reach
            return at("precision", "lanes of this model compute in another one")
        outputs_are, loss_is, *others_are = map(is_close, mine, theirs)
        if outputs_are and not loss_is:
            return at("task", "its loss is another one when it is batched over trials")
        if not (outputs_are and all(others_are)):
            return at("model", "gives other numbers when it is batched over trials")
        if needs_whole_batches(self._first):
            return ""
        with _refused("parts of a batch can't be computed by themselves"):
            return self._why_not_in_parts(mine[0])

    def _why_not_in_parts(self, outputs: Tensor) -> str:
        if not self._is_mean_of_rows(outputs):
            return at("task", "its loss isn't the mean of its rows' losses")
        if not have_same_batches(self._stack.trainers) and not self._is_by_row(outputs):
            return at("model", "the rows of a batch change each other's outputs, or its state")
        return ""

    def time_alone(self) -> float:
        """Return the seconds of a trainer's step by itself."""
        return self._timed(self._alone)

    def time_fused(self) -> float:
        """Return the seconds of a step of all lanes."""
        return self._timed(self._fused)

    def _timed(self, step: Callable[[], object]) -> float:
        times: list[float] = []
        is_alone = self._batch.device.type == "cpu" and torch.get_num_threads() == 1
        # other processes on its core would count as well: a long step meets more of them
        clock = time.thread_time if is_alone else time.perf_counter
        while len(times) < NUM_TIMED and (len(times) < 2 or sum(times) < TIMED_S):
            start = clock()
            step()
            if self._batch.device.type == "cuda":
                torch.cuda.synchronize(self._batch.device)
            times.append(clock() - start)
        self.restore()
        return min(times)

    def _alone(self) -> list[Tensor]:
        outputs = self._outputs(self._batch)
        loss = self._task.loss(outputs, self._batch)
        found = torch.autograd.grad(loss + self._penalty(), self._params, allow_unused=True)
        if not all(each is not None for each in found):
            raise _NotSharedError(at("model", "a step doesn't use all of its parameters"))
        return [outputs.detach(), loss.detach(), torch.cat([each.flatten() for each in found])]

    def _penalty(self) -> Tensor:
        penalties = [penalty() for penalty in self._penalties]
        return torch.stack(penalties).sum() if penalties else torch.zeros(())

    def _outputs(self, batch: Batch, first_row: int = 0) -> Tensor:
        """Return what the first trainer makes of rows, of a batch from its `first_row`."""
        for module in self._model.modules():
            if isinstance(module, Dropout):
                module.begin_pass()
                module.first_row.fill_(first_row)
        with self._first.autocast():
            # which it may change in place
            outputs: Tensor = self._model(map_tree(torch.clone, batch.inputs))
        if not isinstance(outputs, Tensor):
            raise _NotSharedError(at("model", "gives several outputs"))
        return outputs

    @cached_property
    def _params(self) -> list[nn.Parameter]:
        """The copy's parameters, in the order of the optimizer's groups."""
        return [self._named(name) for name in self._stack.leaves]

    def _named(self, name: str) -> Any:
        """Return the copy's tensor of a name of the stack."""
        root, _, rest = name.partition(".")
        path, _, key = rest.rpartition(".")
        top = self._model if root == "net" else self._task.criterion
        return getattr(top.get_submodule(path), key)

    def _buffers_alone(self) -> list[Tensor]:
        names = [name for name in self._stack.state if name not in self._stack.leaves]
        return [self._named(name).detach().clone() for name in names]

    def _evaluated_alone(self) -> Tensor:
        self._model.eval()
        with torch.no_grad():
            outputs = self._outputs(self._batch)
        self._model.train()
        return outputs

    def _evaluated(self) -> Tensor:
        self._stack.program.eval()
        with torch.no_grad():
            outputs: Tensor = self._stack.outputs(map_tree(torch.clone, self._batch.inputs))[0]
        self._stack.program.train()
        return outputs

    def _tree(self) -> tuple[Hashable, ...]:
        return (*module_tree(self._model), *module_tree(self._task.criterion))

    def _fused(self) -> list[Tensor]:
        num_lanes = len(self._stack)
        batch = self._batch.map(lambda tensor: tensor.expand(num_lanes, *tensor.shape))
        keys = self._stack.dropout_buffers("key")
        first_rows = torch.zeros(1, num_lanes, dtype=torch.int32, device=batch.device)
        self._gradients.begin(
            torch.stack(keys)[None] if keys else first_rows.new_zeros(1, 0, num_lanes), first_rows
        )
        outputs, losses = self._gradients.take(LaneBatch(batch), add=False)
        return [outputs[0], losses[0], self._stack.grads[0]]

    def _buffers(self) -> list[Tensor]:
        """Return copies of the first lane's buffers."""
        state = self._stack.state
        return [state[name][0].clone() for name in state if name not in self._stack.leaves]

    def _is_mean_of_rows(self, outputs: Tensor) -> bool:
        """Whether parts of a batch add up to it: a long and a short part."""
        loss, cut = self._task.loss, len(outputs) // 4
        whole, count = loss(outputs, self._batch), self._task.count
        shares = [
            loss(part, rows) * count(rows) / count(self._batch)
            for part, rows in zip(outputs.tensor_split([cut]), self._parts(cut), strict=True)
        ]
        return is_close(whole.detach(), torch.stack(shares).sum().detach())

    @torch.no_grad()
    def _is_by_row(self, outputs: Tensor) -> bool:
        """Whether a batch can be computed in parts: a long and a short one, after which nothing
        is left in buffers."""
        cut, before = len(outputs) // 4, self._buffers_alone()
        first, second = self._parts(cut)
        parts = [self._outputs(first), self._outputs(second, first_row=cut)]
        for module in self._model.modules():
            if isinstance(module, Dropout):
                module.first_row.zero_()
        is_stateless = all(map(torch.equal, before, self._buffers_alone()))
        return is_stateless and is_close(outputs, torch.cat(parts))

    def _parts(self, cut: int) -> Iterator[Batch]:
        return self._batch.split([cut, len(self._batch) - cut])

    def restore(self) -> None:
        """Put the stack's tensors back."""
        with torch.no_grad():
            for name, tensor in self._stack.state.items():
                tensor.copy_(self._kept[name])
