"""Backstitch (Wang et al., Interspeech 2017)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import torch
from annotated_types import Ge
from torch import Tensor
from torch.optim import Optimizer

from hpsearch.components.optimizers.base import (
    ONE_RATE,
    WANTS_DROPOUT,
    LearningRate,
    Params,
    WeightDecay,
)
from hpsearch.registry import Recommended, register


class Backstitch(Optimizer):
    """SGD in two steps on the same batch: back by alpha lr g, then on by (1 + alpha) lr g'.

    The second gradient is taken where the first step led. Every `interval`-th batch is done so,
    the others are plain SGD. alpha grows linearly over `warmup_steps`, as in Kaldi: the first
    steps of an untrained net are better plain. There is no momentum. Weight decay adds to the
    second gradient only, divided by 1 + alpha, so that it counts once.
    """

    needs_closure = True

    def __init__(
        self,
        params: Any,
        lr: float = 0.01,
        alpha: float = 0.3,
        interval: int = 1,
        warmup_steps: int = 0,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {"lr": lr, "weight_decay": weight_decay}
        super().__init__(params, defaults)
        self._alpha, self._interval, self._warmup_steps = alpha, interval, warmup_steps

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor]) -> Tensor:  # type: ignore[override]
        """Take a step; `closure` computes gradients again for the same batch."""
        loss = closure()
        alpha = self._alpha_of(self._count())
        if alpha:
            self._move(alpha, decay=0.0)
            closure()
        self._move(-(1 + alpha), decay=1 / (1 + alpha))
        return loss

    def _count(self) -> int:
        """Return how many steps there were before this one, and count it."""
        first = self.param_groups[0]["params"][0]
        state = self.state[first]
        steps = int(state.get("step", torch.zeros(())).item())
        state["step"] = torch.tensor(steps + 1.0)
        return steps

    def _alpha_of(self, step: int) -> float:
        if step % self._interval:
            return 0.0
        return self._alpha * min(1.0, (step + 1) / (self._warmup_steps + 1))

    def _move(self, factor: float, decay: float) -> None:
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is None:
                    continue
                gradient = param.grad
                if group["weight_decay"] and decay:
                    gradient = gradient.add(param, alpha=group["weight_decay"] * decay)
                param.add_(gradient, alpha=factor * group["lr"])


@register("optimizer", "backstitch", weight_copies=0, traits={ONE_RATE: True, WANTS_DROPOUT: True})
def backstitch(
    params: Params,
    lr: LearningRate = 0.01,
    alpha: Annotated[float, Ge(0), Recommended(0.1, 1.0)] = 0.3,
    interval: Annotated[int, Ge(1), Recommended(1, 4)] = 1,
    warmup_steps: Annotated[int, Ge(0)] = 0,
    weight_decay: WeightDecay = 0.0,
) -> Optimizer:
    """A step back and a longer one on, on the same batch (Wang et al., 2017); twice the time.

    Its authors found it good together with dropout; it has no momentum.
    """
    return Backstitch(params, lr, alpha, interval, warmup_steps, weight_decay)
