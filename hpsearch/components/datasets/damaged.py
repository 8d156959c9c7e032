"""A data set of one damaged image, which a deep image prior restores."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt, Interval
from numpy.typing import NDArray

from hpsearch.components.datasets.files import resolve
from hpsearch.components.datasets.images.files import opened
from hpsearch.components.jpeg import Quality, compressed
from hpsearch.registry import register

Damage = Literal["none", "noise", "holes", "grid", "jpeg"]
Image = NDArray[np.float64]


@register("dataset", "damaged_image")
def damaged_image(
    folder: Path,
    seed: int,
    path: str | None = None,
    damage: Damage = "noise",
    noise: Annotated[float, Gt(0)] = 25 / 255,
    known: Annotated[float, Interval(gt=0, lt=1)] = 0.5,
    spacing: Annotated[int, Ge(2)] = 2,
    quality: Quality = 15,
    repeats: Annotated[int, Ge(1)] = 50,
    size: Annotated[int, Interval(ge=8, le=1024)] = 64,
) -> Mapping[str, Any]:
    """One image to be restored, `repeats` times in an epoch, for the task image_prior.

    It is a file of yours, which needs `pip install hpsearch[vision]`, or a generated image of
    `size` pixels. `damage` is normal noise of the deviation `noise` where values are from 0 to 1
    (25 of 255 by default); holes, which leave the share `known` of the pixels; a grid, of which
    every `spacing`th pixel in both directions is known, as of an image of fewer pixels; jpeg, as
    that gives the image back at a `quality` of 1 to 100; none of a file that is damaged already.
    Inputs are the damaged image and which pixels are known, 1 or 0; targets are the image before,
    by which validation says how well it is restored.
    """
    rng = np.random.default_rng(seed)
    clean = _generated(size) if path is None else _read(resolve(folder, path))
    mask = np.ones((1, *clean.shape[1:]))
    given = clean
    if damage == "noise":
        given = clean + rng.normal(scale=noise, size=clean.shape)
    elif damage == "holes":
        mask = np.where(rng.random(mask.shape) < known, 1.0, 0.0)
    elif damage == "grid":
        mask = np.zeros_like(mask)
        mask[:, ::spacing, ::spacing] = 1
    elif damage == "jpeg":
        given = compressed(torch.from_numpy(clean[None]), torch.tensor([quality]))[0].numpy()
    x = np.concatenate([given * mask, mask])[None].astype(np.float32)
    y = clean[None].astype(np.float32)
    return {
        "train": (np.repeat(x, repeats, 0), np.repeat(y, repeats, 0)),
        "val": (x, y),
        "test": (x, y),
        "kind": "image_prior",
        "standardize": False,
    }


def _generated(size: int) -> Image:
    """Return an image (1, size, size) from 0 to 1: discs and bars before a slope of brightness."""
    rows, columns = np.mgrid[:size, :size] / size
    image = 0.2 + 0.4 * rows
    for row, column, radius, value in [(0.3, 0.3, 0.18, 0.9), (0.65, 0.7, 0.22, 0.1)]:
        image[np.hypot(rows - row, columns - column) < radius] = value
    image[np.abs(columns - 0.5) < 0.03] = 1.0
    image[(np.abs(rows - 0.85) < 0.04) & (columns < 0.6)] = 0.0
    whole: Image = image[None]
    return whole


def _read(file: Path) -> Image:
    """Return the image of a file (channels, height, width), from 0 to 1."""
    with opened(str(file)) as image:
        values = np.asarray(image if image.mode == "L" else image.convert("RGB"))
    pixels: Image = np.atleast_3d(values).transpose(2, 0, 1) / 255
    return pixels
