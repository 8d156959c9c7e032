"""AdaMod (Ding et al., 2019, arXiv 1910.12249), in the form of its authors' code."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any

import torch
from annotated_types import Interval
from torch import Tensor
from torch.optim import Optimizer

from hpsearch.components.optimizers.base import (
    AdaptiveLearningRate,
    Decay,
    Epsilon,
    Params,
    WeightDecay,
)
from hpsearch.registry import register


class AdaMod(Optimizer):
    """Adam whose rates are bounded by their own running mean.

    m, v as in Adam; eta = lr sqrt(1 - beta2^t) / (1 - beta1^t) / (sqrt(v) + eps);
    s = beta3 s + (1 - beta3) eta; w -= min(eta, s) m. The mean s isn't corrected for its start
    at 0, so it is a warm-up of about 1 / (1 - beta3) steps. Weight decay is decoupled. The paper's
    text bounds the rate before the correction of m; the released code, and this, after it.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float, float] = (0.9, 0.999, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take a step with the current gradients."""
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None:
                    self._step(param, param.grad, group)

    def _step(self, param: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        state = self.state[param]
        if not state:
            state["step"] = torch.zeros(())
            for name in ("exp_avg", "exp_avg_sq", "exp_avg_rate"):
                state[name] = torch.zeros_like(param)
        beta1, beta2, beta3 = group["betas"]
        state["step"] += 1
        step = state["step"].item()
        mean = state["exp_avg"].lerp_(grad, 1 - beta1)
        square = state["exp_avg_sq"].mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        size = group["lr"] * math.sqrt(1 - beta2**step) / (1 - beta1**step)
        rate = size / (square.sqrt() + group["eps"])
        bound = state["exp_avg_rate"].lerp_(rate, 1 - beta3)
        if group["weight_decay"]:
            param.mul_(1 - group["lr"] * group["weight_decay"])
        param.sub_(torch.minimum(rate, bound) * mean)


@register(
    "optimizer",
    "adamod",
    weight_copies=3,
)
def adamod(
    params: Params,
    lr: AdaptiveLearningRate = 1e-3,
    beta1: Decay = 0.9,
    beta2: Decay = 0.999,
    beta3: Annotated[float, Interval(ge=0, lt=1)] = 0.999,
    eps: Epsilon = 1e-8,
    weight_decay: WeightDecay = 0.0,
) -> Optimizer:
    """Adam whose rates are bounded by their running mean (Ding et al., 2019); `beta3` is long.

    Searches choose `beta3` from 0.9, 0.99, 0.999 and 0.9999: 1/(1 - beta3) should be at most a
    tenth of the steps.
    """
    return AdaMod(params, lr, (beta1, beta2, beta3), eps, weight_decay)
