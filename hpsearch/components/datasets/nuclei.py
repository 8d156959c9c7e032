"""Nuclei of cells, in a real image for segmentation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Interval
from numpy.typing import NDArray

from hpsearch.components.datasets.images.files import opened
from hpsearch.components.packages import installed_path
from hpsearch.errors import DataError
from hpsearch.registry import register


@register("dataset", "nuclei")
def nuclei(size: Annotated[int, Interval(ge=16, le=128)] = 64) -> Mapping[str, Any]:
    """Nuclei of cells in a fluorescence microscope's image, for segmentation (Caicedo et al.,
    Nature Methods 2019: the Data Science Bowl of 2018).

    The image of 512x512 pixels is cut into tiles of `size`, which share no pixel; what is left at
    its right and lower ends is left out. Classes are the background and nuclei. It comes with
    `pip install --no-deps stardist`, and its reading needs `pip install hpsearch[vision]`.
    """
    image, mask = (_tiles(_pixels(name), size) for name in ("img2d", "mask2d"))
    x = image[:, None].astype(np.float32) / np.float32(255)
    y = (mask > 0).astype(np.int64)  # its numbers are those of single nuclei
    return {"train": (x, y), "classes": ("background", "nucleus"), "kind": "segmentation"}


def _pixels(name: str) -> NDArray[Any]:
    """Return the pixels of an image, (height, width)."""
    with opened(str(_file(name))) as image:
        return np.asarray(image)


def _file(name: str) -> Path:
    file = installed_path("stardist", f"data/images/{name}.tif")
    if file is None:
        rule = "nuclei needs the package stardist: `pip install --no-deps stardist`"
        raise DataError(rule)
    return file


def _tiles(image: NDArray[Any], size: int) -> NDArray[Any]:
    """Return the squares (tiles, size, size) of an image, row by row.

    >>> _tiles(np.arange(8).reshape(2, 4), 2).tolist()
    [[[0, 1], [4, 5]], [[2, 3], [6, 7]]]
    """
    rows, columns = (length // size for length in image.shape)
    kept = image[: rows * size, : columns * size].reshape(rows, size, columns, size)
    return kept.swapaxes(1, 2).reshape(-1, size, size)
