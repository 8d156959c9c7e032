"""Layers that models share."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from hpsearch.components.examples import Float, Scale
from hpsearch.components.layer_groups import groups_of
from hpsearch.components.layers.counter_bits import bits, counters, threshold


class Dropout(nn.Module):
    """Inverted dropout (Srivastava et al., 2014) whose rate is held in tensors.

    So trials that differ in the rate alone can run as one program. With rate 0 nothing is
    drawn, unless a program that is shared with other rates sets `active`. A trainer gives a key
    for each step, of which masks are functions; else torch's global generator draws them.
    """

    #: whether what is drawn drops values of what it is given
    drops: ClassVar[bool] = True
    keep: Tensor
    scale: Tensor
    limit: Tensor
    key: Tensor
    first_row: Tensor

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.active = rate > 0
        self.register_buffer("keep", torch.tensor(1 - rate), persistent=False)
        self.register_buffer("scale", torch.tensor(1 / (1 - rate)), persistent=False)
        limit = torch.tensor(threshold(1 - rate), dtype=torch.int32)
        self.register_buffer("limit", limit, persistent=False)
        for name in ("key", "first_row"):
            self.register_buffer(name, torch.zeros((), dtype=torch.int32), persistent=False)
        self.has_key, self._num_draws = False, 0
        self._counters: dict[Any, Tensor] = {}

    @property
    def is_on(self) -> bool:
        """Whether anything is dropped now."""
        return self.training and self.active

    def begin_epoch(self, epoch: int) -> None:
        """Set what changes with the epochs, counted from 1: the rate doesn't."""

    def begin_step(self, key: int, first_row: int = 0) -> None:
        """Draw by this key from now on, for rows of a batch from `first_row` on."""
        self.key.fill_(key)
        self.first_row.fill_(first_row)
        self.begin_pass()

    def begin_pass(self) -> None:
        """Draw from the start of the key that is set."""
        self.has_key, self._num_draws = True, 0

    def end_steps(self) -> None:
        """Draw from torch's global generator again."""
        self.has_key = False
        self._counters.clear()

    def forward(self, x: Tensor) -> Tensor:
        """Zero each value with probability `1 - keep`, multiply the others by `scale`."""
        return x * self.mask(x) if self.is_on else x

    def mask(self, x: Tensor) -> Tensor:
        """Draw factors of the shape of x: `scale` with probability `keep`, else 0."""
        if self.has_key:
            return self.factors(x, self._buffers).to(x.dtype)  # type: ignore[arg-type]
        # floor(uniform + keep) is 1 with probability `keep`. In place on one buffer it takes
        # half of nn.Dropout's time on a CPU, and has batching rules for vmap, unlike `ge_`.
        noise = torch.rand_like(x, dtype=torch.float32)
        return noise.add_(self.keep).floor_().mul_(self.scale).to(x.dtype)

    def factors(self, x: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return the mask of x by the key in its tensors; these may have axes before x's."""
        place = (x.shape, x.device)
        if place not in self._counters:
            self._counters[place] = counters(tuple(x.shape), x.device)
        key, first_row = tensors["key"], tensors["first_row"]
        drawn = bits(self._counters[place], key, first_row, self._num_draws)
        self._num_draws += 1
        return (drawn <= tensors["limit"]) * tensors["scale"]

    def extra_repr(self) -> str:
        """Show the rate."""
        return f"rate={1 - self.keep.item():.4g}"


class ChannelsLast(nn.Module):
    """Lays images out channels last in memory, which convolutions after it keep.

    The weights stay as they are: some optimizers flatten gradients by views, which can't be had
    of others. The time is the same. A program of several trials sets `active` to False: there
    images have an axis more.
    """

    active = True

    def forward(self, x: Tensor) -> Tensor:
        """Return the same images (rows, channels, height, width)."""
        return x.to(memory_format=torch.channels_last) if self.active else x


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


class ChannelsFirst(nn.Module):
    """Images (rows, height, width, channels) as (rows, channels, height, width)."""

    def forward(self, x: Tensor) -> Tensor:
        """Move the last axis."""
        return x.movedim(-1, 1).contiguous()


class FirstOf(nn.Module):
    """The first of several outputs, which is what a model predicts."""

    def forward(self, outputs: Any) -> Tensor:
        """Return it; a tensor as it is."""
        first: Tensor = outputs[0] if isinstance(outputs, tuple) else outputs
        return first


class ChannelsBack(nn.Module):
    """Images (rows, channels, height, width) as (rows, height, width, channels)."""

    def forward(self, x: Tensor) -> Tensor:
        """Move the axis of channels."""
        return x.movedim(1, -1).contiguous()


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
        self.register_buffer("mean", torch.tensor(scale.mean))
        self.register_buffer("std", torch.tensor(scale.std))

    def forward(self, x: Tensor) -> Tensor:
        """Standardise a batch of raw inputs."""
        return (x - self.mean) / self.std


class Unstandardize(Standardize):
    """std * x + mean, so that a net's predictions are in the targets' own units."""

    def forward(self, x: Tensor) -> Tensor:
        """Give a batch of predictions its units back."""
        return x * self.std + self.mean
