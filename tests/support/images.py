"""Small image files of classes that a net can tell apart, but not at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def picture(number: int, label: int, size: tuple[int, int] = (12, 10)) -> NDArray[np.uint8]:
    """Noise (height, width, 3), brighter in the colour of its class."""
    width, height = size
    pixels = np.random.default_rng((number, label)).integers(0, 200, (height, width, 3))
    pixels[..., label % 3] += 30
    return pixels.astype(np.uint8)


def write_masks(
    folder: Path, count: int = 10, size: tuple[int, int] = (6, 4), seed: int = 0
) -> Path:
    """Write images (width, height), whose brightness is 10 times the class of 3, and masks with
    a pixel of 255 each; the first has a palette."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        mask = np.random.default_rng((seed, number)).integers(0, 3, size[::-1]).astype(np.uint8)
        pixels = np.stack([10 * mask] * 3, -1)
        mask[0, 0] = 255
        Image.fromarray(pixels).save(folder / "images" / f"{number:02d}.png")
        image = Image.fromarray(mask)
        if number == 0:
            image.putpalette(list(range(256)) * 3)
        image.save(folder / "masks" / f"{number:02d}.png")
    return folder


def write_images(
    folder: Path,
    classes: Sequence[str] = ("cat", "dog", "owl"),
    count: int = 12,
    size: tuple[int, int] = (12, 10),
    suffix: str = "png",
) -> Path:
    """Write so many images (width, height) of each class into a folder of its name."""
    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            image = Image.fromarray(picture(number, label, size))
            image.save(folder / name / f"{number:03d}.{suffix}")
    return folder
