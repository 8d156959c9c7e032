"""Columns of targets, each of its own kind: classes, or numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpsearch.components.datasets.factory_output import Source, check_finite
from hpsearch.components.examples import Arrays, Float
from hpsearch.components.tasks.kinds import Values, decide_kind, plain_targets
from hpsearch.errors import DataError


@dataclass(frozen=True)
class TargetColumn:
    """A target's values: numbers float32 (rows,), or numbers of its `classes`."""

    name: str
    values: Values
    classes: tuple[str, ...] = ()


def target_columns(targets: Values, source: Source) -> list[TargetColumn]:
    """Return the columns of targets (rows, columns) as they are learned.

    Raises DataError where there are fewer than two, and for one that can be read in two ways.
    """
    if targets.ndim != 2 or targets.shape[1] < 2:
        rule = "multioutput needs targets of the shape (rows, columns), two columns at least"
        raise DataError(f"{rule}, but got {targets.shape}", keyword="kind")
    names = source.target_names or tuple(map(str, range(targets.shape[1])))
    return [_column(*each) for each in zip(names, targets.T, strict=True)]


def as_outputs(columns: Sequence[TargetColumn]) -> Float:
    """Return one-hot columns of classes, and numbers, float32 (rows, outputs)."""
    parts = [
        np.eye(len(each.classes), dtype=np.float32)[each.values]
        if each.classes
        else each.values[:, None]
        for each in columns
    ]
    return np.concatenate(parts, 1)


def target_blocks(source: Source) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return each target's name and its classes, which a number has not."""
    arrays = [split.y for split in source.splits.values() if isinstance(split, Arrays)]
    targets = np.concatenate([each.astype(object) for each in arrays])
    return tuple((each.name, each.classes) for each in target_columns(targets, source))


def _column(name: str, targets: Values) -> TargetColumn:
    plain = plain_targets(targets)
    decision = decide_kind(plain)
    if decision.doubt:
        raise DataError(
            f"target {name!r} can be read in two ways: {decision.doubt}; {decision.reason}: write "
            "classes as texts, or numbers with a fraction",
            keyword="target" if not name.isdecimal() else "kind",
        )
    if decision.kind == "regression":
        numbers = plain.astype(np.float32)
        check_finite(numbers, f"numbers of target {name!r}")
        return TargetColumn(name, numbers)
    values, classes = np.unique(plain, return_inverse=True)
    if len(values) < 2:
        raise DataError(f"target {name!r} must have two classes at least, but all are {values[0]}")
    return TargetColumn(name, classes, tuple(map(str, values)))
