"""`Data`: what a trial is trained on, as arrays that all trials of a node can share."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hpsearch.components.encodings import TargetEncoding, encoding_of
from hpsearch.components.examples import (
    Arrays,
    Float,
    KnownRows,
    LazyRows,
    Scale,
    Split,
    first_examples,
    merged_splits,
    num_features,
    split_length,
)
from hpsearch.components.input_parts import InputPart
from hpsearch.components.raw_inputs import RawInputs

#: the name of a target encoding, and of the task that learns such targets by default
Kind = str


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
    they have. Inputs that are ids are ids of `num_tokens` tokens; 0: they are numbers. The ends of
    their sequences may be filled up by the `padding_id`. Examples of several inputs,
    `input_parts`, have these one after the other in a row.
    `output_names` are those of outputs that are neither classes nor targets by themselves;
    `target_blocks` has each target's name and its classes, where there are several targets.
    A row goes on where the one `row_stride` rows before it ended; 0: rows don't follow each other.
    Training rows stand in the order in which they came, `rows_in_order`, unless some were drawn.
    Of a series the rows `between` have targets in both train and val: in neither, but in a last
    training on both. Where such a training doesn't have the rows of both as they are,
    `merge_rows` makes its own of them.
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
    padding_id: int | None = None
    input_parts: tuple[InputPart, ...] = ()
    output_names: tuple[str, ...] = ()
    target_blocks: tuple[tuple[str, tuple[str, ...]], ...] = ()
    row_stride: int = 0
    rows_in_order: bool = True
    between: Arrays | None = None
    merge_rows: Callable[[Arrays, Arrays], Arrays] | None = None

    @property
    def encoding(self) -> TargetEncoding:
        """What depends on the kind of the targets."""
        return encoding_of(self.kind)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of a model's outputs for an example."""
        return self.encoding.output_shape(self.output_size, self.input_shape)

    @cached_property
    def input_bounds(self) -> tuple[float, float]:
        """The least and the greatest value of the training rows, before any scale but that of
        their unit; of 8-bit pixels 0 and 1."""
        if self.unit == 255 or not isinstance(self.train, Arrays) or self.num_tokens:
            return 0.0, 1.0
        raw = self.train.x * self.x_scale.std + self.x_scale.mean
        return float(np.nanmin(raw)), float(np.nanmax(raw))

    @property
    def input_range(self) -> float:
        """From the least to the greatest value of the training rows, by `input_bounds`."""
        low, high = self.input_bounds
        return high - low or 1.0

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
        train, val = self.train, self.val
        if self.between is not None and isinstance(train, Arrays):
            train = train.joined(self.between)
        if self.merge_rows is not None and isinstance(train, Arrays) and isinstance(val, Arrays):
            train, val = self.merge_rows(train, val), None
        merged = merged_splits(train, val)
        return standardized(replace(self, train=merged, val=None, folds=(), between=None))


#: rows and bytes, at most, from which the scale of examples is fitted that aren't in memory
SCALE_ROWS, SCALE_BYTES = 512, 64 * 2**20


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
    x = Scale.fit(_inputs(data.train)) if data.standardize else none
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
        between=apply(data.between),
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

    splits = {key: apply(getattr(data, key)) for key in ("train", "val", "test", "between")}
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
