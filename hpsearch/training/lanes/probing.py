"""Tries a program before trials are trained by it: does it compute what they do, and how fast?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hpsearch.components.layers.modules import Dropout
from hpsearch.training.batches import TensorBatches
from hpsearch.training.lanes.programs import at, module_tree, needs_whole_batches
from hpsearch.training.lanes.stack import Stack
from hpsearch.training.seeds import keeps_random_states
from hpsearch.training.trainer import Trainer

#: rows of the batch that is tried, at most
NUM_ROWS = 64
#: numbers may differ by this, relative to the greatest of their tensor: sums in another order
TOLERANCE = 1e-3
#: a program is used where the lanes' steps are so many times as fast as by themselves
WORTH_IT = 1.15
#: steps that are timed, of which the quickest counts
NUM_TIMED = 5


@keeps_random_states
def why_not(trainers: Sequence[Trainer]) -> str:
    """Return why trainers of one program must be trained one by one, or nothing.

    A step's outputs, loss, gradients and buffers are compared with those that the first trainer
    gives by itself. Nothing is changed.
    """
    before = tuple(module_tree(trainers[0].model))
    stack = Stack(trainers)
    trial = _Trial(stack)
    try:
        with _no_fallback():
            reason = trial.why_not()
    except Exception as error:  # a model may do anything that vmap has no rule for
        reason = at("model", f"can't be batched over trials: {_first_line(error)}")
    finally:
        trial.restore()
        stack.close()
    if before != tuple(module_tree(trainers[0].model)):
        return at("model", "a step changes attributes of its modules")
    return reason


@dataclass(frozen=True)
class Pace:
    """How many lanes are best, the fewest that pay, and how many times as fast a step is."""

    best: int = 1
    fewest: int = 2
    speedup: float = 1.0


@keeps_random_states
def measured_pace(trainer: Trainer, candidates: Sequence[int]) -> Pace:
    """Measure steps of so many lanes like a trainer's, in ascending order; `best` is 1 if none
    pays. Those that need more memory than there is are left out.
    """
    found: dict[int, float] = {}
    for num_lanes in candidates:
        stack = Stack([trainer] * num_lanes)
        trial = _Trial(stack)
        try:
            found[num_lanes] = trial.time_alone() * num_lanes / trial.time_fused()
        except Exception:  # out of memory, or no program: `why_not` says so
            break
        finally:
            trial.restore()
            stack.close()
    paying = [num_lanes for num_lanes, speedup in found.items() if speedup > WORTH_IT]
    if not paying:
        return Pace()
    best = max(paying, key=lambda num_lanes: found[num_lanes])
    return Pace(best, min(paying), found[best])


class _Trial:
    """One step of a stack on first rows of the data; the stack's tensors stay as they are."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._first = stack.trainers[0]
        data = self._first.batches("train")
        assert isinstance(data, TensorBatches)
        num_rows = min(NUM_ROWS, len(data))
        self._x, self._y = data.x[:num_rows], data.y[:num_rows]
        self._kept = {name: tensor.detach().clone() for name, tensor in stack.state.items()}
        for module in self._first.model.modules():
            if isinstance(module, Dropout):
                module.begin_pass()
        stack.program.train()
        self._first.model.train()

    def why_not(self) -> str:
        alone = self._alone()
        self.restore()
        fused = self._fused()
        for mine, theirs in zip(alone, fused, strict=True):
            if not _is_close(mine, theirs):
                return at("model", "gives other numbers when it is batched over trials")
        if not needs_whole_batches(self._first) and not self._is_mean_of_rows(alone[0]):
            return at("task", "its loss isn't the mean of its rows' losses")
        return ""

    def time_alone(self) -> float:
        """Return the seconds of a trainer's step by itself."""
        return self._timed(self._alone)

    def time_fused(self) -> float:
        """Return the seconds of a step of all lanes."""
        return self._timed(self._fused)

    def _timed(self, step: Callable[[], object]) -> float:
        times = []
        for _ in range(NUM_TIMED):
            start = time.perf_counter()
            step()
            if self._x.is_cuda:
                torch.cuda.synchronize(self._x.device)
            times.append(time.perf_counter() - start)
        self.restore()
        return min(times)

    def _alone(self) -> list[Tensor]:
        trainer = self._first
        params = [param for group in trainer.optimizer.param_groups for param in group["params"]]
        for module in trainer.model.modules():
            if isinstance(module, Dropout):
                module.begin_pass()
        with trainer.autocast():
            outputs = trainer.model(self._x)
        loss = trainer.task.loss(outputs.float(), self._y)
        grads = torch.autograd.grad(loss, params)
        return [
            outputs.detach(),
            loss.detach(),
            torch.cat([each.flatten() for each in grads]),
            *self._buffers(),
        ]

    def _fused(self) -> list[Tensor]:
        num_lanes = len(self._stack)
        x = self._x.expand(num_lanes, *self._x.shape)
        y = self._y.expand(num_lanes, *self._y.shape)
        outputs, losses = self._stack.losses(x, y, None)
        self._stack.gradient(losses, add=False)
        return [outputs[0].detach(), losses[0].detach(), self._stack.grads[0], *self._buffers()]

    def _buffers(self) -> list[Tensor]:
        """Return copies of the first lane's buffers."""
        state = self._stack.state
        return [state[name][0].clone() for name in state if name not in self._stack.leaves]

    def _is_mean_of_rows(self, outputs: Tensor) -> bool:
        """Whether parts of a batch add up to it: a long and a short part."""
        loss, cut = self._first.task.loss, len(outputs) // 4
        whole, parts = loss(outputs.float(), self._y), (slice(0, cut), slice(cut, None))
        shares = [
            loss(outputs[part].float(), self._y[part]) * len(self._y[part]) / len(outputs)
            for part in parts
        ]
        return _is_close(whole.detach(), torch.stack(shares).sum().detach())

    def restore(self) -> None:
        """Put the stack's tensors back."""
        with torch.no_grad():
            for name, tensor in self._stack.state.items():
                tensor.copy_(self._kept[name])


@contextmanager
def _no_fallback() -> Iterator[None]:
    """Raise where vmap would compute an operation lane by lane, for which it has no rule."""
    functorch: Any = torch._C._functorch
    was_enabled = functorch._is_vmap_fallback_enabled()
    functorch._set_vmap_fallback_enabled(False)
    try:
        yield
    finally:
        functorch._set_vmap_fallback_enabled(was_enabled)


def _is_close(mine: Tensor, theirs: Tensor) -> bool:
    if not mine.is_floating_point():
        return torch.equal(mine, theirs)
    scale = mine.abs().max().item() if mine.numel() else 0.0
    return torch.allclose(mine, theirs, rtol=TOLERANCE, atol=TOLERANCE * max(scale, 1e-6))


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".strip().partition("\n")[0]
