"""The targets of a data set, as tasks learn them: class numbers, or columns of numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset

from hpsearch.components.data import Kind
from hpsearch.components.datasets.factory_output import Source, check_finite
from hpsearch.components.datasets.mixed_targets import as_outputs, target_columns
from hpsearch.components.encodings import encoding_of
from hpsearch.components.examples import (
    Arrays,
    Float,
    Stream,
    all_examples,
    first_examples,
    split_length,
)
from hpsearch.components.tasks.kinds import (
    SHARES_TOLERANCE,
    KindDecision,
    Statement,
    Values,
    are_whole,
    decide_kind,
    listed,
    plain_targets,
)
from hpsearch.errors import DataError, HpsearchError, UserCodeError

#: examples of a Dataset that are looked at
CHECKED_ROWS = 100


def decide(
    source: Source, given: Kind | Literal["auto"], said: Statement | None, name: str
) -> KindDecision:
    """Decide what is learned of a data set: as its spec says, as it says itself, by its targets.

    Of Datasets the first rows are looked at. What is said to be learned may be made of targets
    of another kind, which the data set must have.
    """
    own = encoding_of(said.kind).made_of if said is not None else ""
    if said is None or not own:
        return _decide(source, given, said, name)
    decision = _decide(source, given, Statement(own, said.reason), name)
    if decision.kind != own or decision.doubt:
        return decision
    return KindDecision(said.kind, f"{said.reason}, and {decision.reason}")


def _decide(
    source: Source, given: Kind | Literal["auto"], said: Statement | None, name: str
) -> KindDecision:
    is_inputs_alone = said is not None and encoding_of(said.kind).ignores_targets
    if given == "auto" and said is not None and is_inputs_alone and source.windows is None:
        return KindDecision(said.kind, said.reason)
    if given == "auto" and said is not None and encoding_of(said.kind).must_be_said:
        return KindDecision(said.kind, said.reason)
    if given != "auto":
        return KindDecision(given, "`kind` states it")
    if source.kind is not None:
        return KindDecision(source.kind, "the data set states it")
    train = source.splits["train"]
    if isinstance(train, Arrays):
        arrays = [split.y for split in source.splits.values() if isinstance(split, Arrays)]
        targets = np.concatenate(arrays)
    else:
        targets = _first_targets(train, name)
    if source.class_names and targets.ndim == 1:
        return KindDecision("classification", "the data set names its classes")
    if not isinstance(train, Arrays) and targets.ndim == 1 and targets.dtype.kind in "iu":
        return KindDecision("classification", "the Dataset's targets are whole, as class numbers")
    return decide_kind(targets, said)


def encode(source: Source, kind: Kind) -> tuple[dict[str, Arrays], tuple[str, ...]]:
    """Turn the targets of arrays into class numbers or columns of numbers.

    Returns the splits, and the names of the classes or labels.
    """
    kind = encoding_of(kind).made_of or kind
    splits = {key: split for key, split in source.splits.items() if isinstance(split, Arrays)}
    if encoding_of(kind).ignores_targets:
        num_rows = sum(map(len, splits.values()))
        return _with_targets(splits, np.zeros(num_rows, np.int64)), ()
    if not encoding_of(kind).reads_targets:
        of, names = encoding_of(kind), source.class_names
        return {
            key: Arrays(each.x, of.checked(each.y, names, each.x), each.mask)
            for key, each in splits.items()
        }, names
    if kind == "multioutput":
        columns = np.concatenate([split.y.astype(object) for split in splits.values()])
        return _with_targets(splits, as_outputs(target_columns(columns, source))), ()
    targets = plain_targets(np.concatenate([split.y for split in splits.values()]))
    if kind == "multilabel" or (kind == "classification" and targets.ndim == 2):
        columns = _degrees(targets, kind)
        return _with_targets(splits, columns), _column_names(source, columns)
    if kind == "regression":
        return _with_targets(splits, _numbers(targets)), ()
    if targets.ndim > 1:
        raise DataError(
            f"classes need one target a row, but the targets' shape is {targets.shape}"
        )
    classes, names = _classes(targets, source.class_names)
    return _with_targets(splits, classes), names


def describe_dataset(
    dataset: Dataset[Any], source: Source, name: str, kind: Kind
) -> tuple[tuple[int, ...], int]:
    """Return an example's shape and the number of outputs that a Dataset needs.

    Targets may be shares of classes, or degrees of labels, of which the first rows are checked.
    Without names of the classes all targets are read once, to count them.
    """
    x, y = _examples(dataset, 1, name)[0]
    shape = tuple(x.shape)
    if kind == "multilabel" or (kind == "classification" and y.is_floating_point()):
        targets = _first_targets(dataset, name)
        return shape, len(_column_names(source, _degrees(targets, kind)))
    if kind == "regression":
        return shape, y.numel()
    if source.class_names:
        return shape, len(source.class_names)
    return shape, 1 + max(int(y) for _, y in all_examples(dataset))


def as_learned(
    splits: Mapping[str, Dataset[Any]], kind: Kind, name: str
) -> dict[str, Dataset[Any]]:
    """Return Datasets whose targets have the type that a kind is learned from."""
    _, y = _examples(splits["train"], 1, name)[0]
    dtype = y.dtype
    if kind != "classification" and not y.is_floating_point():
        dtype = torch.float32
    elif kind == "classification" and y.is_floating_point() and y.numel() == 1:
        dtype = torch.int64
        if not are_whole(_first_targets(splits["train"], name)):
            rule = "classification needs class numbers, but got fractions"
            raise DataError(rule, keyword="kind")
    if dtype == y.dtype:
        return dict(splits)
    return {key: converted(split, dtype) for key, split in splits.items()}


def converted(dataset: Dataset[Any], dtype: torch.dtype) -> Dataset[Any]:
    """Return a Dataset with targets of another type than it gives."""
    kind = ConvertedStream if isinstance(dataset, IterableDataset) else Converted
    return kind(dataset, dtype)


class Converted(Dataset[Any]):
    """A map-style Dataset whose targets are of another type than it gives."""

    def __init__(self, dataset: Dataset[Any], dtype: torch.dtype) -> None:
        self._dataset, self._dtype = dataset, dtype

    def __len__(self) -> int:
        return split_length(self._dataset)

    def __getitem__(self, index: int) -> tuple[Any, torch.Tensor]:
        x, y = self._dataset[index]
        return x, torch.as_tensor(y).to(self._dtype)


class ConvertedStream(Stream):
    """An IterableDataset whose targets are of another type than it gives."""

    def __init__(self, dataset: Dataset[Any], dtype: torch.dtype) -> None:
        super().__init__([dataset])
        self._dtype = dtype

    def __iter__(self) -> Iterator[tuple[Any, torch.Tensor]]:
        for x, y in super().__iter__():
            yield x, torch.as_tensor(y).to(self._dtype)


def _first_targets(dataset: Dataset[Any], name: str) -> Values:
    """The targets of the first rows; of one where that is a class number."""
    is_real = _examples(dataset, 1, name)[0][1].is_floating_point()
    rows = _examples(dataset, CHECKED_ROWS if is_real else 1, name)
    targets = torch.stack([y for _, y in rows]).numpy()
    return targets[:, 0] if targets.ndim == 2 and targets.shape[1] == 1 else targets


def _numbers(targets: Values) -> Float:
    if targets.dtype.kind not in "fiu":
        rule = "regression needs targets that are numbers"
        raise DataError(rule, targets.tolist()[0], keyword="kind")
    columns = targets.astype(np.float32).reshape(len(targets), -1)
    check_finite(columns, "targets")
    if (columns == columns[0]).all():
        raise DataError(f"targets must differ, but all are {columns[0, 0]:g}")
    return columns


def _classes(targets: Values, known: tuple[str, ...]) -> tuple[Values, tuple[str, ...]]:
    """Return class numbers, and the names of the classes."""
    if targets.dtype.kind == "f" and are_whole(targets):
        targets = targets.astype(np.int64)
    values, classes = np.unique(targets, return_inverse=True)
    names = known or tuple(map(str, values))
    if known:
        if values.dtype.kind not in "iu" or values[0] < 0 or values[-1] >= len(names):
            raise DataError(
                f"targets must be numbers of the {len(names)} classes, from 0, "
                f"but there are {values[0]} to {values[-1]}"
            )
        classes = targets
    if len(names) < 2:
        raise DataError("there must be at least two classes", names)
    if not known and len(names) == len(targets) > 2:
        raise DataError(
            f"classes must have several rows, but each of {len(names)} rows has a class of its "
            f"own ({listed(names)})"
        )
    return classes.astype(np.int64), names


def _examples(
    dataset: Dataset[Any], most: int, name: str
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return the first examples, at most so many, as tensors."""
    found: list[tuple[torch.Tensor, torch.Tensor]] = []
    try:
        for x, y in first_examples(dataset, most):
            found.append((torch.as_tensor(x), torch.as_tensor(y)))
    except HpsearchError:
        raise
    except Exception as error:  # a user's Dataset may raise anything
        raise UserCodeError(
            f"{name}: a Dataset's examples must be pairs of tensors, but number {len(found)} "
            f"gives: {type(error).__name__}: {error}"
        ) from error
    if not found:
        raise UserCodeError(f"{name}: a Dataset must have examples, but has none")
    return found


def _degrees(targets: np.ndarray[Any, Any], kind: str) -> Float:
    """Check degrees of labels, or shares of classes, which add up to 1."""
    what = "degrees of labels" if kind == "multilabel" else "shares of classes"
    if targets.ndim != 2 or targets.dtype.kind not in "fiub":
        raise DataError(
            f"{kind} needs targets of the shape (rows, columns), {what}, but got {targets.dtype} "
            f"of the shape {targets.shape}",
            keyword="kind",
        )
    columns = targets.astype(np.float32)
    check_finite(columns, "targets")
    if columns.min() < 0 or columns.max() > 1:
        raise DataError(
            f"{what} must be from 0 to 1, but there are {columns.min():g} to {columns.max():g}"
        )
    sums = columns.sum(1)
    wrong = int(np.abs(sums - 1).argmax())
    if kind == "classification" and abs(sums[wrong] - 1) > SHARES_TOLERANCE:
        raise DataError(
            f"{what} must add up to 1 in each row, but those of row {wrong} add up to "
            f"{sums[wrong]:g} (for labels that don't exclude each other take `kind: multilabel`)"
        )
    return columns


def _column_names(source: Source, columns: Float) -> tuple[str, ...]:
    names = source.class_names or tuple(map(str, range(columns.shape[1])))
    if len(names) != columns.shape[1]:
        raise DataError(
            f"targets must have a column for each of the {len(names)} classes, "
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
