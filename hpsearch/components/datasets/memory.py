"""Data sets of sequences that need a long memory (Hochreiter and Schmidhuber, 1997, section 5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge

from hpsearch.registry import register

#: symbols that are to be remembered, and how many of them a sequence begins with
SYMBOLS, REMEMBERED = 8, 10


@register("dataset", "adding_problem")
def adding_problem(
    seed: int,
    sequences: Annotated[int, Ge(20)] = 2000,
    length: Annotated[int, Ge(2)] = 30,
) -> Mapping[str, Any]:
    """Random numbers from 0 to 1, of which two are marked; the target is the sum of these.

    A step has a number and a mark, 1 or 0; one mark is in the first half, the other in the second.
    To say 1 always has the mean squared error 1/6.
    """
    rng = np.random.default_rng(seed)
    numbers = rng.random((sequences, length))
    half = length // 2
    marked = np.stack([rng.integers(0, half, sequences), rng.integers(half, length, sequences)], 1)
    marks = np.zeros_like(numbers)
    np.put_along_axis(marks, marked, 1.0, 1)
    return {
        "train": (np.stack([numbers, marks], 2), (numbers * marks).sum(1, keepdims=True)),
        "kind": "regression",
        "standardize": False,
    }


@register("dataset", "copy_memory")
def copy_memory(
    seed: int,
    sequences: Annotated[int, Ge(20)] = 2000,
    delay: Annotated[int, Ge(1)] = 20,
) -> Mapping[str, Any]:
    """Ten symbols, then nothing for `delay` steps, a sign, and ten steps in which to repeat them.

    Symbols are one of eight, one-hot, with nothing and the sign as a ninth and a tenth; classes of
    the other steps are nothing. Who knows when to speak, but no symbol, has a cross entropy of
    10 ln 8 / (delay + 20) a step (Arjovsky et al., 2016, section 5.1).
    """
    length, nothing, sign = delay + 2 * REMEMBERED, SYMBOLS, SYMBOLS + 1
    drawn = np.random.default_rng(seed).integers(0, SYMBOLS, (sequences, REMEMBERED))
    seen = np.full((sequences, length), nothing)
    seen[:, :REMEMBERED], seen[:, length - REMEMBERED - 1] = drawn, sign
    said = np.full((sequences, length), nothing)
    said[:, -REMEMBERED:] = drawn
    return {
        "train": (np.eye(SYMBOLS + 2, dtype=np.float32)[seen], said),
        "classes": [*map(str, range(SYMBOLS)), "nothing", "sign"],
        "kind": "sequence_labelling",
        "standardize": False,
    }
