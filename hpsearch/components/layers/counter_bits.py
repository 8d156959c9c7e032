"""Random bits by counter: functions of a key and of where they are used, without a state.

So the masks of a trial are the same whether its batches are computed whole or in parts, alone or
beside other trials, and a program that is recorded once (a CUDA graph) draws new ones each time.
As Random123 does it (Salmon et al., SC 2011), with the cheaper rounds of MurmurHash3's finalizer
(Appleby, 2011): enough for dropout, not for cryptography.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_GOLDEN, _MIX_1, _MIX_2 = 0x9E3779B1, 0x85EBCA6B, 0xC2B2AE35
#: sets the draws of one module in one pass apart
_DRAW = 0x27D4EB2F


def draw_keys(seed: int, num_steps: int, num_streams: int) -> Tensor:
    """Draw a key for each step and stream of an epoch, int32 (steps, streams)."""
    generator = np.random.Generator(np.random.Philox(seed))
    bounds = np.iinfo(np.int32)
    keys = generator.integers(
        bounds.min, bounds.max, (num_steps, num_streams), np.int32, endpoint=True
    )
    return torch.from_numpy(keys)


def counters(shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Return what `bits` needs for tensors of a shape; it depends on nothing else."""
    size = int(np.prod(shape))
    numbers = torch.arange(size, dtype=torch.int64, device=device).mul_(_GOLDEN)
    return _wrapped(numbers).view(shape)


def bits(counters: Tensor, key: Tensor, first_row: Tensor, draw: int = 0) -> Tensor:
    """Return uniform bits, int32 of the counters' shape; the first bits are the best.

    Rows count from `first_row`: of a batch of two halves, those of the second are the second half
    of the batch's. `draw` counts what is drawn with one key. `key` and `first_row` are int32
    without axes.
    """
    row_size = counters[0].numel()
    start = first_row * _int32(row_size * _GOLDEN) + _int32(draw * _DRAW)
    values = (counters + start) ^ key
    values = values * _int32(_MIX_1)
    values = values ^ ((values >> 15) & 0x1FFFF)  # a logical shift
    return values * _int32(_MIX_2)


def normals(counters: Tensor, key: Tensor) -> Tensor:
    """Return normal numbers, float32 of the counters' shape."""
    # the middles of 2^24 equal parts of -1 to 1: no infinity
    uniform = ((bits(counters, key, torch.zeros_like(key)) >> 8).float() + 0.5) * 2.0**-23
    return torch.erfinv(uniform) * 2**0.5


def threshold(probability: float) -> int:
    """Return the greatest int32 that bits are at most with a probability."""
    return max(-(2**31), min(2**31 - 1, round(probability * 2**32) - 2**31 - 1))


def _int32(value: int) -> int:
    value &= 0xFFFFFFFF
    return value - 2**32 if value >= 2**31 else value


def _wrapped(values: Tensor) -> Tensor:
    """Return int64 values modulo 2^32, as int32."""
    return ((values + 2**31) % 2**32 - 2**31).to(torch.int32)
