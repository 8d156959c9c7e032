"""Whether inputs that are to be ids of tokens are such."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpsearch.components.examples import Arrays
from hpsearch.errors import DataError


def check_ids(
    splits: Mapping[str, Any], num_tokens: int, padding_id: int | None, name: str
) -> None:
    """Raise DataError unless the inputs of splits are ids of so many tokens, (rows, steps), whose
    sequences are filled up at their ends alone; without tokens they may be anything."""
    if padding_id is not None and padding_id not in range(num_tokens):
        of = f"must be one of the {num_tokens} tokens, from 0"
        rule = of if num_tokens else "must be left out without num_tokens"
        raise DataError(f"{name}: padding_id {rule}", padding_id)
    arrays = {key: split for key, split in splits.items() if isinstance(split, Arrays)}
    for key, split in arrays.items() if num_tokens else ():
        x, what = split.x, f"{name}: x of {key}"
        if x.ndim != 2:
            raise DataError(f"{what} must be ids (rows, steps), but has the shape {x.shape}")
        is_id = (x >= 0) & (x < num_tokens) & (x % 1 == 0)
        if not is_id.all():
            row = int(np.argmin(is_id.all(1)))
            rule = f"{what} must be ids of tokens from 0 to {num_tokens - 1}, but row {row}"
            raise DataError(f"{rule} (from 0) has {x[~is_id][0]:g}")
        if padding_id is not None:
            _check_ends(x == padding_id, padding_id, what)


def _check_ends(is_padding: NDArray[np.bool_], padding_id: int, what: str) -> None:
    """Raise DataError for a sequence that is empty, or is filled up before its end."""
    if is_padding[:, 0].any():
        row = int(is_padding[:, 0].argmax())
        told = f"row {row} (from 0) begins with the padding_id {padding_id}"
        raise DataError(f"{what} must have sequences that begin with a token, but {told}")
    again = (is_padding[:, :-1] & ~is_padding[:, 1:]).any(1)
    if again.any():
        told = f"row {int(again.argmax())} (from 0) has tokens after it"
        raise DataError(f"{what} must have the padding_id {padding_id} at the end, but {told}")
