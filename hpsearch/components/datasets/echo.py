"""Data sets of sequences whose steps have classes: what a memory is needed for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray

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
    return _labelled(np.eye(symbols, dtype=np.float32)[drawn], drawn)


@register("dataset", "counting")
def counting(
    seed: int,
    sequences: Annotated[int, Ge(20)] = 1000,
    length: Annotated[int, Ge(2)] = 8,
    symbols: Annotated[int, Ge(2)] = 4,
) -> Mapping[str, Any]:
    """Sequences that go on from one input: a random symbol, one-hot at the first step, then zeros.

    The classes of the steps are the symbol and those that follow it in turn, after the last the
    first again: one to many. A model without a memory is right at the first step, and then as
    often as by chance.
    """
    first = np.random.default_rng(seed).integers(0, symbols, (sequences, 1))
    x = np.zeros((sequences, length, symbols), np.float32)
    x[:, 0] = np.eye(symbols)[first[:, 0]]
    return _labelled(x, (first + np.arange(length)) % symbols)


def _labelled(x: NDArray[np.float32], y: NDArray[np.int64]) -> Mapping[str, Any]:
    return {
        "train": (x, y),
        "classes": [str(symbol) for symbol in range(x.shape[2])],
        "kind": "sequence_labelling",
        "standardize": False,
    }
