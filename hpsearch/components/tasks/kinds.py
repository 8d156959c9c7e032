"""What is learned from targets: classification, multi-label classification or regression.

The one place where that is decided, from the values and never from their dtype alone. Where the
values can be meant in two ways the decision is in doubt, and whoever wrote them has to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpsearch.components.data import Kind
from hpsearch.errors import DataError

Values = np.ndarray[Any, Any]
#: whole numbers from 0 are taken for class numbers up to so many classes
MAX_CLASS_NUMBERS = 20
#: and if each class has this share of the rows: the tail of counts has less
MIN_CLASS_SHARE = 0.01
#: real numbers that are whole are in doubt up to so many different ones
MAX_DOUBTFUL = 100
#: how far the shares of classes of a row may be from 1
SHARES_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Statement:
    """What else a spec says of the kind, such as its task, and where: settles a doubt."""

    kind: Kind
    reason: str


@dataclass(frozen=True)
class KindDecision:
    """A kind and the reason for it; where there is a `doubt`, that names all readings."""

    kind: Kind
    reason: str
    doubt: str = ""
    readings: tuple[Kind, ...] = ()

    def settled(self, said: Statement | None) -> KindDecision:
        """Return the decision without a doubt that a statement settles."""
        if said is None or said.kind not in self.readings:
            return self
        return KindDecision(said.kind, f"{said.reason}, and {self.reason}")

    def require(self, what: str = "the targets") -> None:
        """Raise DataError where the decision is in doubt; `what` names the targets."""
        if self.doubt:
            raise DataError(
                f"must be given ({' or '.join(self.readings)}), as {what} can be read in two "
                f"ways: {self.doubt}; {self.reason}",
                keyword="kind",
            )


def decide_kind(targets: Values, said: Statement | None = None) -> KindDecision:
    """Decide for targets (rows,) or (rows, columns).

    Raises DataError where rows have no target, or no kind has such targets.
    """
    targets = plain_targets(targets)
    decision = _of_column(targets) if targets.ndim == 1 else _of_columns(targets)
    return decision.settled(said)


def plain_targets(targets: Values) -> Values:
    """Return targets as numbers where objects are numbers, and as texts where not all are.

    Raises DataError for a row without a target.
    """
    if targets.dtype.kind == "f":
        _check_present(np.isnan(targets))
    if targets.dtype.kind != "O":
        return targets
    _check_present(np.vectorize(_is_missing, otypes=[bool])(targets))
    as_values = np.array(targets.tolist())
    return as_values if as_values.dtype.kind in "fiub" else targets.astype(str)


def are_whole(numbers: Values) -> bool:
    """Whether numbers have no fractions."""
    return bool((np.mod(numbers, 1) == 0).all())


def _of_column(targets: Values) -> KindDecision:
    if targets.dtype.kind == "b":
        return KindDecision("classification", "the targets are truth values")
    if targets.dtype.kind not in "fiu":
        return KindDecision("classification", "the targets are texts")
    values, counts = np.unique(targets, return_counts=True)
    if len(values) == 1:
        return KindDecision("classification", f"all targets are {values[0]}")
    is_real = targets.dtype.kind == "f"
    if is_real and not are_whole(targets[np.isfinite(targets)]):
        if len(values) > 2:
            return KindDecision("regression", "the targets are numbers with fractions")
        return _doubt("the targets have two different values", values)
    if is_real and len(values) > MAX_DOUBTFUL:
        return KindDecision("regression", f"the targets are {len(values)} different numbers")
    if not is_real and (reason := _as_class_numbers(values, counts)):
        return KindDecision("classification", reason)
    how = "real" if is_real else "whole"
    more = " without fractions" if is_real else ""
    rows = f"{len(values)} different {how} numbers{more} in {len(targets)} rows"
    return _doubt(f"there are {rows}", values)


def _as_class_numbers(values: Values, counts: Values) -> str:
    """Return why whole numbers are class numbers; empty where they may be quantities."""
    if len(values) <= 2:
        return f"the targets are {' and '.join(map(str, values))} only"
    is_gapless = values[0] == 0 and values[-1] == len(values) - 1
    is_rare = counts.min() < max(2, MIN_CLASS_SHARE * counts.sum())
    if not is_gapless or is_rare or len(values) > MAX_CLASS_NUMBERS:
        return ""
    return f"the targets are whole numbers from 0 to {values[-1]} without a gap, none of them rare"


def _doubt(reason: str, values: Values) -> KindDecision:
    classes = f"classification into {len(values)} classes ({listed(values)})"
    numbers = f"regression of numbers from {values[0]:g} to {values[-1]:g}"
    readings: tuple[Kind, ...] = ("classification", "regression")
    return KindDecision("classification", reason, f"{classes}, or {numbers}", readings)


def _of_columns(targets: Values) -> KindDecision:
    num_columns = targets.shape[1]
    if targets.dtype.kind == "b":
        return KindDecision("multilabel", f"the targets are {num_columns} truth values a row")
    if targets.dtype.kind not in "fiu":
        raise DataError(
            f"classes need one target a row, but the targets' shape is {targets.shape}",
            hint="the task multioutput learns several columns, classes and numbers",
        )
    numbers = f"regression of {num_columns} numbers"
    if np.isin(targets, (0, 1)).all():
        reason = f"the targets are {num_columns} columns of 0 and 1"
        doubt = f"multi-label classification with {num_columns} labels, or {numbers}"
        return KindDecision("multilabel", reason, doubt, ("multilabel", "regression"))
    is_share = targets.min() >= 0 and np.abs(targets.sum(1) - 1).max() <= SHARES_TOLERANCE
    if is_share:
        reason = f"the targets' {num_columns} columns add up to 1 in each row"
        doubt = f"classification with shares of {num_columns} classes, or {numbers}"
        return KindDecision("classification", reason, doubt, ("classification", "regression"))
    return KindDecision("regression", f"the targets are {num_columns} columns of numbers")


def listed(values: Sequence[Any] | Values) -> str:
    """Return values as a text, the middle of many left out.

    >>> listed(range(30))
    '0, 1, 2, … 29'
    """
    texts = [str(value) for value in values]
    return ", ".join(texts if len(texts) <= 6 else [*texts[:3], f"… {texts[-1]}"])


def _is_missing(value: Any) -> bool:
    # pandas' own mark of a missing value refuses to be compared
    return value is None or type(value).__name__ == "NAType" or bool(value != value)


def _check_present(missing: Values) -> None:
    rows = np.asarray(missing.reshape(len(missing), -1).any(axis=1))
    if rows.any():
        raise DataError(
            f"every row must have a target, but {int(rows.sum())} of {len(rows)} have none, the "
            f"first is row {int(rows.argmax())} (from 0): drop these rows"
        )
