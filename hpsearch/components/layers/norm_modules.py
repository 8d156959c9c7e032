"""The layers that normalise, where torch has none."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPS = 1e-12


class BatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm of vectors, sequences and images alike."""

    def __init__(
        self, num_features: int, eps: float, momentum: float, affine: bool, running: bool
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats=running)

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002  # torch's name
        if input.ndim < 2:
            raise ValueError(f"expected (rows, features, ...), got {tuple(input.shape)}")


class GhostBatchNorm(BatchNorm):
    """Batch norm over parts of a batch, each by its own statistics.

    A last part of one row joins its neighbour. The running statistics take all parts in turn,
    each with weight 1 - (1 - momentum)^(1 / parts).
    """

    #: attributes that follow from others and the batch
    derived = frozenset({"momentum"})

    def __init__(self, num_features: int, virtual_batch: int, momentum: float, eps: float) -> None:
        super().__init__(num_features, eps, momentum, affine=True, running=True)
        self._virtual_batch, self._momentum = virtual_batch, momentum

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # torch's name
        """Normalise (rows, features, ...)."""
        if not self.training or len(input) <= self._virtual_batch:
            self._move_by(self._momentum)
            return super().forward(input)
        sizes = [self._virtual_batch] * (len(input) // self._virtual_batch)
        rest = len(input) % self._virtual_batch
        if rest == 1:
            sizes[-1] += 1
        elif rest:
            sizes.append(rest)
        self._move_by(1 - (1 - self._momentum) ** (1 / len(sizes)))
        parts: tuple[Tensor, ...] = torch.split_with_sizes(input, sizes)
        return torch.cat([super(GhostBatchNorm, self).forward(part) for part in parts])

    def _move_by(self, momentum: float) -> None:
        if self.momentum is not None:  # None: torch takes the mean over all parts
            self.momentum = momentum


class GroupNorm(nn.GroupNorm):
    """torch's group norm, also of images that need no gradient.

    Of such images in channels-last memory torch's kernel for CPUs writes the gradient that nobody
    asked for, to a null pointer (2.13).
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # torch's name
        """Normalise (rows, channels, ...)."""
        if torch.is_grad_enabled() and not input.requires_grad:
            input = input.clone(memory_format=torch.contiguous_format)  # noqa: A001
        return super().forward(input)


class ImageRMSNorm(nn.Module):
    """Root mean square 1 over channels and places of each image, a scale for each channel."""

    def __init__(self, num_channels: int, eps: float, affine: bool) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(num_channels), requires_grad=affine)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (rows, channels, height, width)."""
        square = x.square().mean((1, 2, 3), keepdim=True)
        return x * torch.rsqrt(square + self.eps) * self.weight.view(-1, 1, 1)


class StreamedGradient(nn.Module):
    """Mixes the gradient of statistics with earlier ones, as the statistics themselves are mixed.

    The short-term gradient is the mean over all backward passes since the last update of the
    weights, this one too; the long-term one moves towards it by `kappa` at each update. What
    `long_weight` and `short_weight` leave of 1 is the weight of the gradient of now.
    """

    long: Tensor
    short: Tensor
    num_short: Tensor
    num_updates: Tensor
    #: whether one example has no spread
    needs_rows = False

    def __init__(
        self, num_features: int, long_weight: float, short_weight: float, kappa: float
    ) -> None:
        super().__init__()
        self.long_weight, self.short_weight, self.kappa = long_weight, short_weight, kappa
        for name in ("long", "short"):
            self.register_buffer(name, torch.zeros(2, num_features))  # of the mean, of the spread
        self.register_buffer("num_short", torch.zeros(()))
        self.register_buffer("num_updates", torch.zeros(()))

    def forward(self, mean: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
        """Return the statistics as they are, with another gradient."""
        both = torch.stack([mean, spread])
        if both.requires_grad:
            both.register_hook(self._mix)  # type: ignore[no-untyped-call]
        return both[0], both[1]

    @torch.no_grad()
    def begin_after_update(self) -> None:
        """Move the long-term gradient and forget the short-term one."""
        self.long.lerp_(self.short, self.kappa * (self.num_short > 0))
        self.num_updates.add_(self.num_short > 0)
        self.num_short.zero_()

    @torch.no_grad()
    def _mix(self, gradient: Tensor) -> Tensor:
        count = self.num_short + 1
        self.short.copy_((self.short * self.num_short + gradient) / count)
        self.num_short.copy_(count)
        # there is nothing long-term before the first update
        self.long.copy_(torch.where(self.num_updates == 0, self.short, self.long))
        rest = 1 - self.long_weight - self.short_weight
        return self.long_weight * self.long + self.short_weight * self.short + rest * gradient


class StreamingNorm(nn.Module):
    """Normalises by short-term and long-term statistics of each feature, mixed.

    The short-term ones are the mean over all forward passes since the last update of the weights,
    which is told by the gradient's passing; then the long-term ones move towards them by `kappa`.
    The spread is (E|x - mean|^p)^(1/p).
    """

    long_mean: Tensor
    long_spread: Tensor
    short_mean: Tensor
    short_spread: Tensor
    num_short: Tensor
    num_updates: Tensor
    #: whether one example has no spread
    needs_rows = False

    def __init__(
        self,
        num_features: int,
        long_weight: float,
        kappa: float,
        p: float,
        has_gradient: bool,
        eps: float,
        streamed: StreamedGradient | None = None,
    ) -> None:
        super().__init__()
        self.long_weight, self.kappa, self.p, self.eps = long_weight, kappa, p, eps
        self._has_gradient, self._is_updated, self.streamed = has_gradient, True, streamed
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        for name in ("long_mean", "long_spread", "short_mean", "short_spread"):
            self.register_buffer(name, torch.zeros(num_features))
        self.long_spread.fill_(1)  # until something was seen, evaluation changes nothing
        self.register_buffer("num_short", torch.zeros(()))
        self.register_buffer("num_updates", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (rows, features, ...)."""
        shape = (1, -1, *[1] * (x.ndim - 2))
        if self.training:
            mean, spread = self._mixed(*self._statistics(x, shape))
            if self.streamed is not None:
                mean, spread = self.streamed(mean, spread)
        else:
            mean, spread = self.long_mean, self.long_spread
        x = (x - mean.view(shape)) / (spread.view(shape) + self.eps)
        x = x * self.weight.view(shape) + self.bias.view(shape)
        if self.training and x.requires_grad:
            x.register_hook(self._note_update)  # type: ignore[no-untyped-call]
        return x

    def _statistics(self, x: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        axes = [axis for axis in range(x.ndim) if axis != 1]
        mean = x.mean(axes)
        moment = (x - mean.view(shape)).abs().pow(self.p).mean(axes)
        # where a feature never varies the root has no finite gradient
        spread = moment.clamp_min(self.eps**self.p).pow(1 / self.p)
        return (mean, spread) if self._has_gradient else (mean.detach(), spread.detach())

    def _mixed(self, mean: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
        self._begin_after_update()
        count = self.num_short + 1
        mean = (self.short_mean * self.num_short + mean) / count
        spread = (self.short_spread * self.num_short + spread) / count
        with torch.no_grad():
            self.short_mean.copy_(mean)
            self.short_spread.copy_(spread)
            self.num_short.copy_(count)
            is_first = self.num_updates == 0  # there is nothing long-term yet
            self.long_mean.copy_(torch.where(is_first, self.short_mean, self.long_mean))
            self.long_spread.copy_(torch.where(is_first, self.short_spread, self.long_spread))
        return (
            self.long_weight * self.long_mean + (1 - self.long_weight) * mean,
            self.long_weight * self.long_spread + (1 - self.long_weight) * spread,
        )

    @torch.no_grad()
    def _begin_after_update(self) -> None:
        """After an update, move the long-term statistics and forget the short-term ones."""
        if not self._is_updated:
            return
        self._is_updated = False
        kappa = self.kappa * (self.num_short > 0)
        self.long_mean.lerp_(self.short_mean, kappa)
        self.long_spread.lerp_(self.short_spread, kappa)
        self.num_updates.add_(self.num_short > 0)
        self.num_short.zero_()
        if self.streamed is not None:
            self.streamed.begin_after_update()

    def _note_update(self, gradient: Tensor) -> Tensor:
        self._is_updated = True
        return gradient


class UnitRows(nn.Module):
    """Parametrisation of a weight: each unit's incoming weights have norm 1."""

    def forward(self, weight: Tensor) -> Tensor:
        """Return weight / |weight|, unit by unit."""
        return F.normalize(weight.flatten(1), dim=1).view_as(weight)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Return a weight that comes to this one's directions."""
        return weight


class CosineLinear(nn.Linear):
    """scale w·x / (|w| |x|), the cosine of the angle between a unit's weights and the inputs."""

    def __init__(
        self, in_features: int, out_features: int, centered: bool = False, scale: float = 1.0
    ) -> None:
        super().__init__(in_features, out_features, bias=False)
        self.centered = centered
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # torch's name
        """Return cosines (rows, units) times the scale."""
        weight = self.weight
        if self.centered:
            weight = weight - weight.mean(1, keepdim=True)
            input = input - input.mean(-1, keepdim=True)  # noqa: A001
        return self.scale * F.linear(_unit(input, -1), _unit(weight, 1))


class CosineConv2d(nn.Conv2d):
    """CosineLinear over each place's receptive field; padding counts as zeros."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        padding: int | tuple[int, int],
        centered: bool = False,
        scale: float = 1.0,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=padding, bias=False)
        self.centered = centered
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # torch's name
        """Return cosines (rows, units, height, width) times the scale."""
        weight, count = self.weight, self.weight[0].numel()
        ones = torch.ones_like(weight[:1])
        square = F.conv2d(input.square(), ones, padding=self.padding)
        if self.centered:
            weight = weight - weight.mean((1, 2, 3), keepdim=True)
            total = F.conv2d(input, ones, padding=self.padding)
            square = (square - total.square() / count).clamp_min(0)
        norms = weight.flatten(1).square().sum(1).add(EPS).sqrt().view(1, -1, 1, 1)
        dots = F.conv2d(input, weight, padding=self.padding)
        return self.scale * dots / (norms * (square + EPS).sqrt())


def _unit(x: Tensor, dim: int) -> Tensor:
    return x / (x.square().sum(dim, keepdim=True) + EPS).sqrt()
