"""What a data factory returned, checked and put into one form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset

from hpsearch.components.data import Arrays, Float, Kind, Split, split_length
from hpsearch.errors import DataError, UserCodeError

SPLITS = ("train", "val", "test")
_OTHER_KEYS = ("classes", "features", "standardize", "groups", "ordered")
#: how far the shares of classes of a row may be from 1
SHARES_TOLERANCE = 1e-3
#: examples of a Dataset whose shares or degrees are checked
CHECKED_ROWS = 100
_FORM = (
    "(x, y), or a mapping with 'train' and, where there are any, 'val' and 'test', "
    "each (x, y) of arrays or tensors, or each a map-style torch Dataset"
)


@dataclass(frozen=True)
class Source:
    """Splits as read: arrays with raw targets, or Datasets; `splits` has 'train' at least.

    `standardize` is false where inputs are no quantities, such as ids of words. `groups` has a
    label for each row of arrays to train; rows that are ordered by time say so.
    """

    splits: Mapping[str, Split]
    class_names: tuple[str, ...] = ()
    feature_names: tuple[str, ...] = ()
    standardize: bool = True
    groups: np.ndarray[Any, Any] | None = None
    is_ordered: bool = False


def read_source(returned: Any, name: str) -> Source:
    """Check what the factory `name` returned; UserCodeError says what it should have been."""
    if isinstance(returned, tuple | list | Dataset):
        returned = {"train": returned}
    if not isinstance(returned, Mapping) or "train" not in returned:
        raise UserCodeError(f"{name}: must return {_FORM}, but got {_describe(returned)}")
    unknown = [key for key in returned if key not in (*SPLITS, *_OTHER_KEYS)]
    if unknown:
        raise UserCodeError(
            f"{name}: must return a mapping of {', '.join(SPLITS)}, {', '.join(_OTHER_KEYS)}, "
            f"but got the key {unknown[0]!r}"
        )
    splits = {key: _split(returned[key], name, key) for key in SPLITS if key in returned}
    return Source(
        splits,
        tuple(map(str, returned.get("classes", ()))),
        tuple(map(str, returned.get("features", ()))),
        bool(returned.get("standardize", True)),
        _groups(returned["groups"], splits["train"], name) if "groups" in returned else None,
        bool(returned.get("ordered", False)),
    )


def encode(
    source: Source, kind: Kind | Literal["auto"]
) -> tuple[dict[str, Arrays], Kind, tuple[str, ...]]:
    """Turn the targets of arrays into class numbers or columns of numbers.

    `kind` 'auto' takes texts, truth values and whole numbers for classes. Returns the splits,
    the kind, and the names of the classes or labels.
    """
    splits = {key: split for key, split in source.splits.items() if isinstance(split, Arrays)}
    targets = np.concatenate([split.y for split in splits.values()])
    if kind == "multilabel" or (kind == "classification" and targets.ndim == 2):
        columns = _degrees(targets, kind)
        return _with_targets(splits, columns), kind, _column_names(source, columns)
    found = _kind(targets, kind)
    if found == "regression":
        columns = targets.astype(np.float32).reshape(len(targets), -1)
        _check_finite(columns, "targets")
        return _with_targets(splits, columns), found, ()
    values, classes = np.unique(targets, return_inverse=True)
    names = source.class_names or tuple(map(str, values))
    if source.class_names:
        if values.dtype.kind not in "iu" or values[0] < 0 or values[-1] >= len(names):
            raise DataError(
                f"dataset: targets must be numbers of the {len(names)} classes, from 0, "
                f"but there are {values[0]} to {values[-1]}"
            )
        classes = targets
    if len(names) < 2:
        raise DataError(f"dataset: there must be at least two classes, but got {names}")
    return _with_targets(splits, classes.astype(np.int64)), found, names


def describe_dataset(
    dataset: Dataset[Any], source: Source, name: str, kind: Kind | Literal["auto"] = "auto"
) -> tuple[Kind, tuple[int, ...], int]:
    """Return the kind, an example's shape and the number of outputs that a Dataset needs.

    `kind` 'auto' takes real numbers for a regression; with another they may be shares of classes,
    or degrees of labels, of which the first rows are checked. Without names of the classes all
    targets are read once, to count them.
    """
    x, y = _example(dataset, 0, name)
    if kind == "auto":
        kind = "regression" if y.is_floating_point() else "classification"
    shape = tuple(x.shape)
    if kind == "multilabel" or (kind == "classification" and y.is_floating_point()):
        rows = range(min(CHECKED_ROWS, split_length(dataset)))
        targets = torch.stack([_example(dataset, i, name)[1] for i in rows])
        return kind, shape, len(_column_names(source, _degrees(targets.numpy(), kind)))
    if kind == "regression":
        return kind, shape, y.numel()
    if source.class_names:
        return kind, shape, len(source.class_names)
    return kind, shape, 1 + max(int(dataset[i][1]) for i in range(split_length(dataset)))


class RealTargets(Dataset[Any]):
    """A Dataset whose targets are real numbers, where they were truth values or whole ones."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return split_length(self._dataset)

    def __getitem__(self, index: int) -> tuple[Any, torch.Tensor]:
        x, y = self._dataset[index]
        return x, torch.as_tensor(y).float()


def _example(dataset: Dataset[Any], index: int, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    try:
        x, y = (torch.as_tensor(part) for part in dataset[index])
    except Exception as error:  # a user's Dataset may raise anything
        raise UserCodeError(
            f"{name}: a Dataset's examples must be pairs of tensors, but number {index} gives: "
            f"{type(error).__name__}: {error}"
        ) from error
    return x, y


def _split(value: Any, name: str, key: str) -> Split:
    if isinstance(value, Dataset):
        if isinstance(value, IterableDataset) or not hasattr(value, "__len__"):
            raise UserCodeError(
                f"{name}: {key} must be a Dataset with a length, but got {_describe(value)}"
            )
        return value
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise UserCodeError(f"{name}: must return {_FORM}, but {key} is {_describe(value)}")
    x, y = (_array(part, name, key) for part in value)
    if x.ndim < 2 or x.dtype.kind not in "fiub":
        raise UserCodeError(
            f"{name}: x of {key} must be numbers of the shape (rows, features) or (rows, "
            f"channels, height, width), but got {x.dtype} of the shape {x.shape}"
        )
    if y.ndim == 0 or len(x) != len(y) or len(x) == 0:
        raise UserCodeError(
            f"{name}: x and y of {key} must have as many rows, at least one, "
            f"but have the shapes {x.shape} and {y.shape}"
        )
    x = np.ascontiguousarray(x, dtype=np.float32)
    _check_finite(x, f"x of {key}")
    return Arrays(x, y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y)


def _groups(value: Any, train: Split, name: str) -> np.ndarray[Any, Any]:
    groups = _array(value, name, "groups")
    if not isinstance(train, Arrays) or groups.shape != (len(train),):
        what = f"{len(train)} rows" if isinstance(train, Arrays) else "Datasets, which have none"
        raise UserCodeError(
            f"{name}: groups must be a label for each row of train, but have the shape "
            f"{groups.shape} for {what}"
        )
    return groups


def _array(value: Any, name: str, key: str) -> np.ndarray[Any, Any]:
    if isinstance(value, torch.Tensor):
        return value.numpy(force=True)
    try:
        return np.asarray(value)
    except ValueError as error:  # ragged lists
        raise UserCodeError(f"{name}: {key} must be arrays, but: {error}") from error


def _kind(targets: np.ndarray[Any, Any], kind: str) -> Kind:
    is_number = targets.dtype.kind in "fiu"
    if kind == "regression" or (kind == "auto" and targets.dtype.kind == "f"):
        if not is_number:
            raise DataError(
                f"dataset.kind: regression needs targets that are numbers, but got {targets[0]!r}"
            )
        return "regression"
    if targets.ndim > 1:
        raise DataError(
            f"dataset: classes need one target a row, but the targets' shape is {targets.shape}"
        )
    count = len(np.unique(targets.astype(str) if targets.dtype.kind == "O" else targets))
    if kind == "auto" and is_number and count > 100 and len(targets) < 20 * count:
        raise DataError(
            f"dataset.kind: must be given (classification or regression) for whole numbers as "
            f"different as these targets, but is auto; {count} values in {len(targets)} rows"
        )
    return "classification"


def _degrees(targets: np.ndarray[Any, Any], kind: str) -> Float:
    """Check degrees of labels, or shares of classes, which add up to 1."""
    what = "degrees of labels" if kind == "multilabel" else "shares of classes"
    if targets.ndim != 2 or targets.dtype.kind not in "fiub":
        raise DataError(
            f"dataset.kind: {kind} needs targets of the shape (rows, columns), {what}, but got "
            f"{targets.dtype} of the shape {targets.shape}"
        )
    columns = targets.astype(np.float32)
    _check_finite(columns, "targets")
    if columns.min() < 0 or columns.max() > 1:
        raise DataError(
            f"dataset: {what} must be from 0 to 1, but there are {columns.min():g} to "
            f"{columns.max():g}"
        )
    sums = columns.sum(1)
    wrong = int(np.abs(sums - 1).argmax())
    if kind == "classification" and abs(sums[wrong] - 1) > SHARES_TOLERANCE:
        raise DataError(
            f"dataset: {what} must add up to 1 in each row, but those of row {wrong} add up to "
            f"{sums[wrong]:g} (for labels that don't exclude each other take kind: multilabel)"
        )
    return columns


def _column_names(source: Source, columns: Float) -> tuple[str, ...]:
    names = source.class_names or tuple(map(str, range(columns.shape[1])))
    if len(names) != columns.shape[1]:
        raise DataError(
            f"dataset: targets must have a column for each of the {len(names)} classes, "
            f"but have {columns.shape[1]}"
        )
    return names


def _with_targets(splits: Mapping[str, Arrays], targets: Any) -> dict[str, Arrays]:
    ends = np.cumsum([len(split) for split in splits.values()])
    parts = np.split(targets, ends[:-1])
    return {
        key: Arrays(split.x, part)
        for (key, split), part in zip(splits.items(), parts, strict=True)
    }


def _check_finite(values: np.ndarray[Any, Any], what: str) -> None:
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if bad:
        raise DataError(f"dataset: {what} must be finite, but {bad} of {values.size} are not")


def _describe(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"{type(value).__name__} of {len(value)}"
    return f"{type(value).__name__} {value!r:.60}"
