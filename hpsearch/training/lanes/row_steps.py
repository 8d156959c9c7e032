"""An optimizer's step on one row of a stack.

torch's optimizers of the SGD and Adam families are called by their fused kernels, with all of a
group's parameters as one vector: a step costs a tenth of what it costs through the optimizer.
What they keep is that of the optimizer itself, so a trainer continues alone where it stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer


class RowStep(Protocol):
    """The optimizer of one lane."""

    def bind(self, values: Tensor, grads: Tensor) -> None:
        """Take the lane's row of parameters and gradients."""

    def step(self) -> None:
        """Step by the gradients, with the hyperparameters that the optimizer's groups hold."""

    def write_back(self) -> None:
        """Let the optimizer have what the steps keep."""


def row_step(optimizer: Optimizer, groups: Sequence[slice]) -> RowStep:
    """Return the step of an optimizer whose groups are these columns of a row."""
    fused = _FUSED.get(type(optimizer))
    if fused is None or any(group.get("maximize") for group in optimizer.param_groups):
        return _OptimizerStep(optimizer)
    return fused(optimizer, groups)


class _OptimizerStep:
    """Calls an optimizer, whose parameters have their gradients."""

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer

    def bind(self, values: Tensor, grads: Tensor) -> None:
        """Its parameters are views of the row already."""

    def step(self) -> None:
        """See RowStep."""
        self._optimizer.step()

    def write_back(self) -> None:
        """The optimizer keeps it itself."""


class _FusedStep:
    """What the fused steps share: vectors of state, by group and name."""

    _kept: tuple[str, ...]

    def __init__(self, optimizer: Optimizer, columns: Sequence[slice]) -> None:
        self._optimizer, self._columns = optimizer, columns
        self._states = [self._read(group["params"]) for group in optimizer.param_groups]
        self._rows: list[tuple[Tensor, Tensor]] = []

    def bind(self, values: Tensor, grads: Tensor) -> None:
        """See RowStep."""
        self._rows = [(values[columns], grads[columns]) for columns in self._columns]

    def write_back(self) -> None:
        """See RowStep."""
        for group, state in zip(self._optimizer.param_groups, self._states, strict=True):
            if not state:
                continue
            start = 0
            for param in group["params"]:
                part = slice(start, start + param.numel())
                self._optimizer.state[param].update(self._of_param(state, part, param.shape))
                start = part.stop

    def _read(self, params: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return what an optimizer keeps of a group; nothing before its first step."""
        states = [self._optimizer.state.get(param) or {} for param in params]
        kept = {}
        for name in self._kept:
            values = [state[name] for state in states if state.get(name) is not None]
            if params and len(values) == len(params):
                kept[name] = torch.cat([value.detach().flatten() for value in values])
        return kept

    def _of_param(
        self, state: dict[str, Tensor], part: slice, shape: torch.Size
    ) -> dict[str, Any]:
        return {name: state[name][part].view(shape) for name in self._kept if name in state}


class _SGDStep(_FusedStep):
    _kept = ("momentum_buffer",)

    def step(self) -> None:
        """See RowStep."""
        for group, state, (values, grads) in zip(
            self._optimizer.param_groups, self._states, self._rows, strict=True
        ):
            momentum = group["momentum"]
            is_first = momentum != 0 and not state
            if is_first:
                state["momentum_buffer"] = torch.empty_like(values)
            torch._fused_sgd_(
                [values],
                [grads],
                [state["momentum_buffer"]] if momentum != 0 else [],
                weight_decay=group["weight_decay"],
                momentum=momentum,
                lr=group["lr"],
                dampening=group["dampening"],
                nesterov=group["nesterov"],
                maximize=False,
                is_first_step=is_first,
            )


class _AdamStep(_FusedStep):
    _kept = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")

    def step(self) -> None:
        """See RowStep."""
        for group, state, (values, grads) in zip(
            self._optimizer.param_groups, self._states, self._rows, strict=True
        ):
            if not state:
                names = self._kept if group["amsgrad"] else self._kept[:2]
                state |= {name: torch.zeros_like(values) for name in names}
                state["step"] = torch.zeros((), dtype=torch.float32, device=values.device)
            state["step"] += 1
            beta1, beta2 = group["betas"]
            fused = torch._fused_adamw_ if group["decoupled_weight_decay"] else torch._fused_adam_
            fused(
                [values],
                [grads],
                [state["exp_avg"]],
                [state["exp_avg_sq"]],
                [state["max_exp_avg_sq"]] if group["amsgrad"] else [],
                [state["step"]],
                amsgrad=group["amsgrad"],
                lr=group["lr"],
                beta1=beta1,
                beta2=beta2,
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                maximize=False,
            )

    def _read(self, params: Sequence[Tensor]) -> dict[str, Tensor]:
        kept = super()._read(params)
        if kept:
            kept["step"] = self._optimizer.state[params[0]]["step"].clone()
        return kept

    def _of_param(
        self, state: dict[str, Tensor], part: slice, shape: torch.Size
    ) -> dict[str, Any]:
        # an optimizer counts the steps of each parameter by itself
        return super()._of_param(state, part, shape) | {"step": state["step"].clone()}


_FUSED: dict[type[Optimizer], type[_SGDStep] | type[_AdamStep]] = {
    SGD: _SGDStep,
    Adam: _AdamStep,
    AdamW: _AdamStep,
}
