"""`Data`: what a trial is trained on, as arrays that all trials of a node can share."""

from __future__ import annotations

import itertools
import math
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, IterableDataset

from hpsearch.components.encodings import TargetEncoding, encoding_of
from hpsearch.components.raw_inputs import RawInputs

Float = NDArray[np.float32]
#: the name of a target encoding, and of the task that learns such targets by default
Kind = str


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

    Both broadcast against one example: (features,) for a table, (channels, 1, 1) for images.
    """

    mean: Float
    std: Float

    @classmethod
    def identity(cls) -> Scale:
        """The map that changes nothing."""
        return cls(np.zeros((), np.float32), np.ones((), np.float32))

    @classmethod
    def fit(cls, values: Float, axes: tuple[int, ...] | None = None) -> Scale:
        """Return the map to mean 0 and standard deviation 1 over axes, by default by feature or
        by channel.

        A feature that never varies is only shifted.
        """
        axes = axes or ((0,) if values.ndim <= 2 else (0, *range(2, values.ndim)))
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


@dataclass(frozen=True, eq=False)
class Data:
    """A data set, split and standardised.

    `x_scale` and `y_scale` (regression) say how the arrays came from raw values, so that an
    exported model can take raw inputs and give predictions in the targets' own units. With
    `folds`, pairs of (training, validation) rows of `train`, there is no `val`, and each
    fold is standardised on its own training rows. Inputs that are NaN are filled by a statistic
    of the training rows, which `missing` names; `x_fill` holds its values once they are known.
    `kind_reason` says why it is of its kind, `warnings` what its user should know of it, `layout`
    how an image's axes were read. Raw inputs that `came_channels_last` have the channels first
    here. Raw values were divided by `unit` before they were scaled; `raw_inputs` says what form
    they have. Inputs that are ids are ids of `num_tokens` tokens; 0: they are numbers.
    `output_names` are those of outputs that are neither classes nor targets by themselves;
    `target_blocks` has each target's name and its classes, where there are several targets.
    """

    kind: Kind
    input_shape: tuple[int, ...]
    output_size: int
    train: Split
    val: Split | None = None
    test: Split | None = None
    folds: tuple[tuple[NDArray[np.int64], NDArray[np.int64]], ...] = ()
    class_names: tuple[str, ...] = ()
    feature_names: tuple[str, ...] = ()
    standardize: bool = False
    x_scale: Scale = Scale.identity()
    y_scale: Scale = Scale.identity()
    kind_reason: str = ""
    target_names: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    missing: str | None = None
    x_fill: Float | None = None
    layout: str = ""
    came_channels_last: bool = False
    unit: float = 1.0
    raw_inputs: RawInputs | None = None
    num_tokens: int = 0
    output_names: tuple[str, ...] = ()
    target_blocks: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def encoding(self) -> TargetEncoding:
        """What depends on the kind of the targets."""
        return encoding_of(self.kind)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of a model's outputs for an example."""
        return self.encoding.output_shape(self.output_size, self.input_shape)

    @cached_property
    def input_range(self) -> float:
        """From the least to the greatest value of the training rows, before any scale but that of
        their unit; of 8-bit pixels 1."""
        if self.unit == 255 or not isinstance(self.train, Arrays) or self.num_tokens:
            return 1.0
        raw = self.train.x * self.x_scale.std + self.x_scale.mean
        return float(np.nanmax(raw) - np.nanmin(raw)) or 1.0

    @property
    def one_shape(self) -> tuple[int, ...]:
        """The shape of one input of an example, of which it may have several."""
        return self.input_shape[1:] if self.encoding.num_inputs else self.input_shape

    @property
    def description(self) -> str:
        """What is learned from it and why: `regression of 'age', because …`."""
        of = f" of {', '.join(map(repr, self.target_names))}" if self.target_names else ""
        into = self.encoding.description(self.output_size)
        learned = f"{self.kind}{of}{into}, because {self.kind_reason}"
        return f"{learned}; {self.layout}" if self.layout else learned

    @property
    def num_train_rows(self) -> int:
        """Rows that one training sees: with folds, those of the smallest."""
        return min((len(rows) for rows, _ in self.folds), default=split_length(self.train))

    @cached_property
    def class_counts(self) -> tuple[int, ...]:
        """Training rows of each class, rounded where classes have shares of rows.

        Nothing for targets of another kind, or where Datasets are read.
        """
        if not isinstance(self.train, KnownRows):
            return ()
        return self.encoding.class_counts(self.train.y, self.output_size)

    @cached_property
    def naive_errors(self) -> tuple[float, ...]:
        """The mean absolute errors of the seasonal naive forecast of each series in the training
        rows, standardised; nothing for targets of another kind."""
        return self.encoding.naive_errors(self.train.y) if isinstance(self.train, Arrays) else ()

    @cached_property
    def label_sets(self) -> tuple[tuple[int, ...], ...]:
        """The sets of labels of the training rows, as 0 and 1 for each label; nothing for targets
        of another kind, or where Datasets are read."""
        return self.encoding.label_sets(self.train.y) if isinstance(self.train, Arrays) else ()

    @property
    def output_scale(self) -> Scale:
        """How a model's outputs came from raw values: that of the targets, for each output."""
        y = self.y_scale
        return Scale(*(np.resize(each, self.output_size) for each in (y.mean, y.std)))

    @property
    def base_rates(self) -> tuple[float, ...]:
        """How often each class or label is true in the training rows, and half a row more.

        Nothing for targets of another kind, or where Datasets are read.
        """
        if not isinstance(self.train, KnownRows):
            return ()
        return self.encoding.base_rates(self.train.y, self.output_size)

    @cached_property
    def has_soft_targets(self) -> bool:
        """Whether targets are shares of classes, rather than classes."""
        if self.kind != "classification":
            return False
        if isinstance(self.train, KnownRows):
            return bool(self.train.y.dtype.kind == "f")
        return torch.as_tensor(next(first_examples(self.train, 1))[1]).is_floating_point()

    def as_raw(self, x: Float) -> Float:
        """Return inputs as they came, before any scale."""
        if self.num_tokens:
            return x
        raw: Float = self.unit * (x * self.x_scale.std + self.x_scale.mean)
        return np.moveaxis(raw, 1, -1) if self.came_channels_last else raw

    def fold(self, number: int) -> Data:
        """Return one fold as data with a training and a validation split."""
        assert isinstance(self.train, KnownRows)  # load_data makes folds of no others
        train, val = (self.train.rows(rows) for rows in self.folds[number])
        return standardized(replace(self, train=train, val=val, folds=()))

    def merged(self) -> Data:
        """Return the data for a last training: all rows but the test split's, no validation."""
        merged = _merged(self.train, self.val)
        return standardized(replace(self, train=merged, val=None, folds=()))


#: rows and bytes, at most, from which the scale of examples is fitted that aren't in memory
SCALE_ROWS, SCALE_BYTES = 512, 64 * 2**20


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


def _merged(train: Split, val: Split | None) -> Split:
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


def standardized(data: Data) -> Data:
    """Fit the scales on the training split, apply them to every split, and make of its rows what
    is learned from.

    Scales add up: data that was standardised before keeps its map from raw values.
    """
    if not isinstance(data.train, KnownRows):
        return data
    data = _filled(data)
    assert isinstance(data.train, KnownRows)
    none = Scale.identity()
    of = data.encoding
    x = Scale.fit(_inputs(data.train), of.input_axes) if data.standardize else none
    y = _target_scale(of, data.train.y)

    def apply(split: Split | None) -> Any:
        if isinstance(split, LazyRows):
            return split if x is none else split.scaled(x)
        if not isinstance(split, Arrays):
            return split
        scaled = Arrays(
            split.x if x is none else x.apply(split.x),
            split.y if not of.standardizes else y.apply(split.y),
            split.mask,
        )
        return of.examples(scaled)

    return replace(
        data,
        train=apply(data.train),
        val=apply(data.val),
        test=apply(data.test),
        x_scale=x.after(data.x_scale),
        y_scale=y.after(data.y_scale),
    )


def _target_scale(of: TargetEncoding, y: NDArray[Any]) -> Scale:
    if not of.standardizes:
        return Scale.identity()
    fitted, is_scaled = Scale.fit(y, of.target_axes), of.is_scaled(y)
    mean, std = np.where(is_scaled, fitted.mean, 0), np.where(is_scaled, fitted.std, 1)
    return Scale(mean.astype(np.float32), std.astype(np.float32))


def _filled(data: Data) -> Data:
    """Fill what is missing of the inputs by a statistic of the training rows."""
    if data.missing is None or data.x_fill is not None or not isinstance(data.train, Arrays):
        return data
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(Mean of empty|All-NaN) slice")
        fill = np.nan_to_num(FILLS[data.missing](data.train.x)).astype(np.float32)

    def apply(split: Split | None) -> Any:
        if not isinstance(split, Arrays):
            return split
        return Arrays(np.where(np.isnan(split.x), fill, split.x), split.y)

    splits = {key: apply(getattr(data, key)) for key in ("train", "val", "test")}
    return replace(data, **splits, x_fill=fill)


def _most_frequent(x: Float) -> Float:
    columns = [column[~np.isnan(column)] for column in x.reshape(len(x), -1).T]
    counted = [np.unique(column, return_counts=True) for column in columns]
    modes = [values[counts.argmax()] if len(values) else np.nan for values, counts in counted]
    return np.array(modes, np.float32).reshape(x.shape[1:])


#: ways to fill inputs that are missing, by name: from training rows to a value of each feature
FILLS: dict[str, Callable[[Float], Float]] = {
    "mean": lambda x: np.nanmean(x, 0),
    "median": lambda x: np.nanmedian(x, 0),
    "most_frequent": _most_frequent,
    "zero": lambda x: np.zeros(x.shape[1:], np.float32),
}


def _inputs(train: KnownRows) -> Float:
    """Return the inputs to which a scale is fitted: of rows that aren't in memory, of some."""
    if isinstance(train, Arrays):
        return train.x
    most = SCALE_BYTES // (4 * num_features(train.input_shape))
    return train.sample(max(2, min(SCALE_ROWS, most)))


def num_features(shape: tuple[int, ...]) -> int:
    """Return the number of values of one example."""
    return math.prod(shape)
