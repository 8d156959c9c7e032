"""The noise scale of the gradient: how large a batch is before more rows tell little more."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor, nn

from hpsearch.components.batch import Batch, Tree
from hpsearch.components.callbacks import BaseCallback
from hpsearch.registry import register

NAME = "gradient_noise_scale"


@register("callback", NAME)
@dataclass(frozen=True)
class GradientNoiseScale(BaseCallback):
    """Measures tr(S) / |G|² of the gradient G and its covariance S over rows, each epoch.

    The simple noise scale of McCandlish et al. (2018), arXiv 1812.06162, appendix A, from two
    batch sizes: a training batch, and `batches` of them together, at the weights after the epoch.
    Batches far smaller than it take more steps for the same rows, far larger ones more rows. Left
    out where the gradient can't be told from its noise. Costs as many steps as `batches`.
    """

    batches: Annotated[int, Ge(2)] = 16

    metrics: ClassVar[tuple[str, ...]] = (NAME,)

    def measure(
        self,
        model: nn.Module,
        loss: Callable[[Tree, Batch], Tensor],
        batches: Iterator[Batch],
    ) -> dict[str, float]:
        """Return the noise scale, from batches of one size as they are trained on."""
        model = copy.deepcopy(model)  # statistics of norms move
        params = [param for param in model.parameters() if param.requires_grad]
        squares: list[Tensor] = []
        mean = [torch.zeros_like(param) for param in params]
        num_rows = 0
        for batch, _ in zip(batches, range(self.batches), strict=False):
            value = loss(model(batch.inputs), batch)
            grads = torch.autograd.grad(value, params, materialize_grads=True)
            squares.append(_square(grads))
            for total, grad in zip(mean, grads, strict=True):
                total.add_((grad - total) / len(squares))
            num_rows = len(batch)
        if len(squares) < 2:
            return {}
        small = float(torch.stack(squares).mean())
        scale = noise_scale(small, num_rows, float(_square(mean)), num_rows * len(squares))
        return {} if scale is None else {NAME: scale}


def noise_scale(small: float, small_size: int, big: float, big_size: int) -> float | None:
    """Return tr(S) / |G|² from the mean squared norms of gradients of two batch sizes.

    Both parts are estimated without bias (appendix A.1); None where that of |G|² is not above 0.

    >>> noise_scale(small=1 + 12 / 4, small_size=4, big=1 + 12 / 16, big_size=16)  # |G|² = 1
    12.0
    """
    signal = (big_size * big - small_size * small) / (big_size - small_size)
    noise = (small - big) / (1 / small_size - 1 / big_size)
    return noise / signal if signal > 0 else None


def _square(parts: Any) -> Tensor:
    return torch.stack([part.square().sum() for part in parts]).sum()
