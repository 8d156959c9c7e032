"""Data sets of images and masks, which have a class for each of their pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Interval, MinLen
from numpy.typing import NDArray

from hpsearch.components.batch import IGNORED
from hpsearch.components.datasets.images.files import Color, ImageFiles, opened, pillow, size_of
from hpsearch.components.datasets.images.folders import SUFFIXES, left_out
from hpsearch.components.tasks.kinds import listed
from hpsearch.errors import DataError
from hpsearch.registry import register

SHAPES = ("background", "disc", "square")
Pixels = Annotated[int, Interval(ge=1, le=4096)]
Mask = NDArray[np.int64]


@register("dataset", "blobs_segmentation")
def blobs_segmentation(
    seed: int,
    images: Annotated[int, Ge(10)] = 600,
    size: Annotated[int, Interval(ge=8, le=512)] = 32,
    noise: Annotated[float, Ge(0)] = 0.5,
    ignore_borders: bool = False,
) -> Mapping[str, Any]:
    """Generated pictures of discs and squares of any brightness, for segmentation.

    Classes are the background, discs and squares: a pixel alone tells nothing of the shape that it
    is of. `noise` is the deviation of what is added, beside shapes that are 0.5 to 1.5 brighter
    than what is behind them. With `ignore_borders` pixels at the border of two classes don't
    count, as in Pascal VOC.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(scale=noise, size=(images, 1, size, size))
    y = np.zeros((images, size, size), np.int64)
    rows, columns = np.mgrid[:size, :size]
    for picture, mask in zip(x[:, 0], y, strict=True):
        for _ in range(rng.integers(1, 4)):
            row, column = rng.uniform(0, size, 2)
            radius, shape = rng.uniform(size / 10, size / 4), int(rng.integers(1, 3))
            down, right = np.abs(rows - row), np.abs(columns - column)
            distance = np.hypot(down, right) if shape == 1 else np.maximum(down, right)
            is_inside = distance < radius
            mask[is_inside] = shape
            picture[is_inside] += rng.uniform(0.5, 1.5)
    if ignore_borders:
        y = np.stack([np.where(_is_border(mask), IGNORED, mask) for mask in y])
    return {"train": (x, y), "classes": SHAPES, "kind": "segmentation"}


@register("dataset", "mask_folder")
def mask_folder(
    folder: Path,
    path: str,
    classes: Annotated[Sequence[str], MinLen(2)],
    ignore: Annotated[int, Interval(ge=0, le=255)] | None = 255,
    image_size: Pixels | None = None,
    color: Color = "rgb",
) -> Mapping[str, Any]:
    """Your images and their masks, for segmentation: files of the same names in the folders
    `images` and `masks` of `path`.

    A mask is a PNG of 8 bits a pixel, or one with a palette, whose values are numbers of
    `classes` from 0; pixels of the value `ignore` don't count. With `image_size` images are
    squashed to a square of so many pixels, masks by their nearest pixels; else all must be of one
    size. They are read into memory. It needs `pip install hpsearch[vision]`.
    """
    place = folder / path
    pairs, others = _pairs(place)
    height, width = (image_size,) * 2 if image_size else _size(pairs)
    files = ImageFiles(tuple(str(image) for image, _ in pairs), height, width, color, "squash")
    x = np.stack([files.decode(number) for number in range(len(pairs))]) / np.float32(255)
    y = np.stack([_mask(file, len(classes), ignore, (height, width)) for _, file in pairs])
    _check_classes(y, classes, ignore)
    return {
        "train": (x, y),
        "classes": list(classes),
        "kind": "segmentation",
        "warnings": left_out(others),
        "unit": 255,
        "images": files,
    }


def _check_classes(y: Mask, classes: Sequence[str], ignore: int | None) -> None:
    """Raise DataError for a name that is given twice, and for a class that no pixel has."""
    if len(set(classes)) < len(classes):
        raise DataError("must be different names", list(classes), keyword="classes")
    lacking = sorted(set(range(len(classes))) - set(np.unique(y).tolist()))
    if not lacking:
        return
    rule = "must each be the class of some pixels, but no mask has the number "
    numbers = ", ".join(f"{number} ({classes[number]})" for number in lacking)
    if ignore is not None and (y == IGNORED).any():
        numbers += f"; pixels of {ignore} don't count (ignore)"
    raise DataError(f"{rule}{numbers}", keyword="classes")


def _pairs(place: Path) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Return images and their masks, in the order of their names, and files that are neither."""
    found, others = [], []
    for name in ("images", "masks"):
        if not (place / name).is_dir():
            rule = f"must be a folder with the folders images and masks, but {place} has no {name}"
            raise DataError(rule, keyword="path")
        visible = sorted(e for e in (place / name).iterdir() if not e.name.startswith("."))
        found.append({each.stem: each for each in visible if each.suffix.lower() in SUFFIXES})
        others += [str(each) for each in visible if each.suffix.lower() not in SUFFIXES]
    images, masks = found
    if alone := sorted(images.keys() ^ masks.keys()):
        raise DataError(
            f"must have a mask for each image, but of {place} these names are in one of the "
            f"folders alone: {listed(alone)}",
            keyword="path",
        )
    if not images:
        raise DataError(f"must have images, but {place / 'images'} has none", keyword="path")
    return [(images[stem], masks[stem]) for stem in images], others


def _size(pairs: Sequence[tuple[Path, Path]]) -> tuple[int, int]:
    """Return height and width of all files; DataError where they differ."""
    width, height = size_of(str(pairs[0][0]))
    for file in (each for pair in pairs for each in pair):
        if (size := size_of(str(file))) != (width, height):
            raise DataError(
                f"must be given for files of several sizes: {pairs[0][0]} is {width}x{height}, "
                f"{file} is {size[0]}x{size[1]}",
                keyword="image_size",
            )
    return height, width


def _mask(file: Path, num_classes: int, ignore: int | None, size: tuple[int, int]) -> Mask:
    """Return the classes of an image's pixels (height, width)."""
    with opened(str(file)) as image:
        if image.mode not in ("L", "P", "1"):
            rule = f"masks must have one number a pixel (8 bits, or a palette), but {file} is of "
            raise DataError(f"{rule}Pillow's mode {image.mode}", keyword="path")
        nearest = pillow().Resampling.NEAREST
        values = np.asarray(image.resize(size[::-1], nearest)).astype(np.int64)
    classes = values if ignore is None else np.where(values == ignore, IGNORED, values)
    if classes.max() >= num_classes:
        raise DataError(
            f"must have a name for each value of the masks, but {file} has {classes.max()} "
            "(`ignore` names the value of pixels that don't count)",
            num_classes,
            keyword="classes",
        )
    return classes


def _is_border(mask: Mask) -> NDArray[np.bool_]:
    """Return whether a neighbour of a pixel is of another class."""
    around = np.pad(mask, 1, mode="edge")
    others = (around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:])
    found: NDArray[np.bool_] = np.any([each != mask for each in others], axis=0)
    return found
