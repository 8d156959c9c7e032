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
