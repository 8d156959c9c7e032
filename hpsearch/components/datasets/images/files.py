"""Image files decoded to 8-bit pixels of one size."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hpsearch.components.packages import optional_package
from hpsearch.errors import DataError

Resize = Literal["crop", "squash", "pad"]
Color = Literal["rgb", "grey"]
INSTALL = "pip install hpsearch[vision]"
_MODES: dict[str, tuple[str, int]] = {"rgb": ("RGB", 3), "grey": ("L", 1)}


@dataclass(frozen=True)
class ImageFiles:
    """Files, and how they become images (channels, height, width)."""

    paths: tuple[str, ...]
    height: int
    width: int
    color: Color
    resize: Resize

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of an image."""
        return _MODES[self.color][1], self.height, self.width

    @property
    def key(self) -> str:
        """What stands for the images: other files, or changed ones, have another."""
        digest = hashlib.sha256(repr((self.shape, self.resize)).encode())
        for path in self.paths:
            status = Path(path).stat()
            digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
        return digest.hexdigest()[:32]

    def decode(self, number: int) -> NDArray[np.uint8]:
        """Return an image (channels, height, width); DataError names a file that can't be read."""
        return self.pixels_of(self.paths[number])

    def pixels_of(self, given: Any) -> NDArray[np.uint8]:
        """Return an image (channels, height, width) of a path, of pixels (height, width) or
        (height, width, channels), or of an image of Pillow's."""
        if isinstance(given, str | Path):
            with opened(str(given)) as image:
                image.draft(_MODES[self.color][0], self._enough(image.size))  # decoded smaller
                return self._prepared(image)
        is_image = hasattr(given, "getexif")
        return self._prepared(given.copy() if is_image else pillow().fromarray(np.asarray(given)))

    def _prepared(self, image: Any) -> NDArray[np.uint8]:
        size = self.width, self.height
        pixels = np.asarray(_resized(_upright(image, _MODES[self.color][0]), size, self.resize))
        return pixels.reshape(self.height, self.width, -1).transpose(2, 0, 1)

    def _enough(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the size that an image of this size, upright or not, must keep to be resized."""
        factor = min(1.0, max(self.width, self.height) / min(size))
        return math.ceil(size[0] * factor), math.ceil(size[1] * factor)


def size_of(path: str) -> tuple[int, int]:
    """Return the (width, height) that the head of a file tells."""
    with opened(path) as image:
        size: tuple[int, int] = image.size
        return size[::-1] if image.getexif().get(_ORIENTATION, 1) >= 5 else size


class opened:  # noqa: N801  # used as a function
    """Open an image file; what goes wrong until it is closed is a DataError that names it."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._image: Any = None

    def __enter__(self) -> Any:
        try:
            self._image = pillow().open(self._path)
        except Exception as error:
            raise self._unreadable(error) from error
        return self._image

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        self._image.close()
        if isinstance(error, Exception):  # Pillow's decoders raise many kinds
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> DataError:
        if isinstance(error, DataError):  # Pillow isn't there
            return error
        said = " ".join(str(error).replace(repr(self._path), "").split()) or type(error).__name__
        return DataError(f"every image must be readable, but {self._path}: {said}", keyword="path")


def pillow(module: str = "Image") -> Any:
    """Return a module of Pillow."""
    return optional_package(f"PIL.{module}", "a data set of image files", INSTALL, DataError)


_ORIENTATION = 0x0112  # EXIF's


def _upright(image: Any, mode: str) -> Any:
    """Return an image turned as its camera was held, in a mode of Pillow's."""
    pillow("ImageOps").exif_transpose(image, in_place=True)
    if image.mode.startswith(("I", "F")):  # 16 bits a pixel, or 32
        values = np.asarray(image, np.float64)
        greatest = 1.0 if values.max() <= 1 else 255.0 if values.max() <= 255 else 65535.0
        image = pillow().fromarray((values / greatest * 255).round().astype(np.uint8))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Palette images with Transparency")
        return image.convert(mode)


def _resized(image: Any, size: tuple[int, int], resize: Resize) -> Any:
    if image.size == size:
        return image
    method = pillow().Resampling.BILINEAR
    if resize == "squash":
        return image.resize(size, method)
    change = {"crop": "fit", "pad": "pad"}[resize]
    return getattr(pillow("ImageOps"), change)(image, size, method)


def check_readable(paths: Sequence[str], most: int) -> None:
    """Read the heads of files, evenly spaced ones where there are more than `most`."""
    numbers = np.unique(np.linspace(0, len(paths) - 1, min(most, len(paths))).astype(int))
    for number in numbers:
        size_of(paths[number])
