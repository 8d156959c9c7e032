"""What a step of training spends its time on: the outputs, and the gradient."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor, nn

from hpsearch.components.batch import Batch, Tree
from hpsearch.components.callbacks import BaseCallback
from hpsearch.registry import register

NAME = "step_times"
FORWARD, BACKWARD, RATIO = "forward_ms", "backward_ms", "backward_to_forward"


@register("callback", NAME)
@dataclass(frozen=True)
class StepTimes(BaseCallback):
    """Measures the time of the outputs and their loss, and that of the gradient, each epoch.

    `forward_ms` and `backward_ms` are medians over `batches` training batches, in milliseconds,
    after one that isn't timed; `backward_to_forward` is their ratio, about 2 where all weights
    are trained and less where some are frozen. By itself, in float32 and not compiled, also of a
    trial that shares a program or has another precision. Costs as many steps as `batches`.
    """

    batches: Annotated[int, Ge(1)] = 8

    metrics: ClassVar[tuple[str, ...]] = (FORWARD, BACKWARD, RATIO)

    def measure(
        self,
        model: nn.Module,
        loss: Callable[[Tree, Batch], Tensor],
        batches: Iterator[Batch],
    ) -> dict[str, float]:
        """Return the times of steps that are not taken."""
        model = copy.deepcopy(model)  # statistics of norms move
        params = [param for param in model.parameters() if param.requires_grad]
        first = next(batches, None)
        if first is None or not params:
            return {}
        forward, backward = [], []
        for batch, _ in zip(chain([first, first], batches), range(self.batches + 1), strict=False):
            begin = _now(batch.device)
            value = loss(model(batch.inputs), batch)
            middle = _now(batch.device)
            torch.autograd.grad(value, params, allow_unused=True)
            forward.append(middle - begin)
            backward.append(_now(batch.device) - middle)
        outputs, gradient = (1000 * statistics.median(each[1:]) for each in (forward, backward))
        return {FORWARD: outputs, BACKWARD: gradient, RATIO: gradient / outputs}


def _now(device: torch.device) -> float:
    """Return the time, in seconds, when a device has done what it was given."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter()
