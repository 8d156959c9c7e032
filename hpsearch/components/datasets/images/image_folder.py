"""The data set `image_folder`: a folder a class, images decoded when they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Interval, Len
from numpy.typing import NDArray
from torch import Tensor

from hpsearch.components.datasets.images.files import (
    Color,
    ImageFiles,
    Resize,
    check_readable,
    size_of,
)
from hpsearch.components.datasets.images.folders import Found, find_images, left_out
from hpsearch.components.datasets.images.shared_pixels import SharedPixels, open_pixels
from hpsearch.components.examples import LazyRows, Scale
from hpsearch.components.tasks.kinds import listed
from hpsearch.errors import DataError
from hpsearch.registry import register

Pixels = Annotated[int, Interval(ge=1, le=4096)]
#: files whose heads are read before a search starts
CHECKED_FILES = 2_000


class ImageStore:
    """Image files, and what is decoded of them; that stays where it is when a store is sent."""

    def __init__(self, files: ImageFiles, *, shares: bool) -> None:
        self.files = files
        self._shares = shares
        self._pixels: SharedPixels | None = None

    def read(self, numbers: Sequence[int]) -> Tensor:
        """Return images (len(numbers), channels, height, width), uint8."""
        if self._pixels is not None:
            return self._pixels.read(numbers, self.files.decode)
        return torch.from_numpy(np.stack([self.files.decode(number) for number in numbers]))

    @property
    def num_decoded(self) -> int:
        """How many images the shared memory holds."""
        return 0 if self._pixels is None else self._pixels.num_decoded

    def share(self) -> None:
        """Keep what is decoded in memory that the processes of this node share, if it fits."""
        if self._shares and self._pixels is None:
            self._pixels = open_pixels(self.files.key, len(self.files.paths), self.files.shape)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_pixels": None}


@dataclass(frozen=True, eq=False)
class ImageRows(LazyRows):
    """Images of a store by number, with their classes; inputs are scaled pixels from 0 to 1."""

    store: ImageStore
    numbers: NDArray[np.int64]
    y: NDArray[np.int64]
    scale: Scale

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of an image."""
        return self.store.files.shape

    def rows(self, index: NDArray[np.int64]) -> ImageRows:
        """Return the images at these rows."""
        return replace(self, numbers=self.numbers[index], y=self.y[index])

    def joined(self, others: LazyRows) -> ImageRows:
        """Return these images and others of the same store."""
        assert isinstance(others, ImageRows)
        numbers = np.concatenate([self.numbers, others.numbers])
        return replace(self, numbers=numbers, y=np.concatenate([self.y, others.y]))

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.as_inputs(self.read([index]))[0], int(self.y[index])

    def read(self, index: Sequence[int]) -> Tensor:
        """Return images (rows, channels, height, width), uint8."""
        return self.store.read(self.numbers[np.asarray(index, np.int64)].tolist())

    def as_inputs(self, kept: Tensor) -> Tensor:
        """Return pixels as scaled numbers."""
        mean, std = (
            torch.as_tensor(255 * part).to(kept.device)
            for part in (self.scale.mean, self.scale.std)
        )
        return (kept.float() - mean) / std

    def scaled(self, scale: Scale) -> ImageRows:
        """Return the images with their inputs mapped once more."""
        return replace(self, scale=scale.after(self.scale))

    def share(self) -> None:
        """Keep decoded images in memory that the processes of this node share, if they fit."""
        self.store.share()


@register("dataset", "image_folder")
def image_folder(
    folder: Path,
    path: str,
    image_size: Pixels | Annotated[Sequence[Pixels], Len(2, 2)] | None = None,
    resize: Resize = "crop",
    color: Color = "rgb",
    cache: Literal["shared_memory", "none"] = "shared_memory",
) -> dict[str, Any]:
    """Your images as JPEG or PNG, in a folder for each class.

    With the folders `train`, `val` and `test` in `path` these are the splits, and each has the
    folders of the classes; a missing one is split off `train`. Images are decoded when they
    are read, and resized to `image_size`, a number or [height, width]: by `crop` the short side
    fits and the long one is cut on both sides, by `pad` the long side fits and black is added, by
    `squash` both fit. Without it all must be of one size. Decoded images are kept in memory that
    the trials of a node share, if they fit into half of what is free; otherwise, and with `cache:
    none`, they are decoded each epoch. It needs `pip install hpsearch[vision]`.
    """
    found = find_images(folder / path)
    paths = [name for files in found.files.values() for name, _ in files]
    height, width = _size(paths, image_size)
    files = ImageFiles(tuple(paths), height, width, color, resize)
    store = ImageStore(files, shares=cache != "none")
    splits, first = {}, 0
    for split, members in found.files.items():
        numbers = np.arange(first, first + len(members))
        y = np.array([number for _, number in members], np.int64)
        splits[split] = ImageRows(store, numbers, y, Scale.identity())
        first += len(members)
    return {
        **splits,
        "classes": found.classes,
        "kind": "classification",
        "targets": ["class"],
        "warnings": _warnings(found),
        "unit": 255,
        "images": replace(files, paths=()),
    }


def _size(paths: Sequence[str], given: int | Sequence[int] | None) -> tuple[int, int]:
    """Return height and width of all images; DataError where they differ, and none is given."""
    if given is not None:
        check_readable(paths, CHECKED_FILES)
        return (given, given) if isinstance(given, int) else (given[0], given[1])
    width, height = size_of(paths[0])
    for path in paths[1:]:
        if (size := size_of(path)) != (width, height):
            raise DataError(
                f"must be given for images of several sizes: {paths[0]} is {width}x{height}, "
                f"{path} is {size[0]}x{size[1]}",
                keyword="image_size",
            )
    return height, width


def _warnings(found: Found) -> list[str]:
    told = left_out(found.others)
    for split, files in found.files.items():
        there = {number for _, number in files}
        lacking = [name for i, name in enumerate(found.classes) if i not in there]
        if lacking:
            told.append(f"{split} has no image of {listed(lacking)}")
    return told
