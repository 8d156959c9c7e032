"""LARS (You et al., 2017, arXiv 1708.03888), as Barlow Twins uses it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import torch
from annotated_types import Gt
from torch import Tensor
from torch.optim import Optimizer

from hpsearch.components.optimizers.base import LearningRate, Momentum, Params, WeightDecay
from hpsearch.registry import Recommended, register


class LARS(Optimizer):
    """SGD with momentum whose gradients are scaled to each weight's norm.

    For parameters with two axes or more: g += weight_decay w; g *= eta |w| / |g|, as it is where
    either norm is 0; then v = momentum v + g and w -= lr v. Others are neither scaled nor decayed.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 0.2,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        eta: float = 1e-3,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "eta": eta}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take a step with the current gradients."""
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None:
                    self._step(param, _scaled(param, param.grad, group), group)

    def _step(self, param: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        state = self.state[param]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(param)
        velocity = state["momentum_buffer"].mul_(group["momentum"]).add_(grad)
        param.add_(velocity, alpha=-group["lr"])


def _scaled(param: Tensor, grad: Tensor, group: dict[str, Any]) -> Tensor:
    if param.ndim < 2:
        return grad
    grad = grad.add(param, alpha=group["weight_decay"])
    weight_norm, grad_norm = param.norm(), grad.norm()
    scale = group["eta"] * weight_norm / grad_norm
    both = (weight_norm > 0) & (grad_norm > 0)
    return grad * torch.where(both, scale, torch.ones_like(scale))


@register(
    "optimizer",
    "lars",
    weight_copies=1,
)
def lars(
    params: Params,
    lr: LearningRate = 0.2,
    momentum: Momentum = 0.9,
    weight_decay: WeightDecay = 0.0,
    trust_coefficient: Annotated[float, Gt(0), Recommended(1e-4, 1e-2, log=True)] = 1e-3,
) -> Optimizer:
    """Momentum with gradients scaled to each layer's weights (You et al., 2017); large batches."""
    return LARS(params, lr, momentum, weight_decay, trust_coefficient)
