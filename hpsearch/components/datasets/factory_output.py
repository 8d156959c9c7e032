"""What a data factory returned, checked and put into one form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from hpsearch.components.data import FILLS, Kind
from hpsearch.components.datasets.column_reading import ColumnReading
from hpsearch.components.datasets.token_checks import check_ids
from hpsearch.components.datasets.windows import SPLITS, Windows
from hpsearch.components.encodings import kinds
from hpsearch.components.examples import Arrays, Split
from hpsearch.components.input_parts import InputPart, check_parts
from hpsearch.components.raw_inputs import ImageReader, RawInputs, TableReader
from hpsearch.errors import DataError, UserCodeError

_OTHER_KEYS = (
    "classes",
    "features",
    "targets",
    "kind",
    "standardize",
    "groups",
    "ordered",
    "columns",
    "warnings",
    "missing",
    "unit",
    "table",
    "images",
    "num_tokens",
    "padding_id",
    "inputs",
    "windows",
)
_FORM = (
    "(x, y) of arrays or tensors, a torch Dataset, or a dict with 'train' and, where there are "
    "any, 'val' and 'test', each one of these"
)


@dataclass(frozen=True)
class Source:
    """Splits as read: arrays with raw targets, or Datasets; `splits` has 'train' at least.

    `standardize` is false where inputs are no quantities, such as ids of words. `groups` has a
    label for each row of arrays to train; rows that are ordered by time say so. `kind` is what
    the data set itself says of its targets; a table tells how its `columns` were read. `missing`
    names what fills NaNs in the arrays. `layout` tells the order of an image's axes, and whether
    they came with the channels last; here these are first. Raw values were divided by `unit`;
    `table` and `images` say how raw rows become inputs. With `windows` rows are the steps of a
    series, of which it makes rows once they are split. Inputs may be ids of `num_tokens` tokens,
    of which `padding_id` fills up the ends of sequences. A row may hold several `inputs`, one
    after the other. Neither ids nor these are ever standardised.
    """

    splits: Mapping[str, Split]
    class_names: tuple[str, ...] = ()
    feature_names: tuple[str, ...] = ()
    target_names: tuple[str, ...] = ()
    kind: Kind | None = None
    standardize: bool = True
    groups: np.ndarray[Any, Any] | None = None
    is_ordered: bool = False
    columns: tuple[ColumnReading, ...] = ()
    warnings: tuple[str, ...] = ()
    missing: str | None = None
    layout: str = ""
    came_channels_last: bool = False
    unit: float = 1.0
    table: TableReader | None = None
    images: ImageReader | None = None
    num_tokens: int = 0
    padding_id: int | None = None
    inputs: tuple[InputPart, ...] = ()
    windows: Windows | None = None

    def raw_inputs(self, shape: tuple[int, ...]) -> RawInputs:
        """Return the form of raw inputs, of which an example has this shape here."""
        is_last = self.came_channels_last
        came = (*shape[1:], shape[0]) if is_last else shape
        return RawInputs(came, is_last, self.feature_names, self.table, self.images)


def read_source(returned: Any, name: str) -> Source:
    """Check what the factory `name` returned; UserCodeError says what it should have been."""
    if _is_splits(returned):
        returned = dict(zip(SPLITS, returned, strict=False))
    elif isinstance(returned, tuple | list | Dataset):
        returned = {"train": returned}
    if not isinstance(returned, Mapping) or "train" not in returned:
        raise UserCodeError(f"{name}: must return {_FORM}, but got {_describe(returned)}")
    unknown = [key for key in returned if key not in (*SPLITS, *_OTHER_KEYS)]
    if unknown:
        raise UserCodeError(
            f"{name}: must return a mapping of {', '.join(SPLITS)}, {', '.join(_OTHER_KEYS)}, "
            f"but got the key {unknown[0]!r}"
        )
    missing = returned.get("missing")
    if missing not in (None, *FILLS):
        rule = f"{name}: missing must be one of {', '.join(FILLS)}"
        raise UserCodeError(f"{rule}, but got {missing!r}")
    keys = [key for key in SPLITS if key in returned]
    splits = {key: _split(returned[key], name, key, missing is not None) for key in keys}
    _check_alike(splits, name)
    inputs = tuple(returned.get("inputs", ()))
    if inputs:
        _check_inputs(inputs, splits, name)
    num_tokens, padding_id = int(returned.get("num_tokens", 0)), returned.get("padding_id")
    if "windows" not in returned:  # these may leave out steps that are none
        check_ids(splits, num_tokens, padding_id, name)
    kind = returned.get("kind")
    if kind is not None and kind not in kinds():
        raise UserCodeError(f"{name}: kind must be one of {', '.join(kinds())}, but got {kind!r}")
    return Source(
        splits,
        tuple(map(str, returned.get("classes", ()))),
        tuple(map(str, returned.get("features", ()))),
        tuple(map(str, returned.get("targets", ()))),
        kind,
        bool(returned.get("standardize", True)) and not inputs and not num_tokens,
        _groups(returned["groups"], splits["train"], name) if "groups" in returned else None,
        bool(returned.get("ordered", False)),
        tuple(returned.get("columns", ())),
        tuple(map(str, returned.get("warnings", ()))),
        missing,
        unit=float(returned.get("unit", 1)),
        table=returned.get("table"),
        images=returned.get("images"),
        num_tokens=num_tokens,
        padding_id=padding_id,
        inputs=inputs,
        windows=returned.get("windows"),
    )


def _is_splits(returned: Any) -> bool:
    """Whether it is (train, val) or (train, val, test), and can't be (x, y)."""
    if not isinstance(returned, tuple | list) or len(returned) not in (2, 3):
        return False
    return all(isinstance(each, Dataset) or _is_pair(each) for each in returned)


def _is_pair(value: Any) -> bool:
    """Whether it is (x, y) of arrays or tensors, and no array itself."""
    arrays = (np.ndarray, torch.Tensor)
    is_pair = isinstance(value, tuple | list) and len(value) == 2
    return is_pair and all(isinstance(part, arrays) and part.ndim > 0 for part in value)


def _split(value: Any, name: str, key: str, may_lack: bool) -> Split:
    if isinstance(value, Dataset):
        if not hasattr(value, "__len__"):
            raise UserCodeError(
                f"{name}: {key} must be a Dataset with a __len__, the rows of an epoch, but got "
                f"{_describe(value)}"
            )
        return value
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise UserCodeError(f"{name}: must return {_FORM}, but {key} is {_describe(value)}")
    x, y = (_array(part, name, key) for part in value)
    if x.ndim < 2 or x.dtype.kind not in "fiub" or 0 in x.shape[1:]:
        raise UserCodeError(
            f"{name}: x of {key} must be numbers of the shape (rows, features) or (rows, "
            f"channels, height, width), but got {x.dtype} of the shape {x.shape}"
        )
    if y.dtype.kind == "c":
        raise UserCodeError(f"{name}: y of {key} must be real numbers or texts, but is {y.dtype}")
    if y.ndim == 0 or len(x) != len(y) or len(x) == 0:
        raise UserCodeError(
            f"{name}: x and y of {key} must have as many rows, at least one, "
            f"but have the shapes {x.shape} and {y.shape}"
        )
    x = np.ascontiguousarray(x, dtype=np.float32)
    check_finite(x[~np.isnan(x)] if may_lack else x, f"x of {key}")
    return Arrays(x, y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y)


def _check_alike(splits: Mapping[str, Split], name: str) -> None:
    """Refuse arrays of one split that don't go with those of train."""
    arrays = {key: split for key, split in splits.items() if isinstance(split, Arrays)}
    if "train" not in arrays:
        return
    train = arrays["train"]
    for key, split in arrays.items():
        for part in ("x", "y"):
            ours, theirs = getattr(split, part), getattr(train, part)
            if ours.shape[1:] != theirs.shape[1:]:
                raise UserCodeError(
                    f"{name}: {part} of {key} must have rows of the shape of those of train, "
                    f"{theirs.shape[1:]}, but has {ours.shape[1:]}"
                )
        if _is_text(split.y) != _is_text(train.y):
            raise UserCodeError(
                f"{name}: y of {key} must be of the kind of y of train, {train.y.dtype}, "
                f"but is {split.y.dtype}"
            )


def _check_inputs(inputs: tuple[Any, ...], splits: Mapping[str, Split], name: str) -> None:
    """Refuse inputs that are none, or aren't those of the rows."""
    if wrong := [each for each in inputs if not isinstance(each, InputPart)]:
        raise UserCodeError(f"{name}: inputs must be InputParts, but got {_describe(wrong[0])}")
    for split in splits.values():
        if not isinstance(split, Arrays):
            raise UserCodeError(f"{name}: inputs need arrays, but got {_describe(split)}")
        check_parts(inputs, name, split.x)


def _is_text(values: np.ndarray[Any, Any]) -> bool:
    return values.dtype.kind in "US"


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


def check_finite(values: np.ndarray[Any, Any], what: str) -> None:
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if bad:
        raise DataError(f"{what} must be finite, but {bad} of {values.size} are not")


def _describe(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"{type(value).__name__} of {len(value)}"
    return f"{type(value).__name__} {value!r:.60}"
