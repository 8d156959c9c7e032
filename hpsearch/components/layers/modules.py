"""Layers that models share."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hpsearch.components.data import Float, Scale
from hpsearch.components.layer_groups import groups_of


class Dropout(nn.Module):
    """Inverted dropout (Srivastava et al., 2014) whose rate is held in tensors.

    So trials that differ in the rate alone can run as one program. With rate 0 nothing is
    drawn, unless a program that is shared with other rates sets `active`.
    """

    keep: Tensor
    scale: Tensor

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.active = rate > 0
        self.register_buffer("keep", torch.tensor(1 - rate), persistent=False)
        self.register_buffer("scale", torch.tensor(1 / (1 - rate)), persistent=False)

    @property
    def is_on(self) -> bool:
        """Whether anything is dropped now."""
        return self.training and self.active

    def forward(self, x: Tensor) -> Tensor:
        """Zero each value with probability `1 - keep`, multiply the others by `scale`."""
        return x * self.mask(x) if self.is_on else x

    def mask(self, x: Tensor) -> Tensor:
        """Draw factors of the shape of x: `scale` with probability `keep`, else 0."""
        # floor(uniform + keep) is 1 with probability `keep`. In place on one buffer it takes
        # half of nn.Dropout's time on a CPU, and has batching rules for vmap, unlike `ge_`.
        noise = torch.rand_like(x, dtype=torch.float32)
        return noise.add_(self.keep).floor_().mul_(self.scale).to(x.dtype)

    def extra_repr(self) -> str:
        """Show the rate."""
        return f"rate={1 - self.keep.item():.4g}"


class ChannelsLast(nn.Module):
    """Lays images out channels last in memory, which convolutions after it keep.

    The weights stay as they are: some optimizers flatten gradients by views, which can't be had
    of others. The time is the same.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the same images (rows, channels, height, width)."""
        return x.to(memory_format=torch.channels_last)


class Residual(nn.Sequential):
    """Modules in order, added to their input (He et al., 2016)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x + f(x)."""
        result = x
        for module in self:
            result = module(result)
        return x + result


class Blocks(nn.Sequential):
    """Modules in order, in blocks: each a layer with what belongs to it."""

    sizes: Sequence[int] = ()

    @classmethod
    def of(cls, blocks: Sequence[Sequence[nn.Module]]) -> Blocks:
        """Put the modules of blocks one after the other."""
        made = cls(*itertools.chain.from_iterable(blocks))
        made.sizes = [len(block) for block in blocks]
        return made

    def layer_groups(self) -> list[list[nn.Module]]:
        """Return the blocks; of a part of the model, what can be told without them."""
        modules = iter(self)
        if sum(self.sizes) != len(self):
            return groups_of(modules)
        return [list(itertools.islice(modules, size)) for size in self.sizes]


class FillMissing(nn.Module):
    """Inputs that are NaN replaced by a value of each feature."""

    fill: Tensor

    def __init__(self, fill: Float) -> None:
        super().__init__()
        self.register_buffer("fill", torch.from_numpy(fill.copy()))

    def forward(self, x: Tensor) -> Tensor:
        """Fill a batch of raw inputs."""
        return torch.where(x.isnan(), self.fill, x)


class Standardize(nn.Module):
    """(raw - mean) / std, so that a net takes raw inputs."""

    mean: Tensor
    std: Tensor

    def __init__(self, scale: Scale) -> None:
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(scale.mean.copy()))
        self.register_buffer("std", torch.from_numpy(scale.std.copy()))

    def forward(self, x: Tensor) -> Tensor:
        """Standardise a batch of raw inputs."""
        return (x - self.mean) / self.std


class Unstandardize(Standardize):
    """std * x + mean, so that a net's predictions are in the targets' own units."""

    def forward(self, x: Tensor) -> Tensor:
        """Give a batch of predictions its units back."""
        return x * self.std + self.mean
