"""Whether hidden units say the same: correlations between them, and how many directions they span.

Shapes: N values of a unit over rows (also over the pixels or steps of each), U units.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from hpsearch.components.batch import Batch
from hpsearch.components.callbacks import BaseCallback
from hpsearch.components.layer_groups import Group, layer_groups
from hpsearch.components.weights import weights_of
from hpsearch.registry import register

NAME = "hidden_correlation"
CORRELATION, RANK = "unit_correlation", "effective_rank"
#: units of a layer that are compared, evenly spaced where it has more
MOST_UNITS = 1024
#: a unit is constant whose variance is below this part of its mean square
CONSTANT = 1e-10


@register("callback", NAME)
@dataclass(frozen=True)
class HiddenCorrelation(BaseCallback):
    """Measures how alike the hidden units of a layer are, each epoch.

    `unit_correlation`: the mean absolute correlation of two units of a layer: co-adaptation, which
    dropout is to prevent (Hinton et al., 2012, arXiv 1207.0580) and DeCov penalises (Cogswell et
    al., 2016, arXiv 1511.06068). `effective_rank`: exp(H) of the entropy H of the shares of the
    singular values of what a layer gives, centred (Roy & Vetterli, 2007), over the number of its
    units: 1 where each unit has a direction of its own, 1 / units where all have one. Both are
    means over layers, of what each gives to the next one. A unit of a convolution is a channel, or
    a pixel of it where the next layer gets them flattened. Constant units have no correlation; of
    a layer 1024 units are compared. On `rows` of the validation split, in evaluation mode.
    `by_layer` adds both by the name of each layer.
    """

    rows: Annotated[int, Ge(2)] = 1000
    by_layer: bool = False

    metrics: ClassVar[tuple[str, ...]] = (CORRELATION, RANK)

    @staticmethod
    def measures(model: nn.Module) -> bool:
        """Whether a model has a layer before its last."""
        return len(layer_groups(model)) > 1

    @torch.no_grad()
    def probe(self, model: nn.Module, read: Callable[[str], Iterator[Batch]]) -> dict[str, float]:
        """Return both measures on the validation rows that `read` gives."""
        left = self.rows
        with _watched(model) as layers:
            for batch in read("val"):
                first = batch.map(lambda leaf, left=left: leaf[:left])  # type: ignore[misc]
                model(first.inputs)
                left -= len(first)
                if left <= 0:
                    break
        covariances = {name: layer.covariance() for name, layer in layers.items() if layer.count}
        found = {
            CORRELATION: _defined(covariances, mean_correlation),
            RANK: _defined(covariances, effective_rank),
        }
        means = {name: sum(each.values()) / len(each) for name, each in found.items() if each}
        if not self.by_layer:
            return means
        return means | {
            f"{metric}/{layer}": value
            for metric, values in found.items()
            for layer, value in values.items()
        }


def mean_correlation(covariance: Tensor) -> float | None:
    """Return the mean absolute correlation of two units (U, U); None of fewer than two.

    >>> mean_correlation(torch.tensor([[4.0, 1.0], [1.0, 1.0]]))
    0.5
    """
    deviations = covariance.diag().sqrt()
    varied = deviations > 0
    num = int(varied.sum())
    if num < 2:
        return None
    deviations = deviations[varied]
    correlations = covariance[varied][:, varied] / torch.outer(deviations, deviations)
    return float((correlations.abs().sum() - num) / (num * (num - 1)))


def effective_rank(covariance: Tensor) -> float | None:
    """Return the effective rank of centred values over their units (U, U); None of constants.

    >>> effective_rank(torch.diag(torch.tensor([2.0, 2.0, 0.0, 0.0])))
    0.5
    """
    sizes = torch.linalg.eigvalsh(covariance).clamp_min(0).sqrt()
    if not float(sizes.sum()):
        return None
    shares = sizes / sizes.sum()
    return float(torch.special.entr(shares).sum().exp()) / len(covariance)


@dataclass(eq=False)
class _Sums:
    """Sums of a layer's units and of their products, over values."""

    count: int = 0
    shift: Tensor = field(default_factory=lambda: torch.zeros(0))
    sums: Tensor = field(default_factory=lambda: torch.zeros(0))
    products: Tensor = field(default_factory=lambda: torch.zeros(0))

    def add(self, values: Tensor) -> None:
        """Add values (N, U)."""
        values = values[:, :: -(-values.shape[1] // MOST_UNITS)].double()
        if not self.count:
            self.shift = values.mean(0)  # so that squares of a large mean don't hide variances
            self.sums = torch.zeros_like(self.shift)
            self.products = values.new_zeros(values.shape[1], values.shape[1])
        centred = values - self.shift
        self.count += len(values)
        self.sums += centred.sum(0)
        self.products += centred.T @ centred

    def covariance(self) -> Tensor:
        """Return the covariance (U, U), of constant units 0."""
        mean = self.sums / self.count
        found = (self.products / self.count - torch.outer(mean, mean)).cpu()
        square = (found.diag() + (mean + self.shift).square().cpu()) * CONSTANT
        varied = found.diag() > square
        return found * torch.outer(varied, varied)


@contextmanager
def _watched(model: nn.Module) -> Iterator[dict[str, _Sums]]:
    """Yield sums by the name of each layer but the last, filled as the model runs."""
    names = {module: name for name, module in model.named_modules()}
    groups = layer_groups(model)
    sums: dict[str, _Sums] = {}
    hooks = []
    for before, after in zip(groups, groups[1:], strict=False):
        sums[name := names[_layer_of(before)]] = _Sums()
        hooks.append(after[0].register_forward_pre_hook(_adding(sums[name])))
    try:
        yield sums
    finally:
        for hook in hooks:
            hook.remove()


def _layer_of(group: Group) -> nn.Module:
    return next((module for module in group if weights_of(module)), group[0])


def _adding(sums: _Sums) -> Callable[[nn.Module, tuple[object, ...]], None]:
    def add(module: nn.Module, inputs: tuple[object, ...]) -> None:
        x = inputs[0] if inputs else None
        if isinstance(x, Tensor) and x.is_floating_point() and x.ndim > 1:
            axis = 1 if x.ndim > 3 or isinstance(module, _ConvNd) else -1
            sums.add(x.movedim(axis, -1).flatten(0, -2))

    return add


def _defined(
    covariances: dict[str, Tensor], measure: Callable[[Tensor], float | None]
) -> dict[str, float]:
    found = {name: measure(each) for name, each in covariances.items()}
    return {name: value for name, value in found.items() if value is not None}
