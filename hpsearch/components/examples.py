"""The examples of a split: in memory, read when they are needed, or from a Dataset."""

from __future__ import annotations

import itertools
import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, IterableDataset

Float = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Arrays:
    """Examples in memory: `x` float32 (rows, *input_shape); `y` classes, int64 (rows,), or
    float32 (rows, targets): numbers, degrees of labels, or shares of classes. Of sequences of
    tokens both are ids int64 (rows, steps), and `mask`, bool, says which steps count."""

    x: NDArray[Any]
    y: NDArray[Any]
    mask: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.y)

    def rows(self, index: NDArray[np.int64]) -> Arrays:
        """Return the examples at these rows."""
        mask = None if self.mask is None else self.mask[index]
        return Arrays(self.x[index], self.y[index], mask)

    def joined(self, other: Arrays) -> Arrays:
        """Return these examples and others of the same data set."""
        masks = [
            np.ones(each.y.shape, np.bool_) if each.mask is None else each.mask
            for each in (self, other)
            if self.mask is not None or other.mask is not None
        ]
        return Arrays(
            np.concatenate([self.x, other.x]),
            np.concatenate([self.y, other.y]),
            np.concatenate(masks) if masks else None,
        )


class LazyRows(Dataset[Any]):
    """Examples read when they are needed, whose targets `y` are known as those of Arrays are."""

    y: NDArray[Any]

    def __len__(self) -> int:
        return len(self.y)

    @property
    @abstractmethod
    def input_shape(self) -> tuple[int, ...]:
        """The shape of an example."""

    @abstractmethod
    def rows(self, index: NDArray[np.int64]) -> Self:
        """Return the examples at these rows, which are not read yet."""

    @abstractmethod
    def joined(self, others: LazyRows) -> Self:
        """Return these examples and others of the same data set."""

    @abstractmethod
    def read(self, index: Sequence[int]) -> Tensor:
        """Return rows as they are kept, such as 8-bit pixels."""

    @abstractmethod
    def as_inputs(self, kept: Tensor) -> Tensor:
        """Return what `read` gives as inputs of a model, float32 and scaled, on its device."""

    @abstractmethod
    def scaled(self, scale: Scale) -> Self:
        """Return the examples with their inputs mapped once more."""

    def sample(self, num_rows: int) -> Float:
        """Return the inputs of rows spread evenly over all."""
        index = np.linspace(0, len(self) - 1, min(num_rows, len(self))).astype(np.int64)
        return self.as_inputs(self.read(index.tolist())).numpy()

    def share(self) -> None:
        """Have what is kept of the rows in common with processes that are forked from now on."""


#: rows whose targets are known
KnownRows = Arrays | LazyRows
#: the examples of one split: rows, or a Dataset that is read through a DataLoader
Split = KnownRows | Dataset[Any]


@dataclass(frozen=True)
class Scale:
    """An affine map of the values of a feature: `(raw - mean) / std`.

    Both broadcast against one example: (features,) for a table, (1, features) for sequences,
    (channels, 1, 1) for images.
    """

    mean: Float
    std: Float

    @classmethod
    def identity(cls) -> Scale:
        """The map that changes nothing."""
        return cls(np.zeros((), np.float32), np.ones((), np.float32))

    @classmethod
    def fit(cls, values: Float, axes: tuple[int, ...] | None = None) -> Scale:
        """Return the map to mean 0 and standard deviation 1 over axes: by default by feature of
        tables (rows, features) and sequences (rows, steps, features), by channel of images.

        A feature that never varies is only shifted.
        """
        if axes is None:
            is_image = values.ndim > 3
            axes = (0, *(range(2, values.ndim) if is_image else range(1, values.ndim - 1)))
        mean = values.mean(axes, dtype=np.float64, keepdims=True)[0]
        std = values.std(axes, dtype=np.float64, keepdims=True)[0]
        # what is left of a constant by rounding is no spread
        constant = std <= 1e-6 * np.maximum(1.0, np.abs(mean))
        return cls(mean.astype(np.float32), np.where(constant, 1.0, std).astype(np.float32))

    def apply(self, values: Float) -> Float:
        """Map raw values."""
        scaled: Float = (values - self.mean) / self.std
        return scaled

    def after(self, first: Scale) -> Scale:
        """Return the map that does `first`, then this one."""
        return Scale(first.mean + first.std * self.mean, first.std * self.std)


class Stream(IterableDataset[Any]):
    """IterableDatasets one after another."""

    def __init__(self, datasets: Sequence[Dataset[Any]]) -> None:
        self._datasets = datasets

    def __len__(self) -> int:
        return sum(map(split_length, self._datasets))

    def __iter__(self) -> Iterator[Any]:
        return itertools.chain.from_iterable(map(all_examples, self._datasets))

    def set_epoch(self, epoch: int) -> None:
        """Tell those of an epoch that ask for it."""
        for dataset in self._datasets:
            if set_epoch := getattr(dataset, "set_epoch", None):
                set_epoch(epoch)


def all_examples(split: Dataset[Any]) -> Iterator[Any]:
    """Yield the examples of a Dataset, of a stream as many as its length says."""
    length = split_length(split)
    if isinstance(split, IterableDataset):
        return itertools.islice(split, length)
    return (split[i] for i in range(length))


def first_examples(split: Dataset[Any], num_rows: int) -> Iterator[Any]:
    """Yield the first examples of a Dataset, at most so many."""
    return itertools.islice(all_examples(split), num_rows)


def merged_splits(train: Split, val: Split | None) -> Split:
    """Return the examples of both; those to train where there are no others."""
    if isinstance(train, Arrays) and isinstance(val, Arrays):
        return train.joined(val)
    if isinstance(train, LazyRows) and isinstance(val, LazyRows):
        return train.joined(val)
    if isinstance(train, Arrays) or val is None or isinstance(val, Arrays):
        return train
    is_stream = isinstance(train, IterableDataset) or isinstance(val, IterableDataset)
    merged: Split = (Stream if is_stream else ConcatDataset)([train, val])
    return merged


def split_length(split: Split) -> int:
    """Return the number of examples of a split."""
    return len(split)  # type: ignore[arg-type]  # a map-style Dataset has a length, its base none


def num_features(shape: tuple[int, ...]) -> int:
    """Return the number of values of one example."""
    return math.prod(shape)
