"""Whether a program and a trial by itself compute the same, and draw nothing beside it."""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

#: numbers may differ by this, relative to the greatest of their tensor: sums in another order
TOLERANCE = 1e-3


@contextmanager
def without_fallback() -> Iterator[None]:
    """Raise where vmap would compute an operation lane by lane, for which it has no rule."""
    functorch: Any = torch._C._functorch
    was_enabled = functorch._is_vmap_fallback_enabled()
    functorch._set_vmap_fallback_enabled(False)
    try:
        yield
    finally:
        functorch._set_vmap_fallback_enabled(was_enabled)


def is_close(mine: Tensor, theirs: Tensor) -> bool:
    """Whether numbers are the same but for rounding, and the same ones aren't finite."""
    finite = mine.isfinite()
    if not mine.is_floating_point() or not torch.equal(finite, theirs.isfinite()):
        return torch.equal(mine, theirs)
    mine, theirs = mine[finite], theirs[finite]
    scale = mine.abs().max().item() if mine.numel() else 0.0
    return torch.allclose(mine, theirs, rtol=TOLERANCE, atol=TOLERANCE * max(scale, 1e-6))


def random_states() -> tuple[Hashable, ...]:
    """Return the states of the generators that a model may draw from."""
    name, keys, *rest = np.random.get_state()
    of_torch = torch.get_rng_state().numpy().tobytes()
    return random.getstate(), (name, np.asarray(keys).tobytes(), *rest), of_torch
