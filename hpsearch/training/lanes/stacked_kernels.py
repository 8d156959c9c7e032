"""What a step of many lanes does to their matrices of (lanes, parameters); compiled on CUDA.

Coefficients are (lanes, 1): see `stacked_steps`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

#: what `clip_grads_with_norm_` adds to a norm before it divides by it
CLIP_EPS = 1e-6


class Clip:
    """The clipping of each lane by the norm and by the value of its gradient, (lanes, 1)."""

    def __init__(self, limits: Sequence[tuple[float, float]], like: Tensor) -> None:
        norms, bounds = torch.tensor(limits, dtype=like.dtype).unbind(1)
        self.max_norms = norms[:, None].to(like.device) if norms.isfinite().any() else None
        self.bounds = bounds[:, None].to(like.device) if bounds.isfinite().any() else None

    def scale(self, norms: Tensor | None) -> Tensor | None:
        """Return by what gradients of these norms (lanes,) are multiplied; None: by nothing."""
        if self.max_norms is None or norms is None:
            return None
        return (self.max_norms / (norms[:, None] + CLIP_EPS)).clamp(max=1.0)


class _Fused:
    """A function that is compiled on CUDA to one kernel; called as it is where that fails."""

    def __init__(self, function: Callable[..., None]) -> None:
        self._function = function
        self._compiles = True

    @cached_property
    def _compiled(self) -> Callable[..., None]:
        return torch.compile(self._function, dynamic=True)

    def __call__(self, values: Tensor, *arguments: Any) -> None:
        if values.is_cuda and self._compiles:
            from torch._dynamo.exc import TorchDynamoException

            try:
                return self._compiled(values, *arguments)
            except TorchDynamoException:  # no compiler here; nothing has been computed yet
                self._compiles = False
        return self._function(values, *arguments)


def _clipped(grads: Tensor, scale: Tensor | None, bounds: Tensor | None) -> Tensor:
    if scale is not None:
        grads = grads * scale
    return grads if bounds is None else torch.clamp(grads, -bounds, bounds)


@_Fused
def step_sgd(
    values: Tensor,
    grads: Tensor,
    state: Sequence[Tensor],
    table: Sequence[Tensor],
    scale: Tensor | None,
    bounds: Tensor | None,
) -> None:
    """Step by (clipped) gradients; `state` is the momentum buffer, or nothing."""
    decay, keep, add, direct, buffered = table
    grads = torch.addcmul(_clipped(grads, scale, bounds), values, decay)
    if state:
        (buffer,) = state
        buffer.mul_(keep).addcmul_(grads, add)
        values.addcmul_(buffer, buffered)
    values.addcmul_(grads, direct)


@_Fused
def step_adam(
    values: Tensor,
    grads: Tensor,
    state: Sequence[Tensor],
    table: Sequence[Tensor],
    scale: Tensor | None,
    bounds: Tensor | None,
) -> None:
    """Step by (clipped) gradients; `state` are the means of g and g², and amsgrad's maximum."""
    decay, shrink, keep_mean, add, keep_square, add_square, rate, factor, eps = table
    mean, square, *greatest = state
    grads = torch.addcmul(_clipped(grads, scale, bounds), values, decay)
    mean.mul_(keep_mean).addcmul_(grads, add)
    square.mul_(keep_square).addcmul_(grads * grads, add_square)
    for each in greatest:
        each.copy_(torch.maximum(each, square))
    size = (greatest[0] if greatest else square).sqrt()
    values.mul_(shrink).addcmul_(mean / (size * factor + eps), rate)
