"""One step of training: from a batch to new weights."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from hpsearch.components.batch import Batch, Tree, joined, map_tree, versions
from hpsearch.components.constraints import Projection
from hpsearch.components.gradients import Clipping
from hpsearch.components.optimizers import hold_average
from hpsearch.components.regularizers import Penalty
from hpsearch.errors import UserCodeError
from hpsearch.training.dropout_keys import DropoutKeys
from hpsearch.training.gradient_noise import GradientNoise
from hpsearch.training.weight_average import WeightAverage


@dataclass
class Update:
    """Gradient, clipping, noise, the optimizer's step and the projections after it.

    An optimizer whose `step` wants a closure (backstitch, L-BFGS) may take the gradient several
    times; each time the batch sees the same dropout masks, and batch norm's statistics move once.
    With `accumulate` a batch is computed in so many parts, whose gradients add up to its own:
    `count` says what the loss of each is a mean over. A
    `scaler` keeps small gradients from vanishing in half precision, and leaves out a step whose
    gradient has overflowed.
    """

    model: nn.Module
    forward: Callable[[Tree], Tree]
    loss: Callable[[Tree, Batch], Tensor]
    optimizer: torch.optim.Optimizer
    autocast: Callable[[], contextlib.AbstractContextManager[None]]
    penalties: Sequence[Penalty] = ()
    clip: Clipping | None = None
    noise: GradientNoise | None = None
    projections: Sequence[Projection] = ()
    keys: DropoutKeys | None = None
    accumulate: int = 1
    count: Callable[[Batch], Tensor | int] = len
    scaler: torch.amp.GradScaler | None = None
    average: WeightAverage | None = None

    def __post_init__(self) -> None:
        groups = self.optimizer.param_groups
        self._params = [param for group in groups for param in group["params"]]

    def __call__(self, batch: Batch, *, measure: bool) -> tuple[Tree, Tensor | None]:
        """Take a step; returns the outputs before it and, if asked for, the gradient's norm."""
        if getattr(self.optimizer, "needs_closure", False):
            outputs, norm = self._step_with_closure(batch, measure)
        else:
            outputs, _, norm = self._gradient(batch, measure)
            self._take_step()
        self._end_step()
        return outputs, norm

    def apply(self, take_step: Callable[[], None], *, measure: bool) -> Tensor | None:
        """Take a step, as this function does, with gradients that are there already.

        Returns the gradient's norm before clipping, if asked for.
        """
        norm = self._finish_gradient(measure)
        take_step()
        self._end_step()
        return norm

    def end_epoch(self) -> None:
        """Let the model hold the average of its weights, or its optimizer's, if there is one.

        That is projected, too; an optimizer's is of weights as the steps left them.
        """
        if hold_average(self.optimizer):
            self._project()
        if self.average is not None and self.average.end_epoch():
            self._project()

    def _end_step(self) -> None:
        self._project()
        if self.average is not None:
            self.average.end_step()

    def _project(self) -> None:
        for project in self.projections:
            project()

    def _gradient(self, batch: Batch, measure: bool) -> tuple[Tree, Tensor, Tensor | None]:
        for param in self._params:
            param.grad = None
        outputs, loss = self._backward(batch)
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        return outputs, loss, self._finish_gradient(measure)

    def _backward(self, batch: Batch) -> tuple[Tree, Tensor]:
        """Take the gradient of a batch, part by part; returns its outputs and its loss."""
        num_parts = max(1, min(self.accumulate, len(batch) // 2))  # batch norm needs two rows
        kept: list[Tree] = []
        losses: list[Tensor] = []
        first_row = 0
        for part in [batch] if num_parts == 1 else batch.divided(num_parts):
            if self.keys is not None:
                self.keys.begin_rows(first_row)
            first_row += len(part)
            with self.autocast():
                outputs = self.forward(part.inputs)
            before = versions(outputs), versions(part.targets)
            loss = self.loss(outputs, part)
            if before != (versions(outputs), versions(part.targets)):
                raise UserCodeError(_changed(before[1] != versions(part.targets)))
            loss = loss if num_parts == 1 else loss * (self.count(part) / self.count(batch))
            for penalty in () if losses else self.penalties:
                loss = loss + penalty()
            torch.autograd.backward(loss if self.scaler is None else self.scaler.scale(loss))
            kept.append(map_tree(torch.detach, outputs))
            losses.append(loss.detach())
        if num_parts == 1:
            return kept[0], losses[0]
        return joined(kept), torch.stack(losses).sum()

    def _take_step(self) -> None:
        if self.scaler is None:
            self.optimizer.step()
            return
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def _finish_gradient(self, measure: bool) -> Tensor | None:
        """Clip, and add noise; returns the norm before that, if asked for."""
        is_noisy = self.noise is not None and self.noise.is_on
        if self.clip is None and not is_noisy and not measure:
            return None
        params = [param for param in self._params if param.grad is not None]
        grads = [param.grad for param in params if param.grad is not None]
        norm = get_total_norm(grads)
        if self.scaler is not None and not bool(norm.isfinite()):
            return None  # the step is left out
        if self.clip is not None:
            self.clip(params, norm)
        if self.noise is not None and is_noisy:
            self.noise.add()
        return norm if measure else None

    def _step_with_closure(self, batch: Batch, measure: bool) -> tuple[Tree, Tensor | None]:
        results: list[tuple[Tree, Tensor, Tensor | None]] = []
        before = [buffer.clone() for buffer in self.model.buffers()]
        generators = _GeneratorStates(batch.device)

        @torch.enable_grad()
        def closure() -> Tensor:
            if results:
                generators.restore()
                with torch.no_grad():
                    for buffer, old in zip(self.model.buffers(), before, strict=True):
                        buffer.copy_(old)
            results.append(self._gradient(batch, measure))
            return results[-1][1]

        self.optimizer.step(closure)  # type: ignore[arg-type]  # torch's stub wants a float
        outputs, _, norm = results[0]
        return outputs, norm


def _changed(are_targets: bool) -> str:
    what = "targets" if are_targets else "outputs"
    return (
        f"the loss must not change its {what} in place, from which the metrics are computed: work "
        f"on {what}.clone()"
    )


class _GeneratorStates:
    """The states of torch's generators, of the CPU and of a device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._cpu = torch.get_rng_state()
        self._cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        self._mps = torch.mps.get_rng_state() if device.type == "mps" else None

    def restore(self) -> None:
        torch.set_rng_state(self._cpu)
        if self._cuda is not None:
            torch.cuda.set_rng_state(self._cuda, self._device)
        if self._mps is not None:
            torch.mps.set_rng_state(self._mps)
