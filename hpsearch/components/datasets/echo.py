"""A data set of sequences whose steps have classes: what a memory is needed for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge

from hpsearch.registry import register


@register("dataset", "echo")
def echo(
    seed: int,
    sequences: Annotated[int, Ge(20)] = 1000,
    length: Annotated[int, Ge(2)] = 12,
    symbols: Annotated[int, Ge(2)] = 4,
) -> Mapping[str, Any]:
    """Random symbols, one-hot at each step, which are the classes of their own steps.

    With a `delay` of the task sequence_labelling they are to be said some steps later: a model
    needs a memory of so many steps, and without one is right as often as by chance.
    """
    drawn = np.random.default_rng(seed).integers(0, symbols, (sequences, length))
    return {
        "train": (np.eye(symbols, dtype=np.float32)[drawn], drawn),
        "classes": [str(symbol) for symbol in range(symbols)],
        "kind": "sequence_labelling",
        "standardize": False,
    }
