"""A data set of random patterns, and the same damaged: what an associative memory is to recall."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Interval

from hpsearch.registry import register


@register("dataset", "patterns")
def patterns(
    seed: int,
    num_patterns: Annotated[int, Ge(2)] = 10,
    size: Annotated[int, Interval(ge=2, le=4096)] = 100,
    damage: Annotated[float, Interval(ge=0, le=0.5)] = 0.1,
    copies: Annotated[int, Ge(1)] = 10,
) -> Mapping[str, Any]:
    """`num_patterns` random patterns of `size` values -1 and 1, for the task associative_memory.

    Validation and test have `copies` of each, in which a share `damage` of the values, rounded, is
    turned over. A Hopfield net stores about 0.138 patterns a unit (Amit et al., 1985).
    """
    rng = np.random.default_rng(seed)
    stored = rng.choice([-1.0, 1.0], (num_patterns, size)).astype(np.float32)
    return {
        "train": (stored, stored),
        **{split: _damaged(stored, damage, copies, rng) for split in ("val", "test")},
        "kind": "associative_memory",
        "standardize": False,
    }


def _damaged(stored: Any, damage: float, copies: int, rng: np.random.Generator) -> tuple[Any, Any]:
    patterns = np.repeat(stored, copies, 0)
    places = rng.random(patterns.shape).argsort(1) < round(damage * patterns.shape[1])
    return np.where(places, -patterns, patterns), patterns
