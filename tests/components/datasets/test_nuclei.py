"""Nuclei of cells in a microscope's image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hpsearch.components import Arrays, Data, load_data
from hpsearch.components.datasets import nuclei
from hpsearch.errors import DataError


def arrays(split: Any) -> Arrays:
    assert isinstance(split, Arrays)
    return split


def load(**section: Any) -> Data:
    return load_data({"name": "nuclei", "standardize": False, **section}, seed=0)


def test_tiles_cover_the_image_once() -> None:
    data = load()
    splits = [arrays(each) for each in (data.train, data.val, data.test)]
    assert data.input_shape == (1, 64, 64) and data.class_names == ("background", "nucleus")
    assert sum(map(len, splits)) == 64
    with Image.open(str(nuclei._file("img2d"))) as image:
        pixels = np.asarray(image)
    tiles = np.concatenate([np.rint(255 * split.x) for split in splits])
    assert np.array_equal(np.sort(tiles, axis=None), np.sort(pixels, axis=None))
    assert len(np.unique(tiles.reshape(64, -1), axis=0)) == 64


def test_masks_lie_on_the_bright_pixels() -> None:
    train = arrays(load().train)
    assert train.x[:, 0][train.y == 1].mean() > 2 * train.x[:, 0][train.y == 0].mean()


def test_what_is_left_at_the_ends_is_left_out() -> None:
    data = load(size=100)
    assert sum(len(arrays(each)) for each in (data.train, data.val, data.test)) == 25


def test_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(module: str, path: str) -> Path | None:
        return None

    monkeypatch.setattr(nuclei, "installed_path", without)
    with pytest.raises(DataError, match="nuclei needs the package stardist: `pip install"):
        load()
