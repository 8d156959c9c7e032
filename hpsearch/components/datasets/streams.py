"""Data sets whose rows come one after another, and change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Interval

from hpsearch.registry import register

#: what the sum of the first two features is at most where the class is 1, a concept a block
CONCEPTS = (8.0, 9.0, 7.0, 9.5)


@register("dataset", "sea")
def sea(
    seed: int,
    rows: Annotated[int, Ge(40)] = 4000,
    noise: Annotated[float, Interval(ge=0, lt=0.5)] = 0.1,
) -> Mapping[str, Any]:
    """A generated stream whose concept changes three times (Street and Kim, 2001), in its order.

    Three features from 0 to 10; the class is 1 where the first two add up to at most 8, then 9, 7
    and 9.5, each for a quarter of the rows, and the other one with the probability `noise`. For
    `task: {name: classification, in_order: true}`.
    """
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 10, (rows, 3))
    most = np.repeat(CONCEPTS, -(-rows // len(CONCEPTS)))[:rows]
    y = (x[:, 0] + x[:, 1] <= most) ^ (rng.random(rows) < noise)
    return {
        "train": (x, y.astype(np.int64)),
        "classes": ["0", "1"],
        "kind": "classification",
        "ordered": True,
    }
