"""Examples of several inputs, made of a split's rows: pairs of them, views of each, and rows with
their targets.

Pairs are similar where both are of one class.

There are 2 N pairs of N examples. `pair + 2 N k` is the number of a pair whose second example is
k - 1 or, for k = 0, the one of evaluation: so an epoch is an order of numbers, as of any data.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpsearch.components.examples import Arrays

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Pairs(Arrays):
    """Each of N examples in two pairs: the first N are similar, the others aren't.

    `x` are the examples, float32 (N, ...), `y` says which pairs are similar, float32 (2 N, 1).
    `classes`, int64 (N,), are those of the examples; `partners`, int64 (2 N,), the second examples
    in evaluation. Training draws others each epoch. An example whose class or whose other classes
    nobody else has is in two pairs of the same kind.
    """

    classes: Rows = field(default_factory=lambda: np.zeros(0, np.int64))
    partners: Rows = field(default_factory=lambda: np.zeros(0, np.int64))

    @classmethod
    def of(cls, examples: Arrays) -> Pairs:
        """Return pairs of labelled examples; the same ones give the same pairs."""
        classes = examples.y
        counts = np.bincount(classes)[classes]
        num_rows = len(classes)
        is_similar = np.arange(2 * num_rows) < num_rows
        is_similar = np.where(np.tile(counts == 1, 2), False, is_similar)
        is_similar = np.where(np.tile(counts == num_rows, 2), num_rows > 1, is_similar)
        y = is_similar.astype(np.float32)[:, None]
        pairs = cls(examples.x, y, None, classes)
        drawn = pairs._draw(np.arange(2 * num_rows), np.random.default_rng(0).random(2 * num_rows))
        return cls(examples.x, y, None, classes, drawn)

    def drawn(self, pairs: Tensor, generator: torch.Generator) -> Tensor:
        """Return the numbers of pairs, int64 (rows,), with second examples that are drawn."""
        chances = torch.rand(len(pairs), generator=generator, dtype=torch.float64)
        partners = self._draw(pairs.numpy(), chances.numpy())
        return pairs + len(self) * torch.from_numpy(partners + 1)

    def rows(self, index: Rows) -> Arrays:
        """Return these pairs as examples (rows, 2, ...)."""
        first = index % len(self.x)
        x = np.stack([self.x[first], self.x[self.partners[index]]], 1)
        return Arrays(x, self.y[index])

    def joined(self, other: Arrays) -> Arrays:
        """Return the examples of both, of which pairs are made anew."""
        assert isinstance(other, Pairs)
        return Arrays(self.x, self.classes).joined(Arrays(other.x, other.classes))

    def _draw(self, pairs: Rows, chances: NDArray[np.float64]) -> Rows:
        """Return a second example for each pair: of its class, but not itself, or of another.

        Sorted by class, those of a class are a stretch, from whose others one is taken.
        """
        classes = self.classes
        order = np.argsort(classes, kind="stable")
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        counts = np.bincount(classes)
        starts = np.cumsum(counts) - counts
        first = pairs % len(classes)
        start, count = starts[classes[first]], counts[classes[first]]
        is_similar = self.y[pairs, 0] > 0
        skipped = np.where(is_similar, 1, count)
        among = np.where(is_similar, count, len(classes)) - skipped
        chosen = (chances * among).astype(np.int64)
        within = start + chosen + (start + chosen >= place[first])
        outside = chosen + np.where(chosen >= start, count, 0)
        found: Rows = order[np.where(is_similar, within, outside)]
        return found


class Views(Arrays):
    """Each row twice, for augmentations to make two views of; `x` and `y` are the rows'."""

    def rows(self, index: Rows) -> Arrays:
        """Return these rows as examples (rows, 2, ...)."""
        x = self.x[index]
        return Arrays(np.stack([x, x], 1), self.y[index])

    def joined(self, other: Arrays) -> Arrays:
        """Return the rows of both, once."""
        return Arrays(self.x, self.y).joined(Arrays(other.x, other.y))


class Taught(Arrays):
    """Rows whose targets are inputs too, for models that are given them while they train."""
