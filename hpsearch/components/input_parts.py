"""Examples of several inputs, such as an image and a text: one row of numbers, part after part."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpsearch.errors import DataError


@dataclass(frozen=True)
class InputPart:
    """One input of an example: numbers of a shape, or with `num_tokens` ids of so many tokens, of
    which `padding_id` fills up the ends of sequences."""

    name: str
    shape: tuple[int, ...]
    num_tokens: int = 0
    padding_id: int | None = None

    @property
    def size(self) -> int:
        """The values of the row that are its."""
        return math.prod(self.shape)


def packed(parts: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
    """Return the inputs of examples, each (rows, ...), as one row of an example.

    >>> packed([np.zeros((2, 1, 2, 2)), np.array([[7], [8]])]).tolist()
    [[0.0, 0.0, 0.0, 0.0, 7.0], [0.0, 0.0, 0.0, 0.0, 8.0]]
    """
    rows = [part.reshape(len(part), -1).astype(np.float32) for part in parts]
    return np.concatenate(rows, axis=1)


def unpacked(x: Tensor, parts: Sequence[InputPart]) -> Iterator[Tensor]:
    """Yield the inputs of examples (rows, values), each (rows, *shape)."""
    sizes = [part.size for part in parts]
    for values, part in zip(torch.split(x, sizes, 1), parts, strict=True):
        yield values.reshape(len(x), *part.shape)


def check_parts(parts: Sequence[InputPart], name: str, x: NDArray[np.float32]) -> None:
    """Refuse parts that aren't what the rows of a data set have."""
    size = sum(part.size for part in parts)
    if x.ndim != 2 or x.shape[1] != size:
        rule = f"{name}: x must have the shape (rows, {size}), as its inputs have so many values"
        raise DataError(f"{rule}, but has {x.shape}")
    first = 0
    for part in parts:
        values = x[:, first : first + part.size]
        first += part.size
        is_id = (values >= 0) & (values < part.num_tokens) & (values % 1 == 0)
        if part.num_tokens and not is_id.all():
            rule = f"{name}: {part.name} must be ids of tokens from 0 to {part.num_tokens - 1}"
            raise DataError(f"{rule}, but has {values[~is_id][0]:g}")
