"""The order of the axes of images: read from their shape, or stated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from hpsearch.components.examples import Arrays, Split
from hpsearch.errors import DataError
from hpsearch.formatting import show_count

Layout = Literal["auto", "channels_first", "channels_last"]
#: of grey, of coloured and of partly transparent images
_CHANNELS = (1, 3, 4)
#: axes at most so long may be channels as well as heights and widths
_SMALLEST_IMAGE = 5


def read_layout(shape: tuple[int, ...]) -> Layout:
    """Return the order that an example's shape shows; channels come first where both can be.

    >>> read_layout((32, 48, 3)), read_layout((3, 32, 48)), read_layout((16, 4, 4))
    ('channels_last', 'channels_first', 'channels_first')
    """
    *others, last = shape
    is_last = last in _CHANNELS and min(others) >= _SMALLEST_IMAGE
    return "channels_last" if is_last else "channels_first"


def with_channels_first(
    splits: Mapping[str, Split], layout: Layout
) -> tuple[dict[str, Split], bool, str]:
    """Return splits of arrays with the channels first, whether they came last, and a note.

    What isn't an array of images stays, and has no note; DataError for a layout of those.
    """
    train = splits["train"]
    if not isinstance(train, Arrays) or train.x.ndim < 4:
        if layout != "auto":
            rule = "must be given for arrays (rows, channels, height, width) only"
            raise DataError(rule, layout, keyword="layout")
        return dict(splits), False, ""
    found = read_layout(train.x.shape[1:]) if layout == "auto" else layout
    if found == "channels_last":
        splits = {key: _moved(split) for key, split in splits.items()}
        train = splits["train"]
        assert isinstance(train, Arrays)
    channels, *sizes = train.x.shape[1:]
    size = " x ".join(map(str, sizes))
    how = "as `layout` says" if layout != "auto" else "by their shape; `layout` sets another"
    note = f"images of {show_count(channels, 'channel')}, {size}"
    return dict(splits), found == "channels_last", f"{note} ({found}, {how})"


def axes_warnings(shape: tuple[int, ...]) -> list[str]:
    """Warn where the examples of a Dataset, which are used as they are, look like images whose
    channels come last."""
    if len(shape) < 3 or read_layout(shape) == "channels_first":
        return []
    size = " x ".join(map(str, shape))
    return [
        f"examples of {size} are taken for images of {shape[0]} channels: return (channels, "
        "height, width) where the last axis holds the channels"
    ]


def channels_first(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Move the last axis of rows before the others of an example."""
    return np.ascontiguousarray(np.moveaxis(x, -1, 1))


def _moved(split: Split) -> Split:
    return Arrays(channels_first(split.x), split.y) if isinstance(split, Arrays) else split
