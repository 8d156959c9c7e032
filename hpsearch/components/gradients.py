"""What is done to a gradient before the optimizer sees it: clipping by name, and noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Interval
from torch import Tensor
from torch.nn import Parameter
from torch.nn.utils import clip_grad_value_, clip_grads_with_norm_

from hpsearch.registry import Recommended, register

#: (parameters with gradients, norm of the whole gradient) → None; changes the gradients in place
Clipping = Callable[[Sequence[Parameter], Tensor], None]


@dataclass(frozen=True)
class ClipNorm:
    """Clips by the norm of the whole gradient."""

    max_norm: float

    def __call__(self, params: Sequence[Parameter], total: Tensor) -> None:
        """Scale the gradients, whose norm is `total`, down to the greatest norm."""
        clip_grads_with_norm_(params, self.max_norm, total)


@dataclass(frozen=True)
class ClipValue:
    """Clips each component."""

    max_value: float

    def __call__(self, params: Sequence[Parameter], total: Tensor) -> None:
        """Clamp the gradients."""
        clip_grad_value_(params, self.max_value)


@register("gradient_clip", "norm")
def norm(max_norm: Annotated[float, Gt(0), Recommended(0.1, 10.0, log=True)] = 1.0) -> Clipping:
    """Scale the whole gradient down to an L2 norm of `max_norm` (Pascanu et al., 2013)."""
    return ClipNorm(max_norm)


@register("gradient_clip", "value")
def value(max_value: Annotated[float, Gt(0), Recommended(0.01, 1.0, log=True)] = 0.5) -> Clipping:
    """Clamp each component of the gradient to ±`max_value`."""
    return ClipValue(max_value)


#: step, counted from 0 over all epochs → standard deviation of the noise
Noise = Callable[[int], float]


@register("gradient_noise", "gaussian")
def gaussian(
    std: Annotated[float, Ge(0), Recommended(1e-4, 1.0, log=True)] = 0.1,
    decay: Annotated[float, Interval(ge=0, le=10)] = 0.0,
) -> Noise:
    """Normal noise of deviation std / (1 + step)^(decay / 2) added to each component.

    Neelakantan et al. (2015), arXiv 1511.06807, who decay by 0.55.
    """
    return lambda step: float(std / (1 + step) ** (decay / 2))
