"""Images with masks: generated, and files of a user's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hpsearch.components import Arrays, Data, load_data
from hpsearch.errors import DataError
from tests.support.images import write_masks


def load(folder: Path, **section: Any) -> Data:
    section = {"name": "mask_folder", "path": ".", "classes": ["a", "b", "c"], **section}
    return load_data({"standardize": False, **section}, seed=0, folder=folder)


def arrays(split: Any) -> Arrays:
    assert isinstance(split, Arrays)
    return split


def test_each_image_has_its_mask(tmp_path: Path) -> None:
    write_masks(tmp_path)
    data = load(tmp_path)
    assert data.input_shape == (3, 4, 6) and data.output_shape == (3, 4, 6)
    for split in map(arrays, (data.train, data.val, data.test)):
        counts = split.y != -100
        assert counts.sum() == len(split) * 23 and not counts[:, 0, 0].any()
        assert np.array_equal(np.rint(255 * split.x[:, 0] / 10)[counts], split.y[counts])


def test_images_are_resized_with_their_masks(tmp_path: Path) -> None:
    write_masks(tmp_path)
    data = load(tmp_path, image_size=8, color="grey")
    assert data.input_shape == (1, 8, 8)
    assert set(np.unique(arrays(data.train).y)) == {-100, 0, 1, 2}


def test_files_that_are_no_images_are_named(tmp_path: Path) -> None:
    write_masks(tmp_path)
    (tmp_path / "images" / ".DS_Store").write_text("")
    assert load(tmp_path).warnings == ()
    (tmp_path / "images" / "one.svg").write_text("")
    (tmp_path / "masks" / "notes.txt").write_text("")
    [warning] = load(tmp_path).warnings
    assert warning.startswith("2 files are no image, and left out: ")
    assert "one.svg" in warning and "notes.txt" in warning


class TestRefused:
    @pytest.mark.parametrize(
        ("section", "message"),
        [
            (
                {"classes": ["a", "b"]},
                "classes: must have a name for each value of the masks, but",
            ),
            ({"ignore": None}, "classes: must have a name for each value .* has 255"),
            (
                {"classes": ["a", "b", "c", "d"]},
                r"must each be the class of some pixels, .* has the number 3 \(d\); pixels of 255",
            ),
            ({"classes": ["a", "b", "b"]}, "classes: must be different names"),
            ({"path": "none"}, "path: must be a folder with the folders images and masks"),
        ],
    )
    def test_sections(self, tmp_path: Path, section: dict[str, Any], message: str) -> None:
        write_masks(tmp_path)
        with pytest.raises(DataError, match=message):
            load(tmp_path, **section)

    def test_an_image_without_a_mask(self, tmp_path: Path) -> None:
        write_masks(tmp_path)
        (tmp_path / "masks" / "03.png").unlink()
        with pytest.raises(DataError, match="path: must have a mask for each image, .* alone: 03"):
            load(tmp_path)

    def test_several_sizes(self, tmp_path: Path) -> None:
        write_masks(tmp_path)
        Image.new("L", (5, 4)).save(tmp_path / "masks" / "03.png")
        with pytest.raises(
            DataError, match="image_size: must be given for files of several sizes"
        ):
            load(tmp_path)

    def test_a_mask_of_colours(self, tmp_path: Path) -> None:
        write_masks(tmp_path)
        Image.new("RGB", (6, 4)).save(tmp_path / "masks" / "03.png")
        with pytest.raises(DataError, match="path: masks must have one number a pixel"):
            load(tmp_path)


class TestGenerated:
    def test_shapes_are_brighter_than_what_is_behind(self) -> None:
        data = load_data(
            {"name": "blobs_segmentation", "noise": 0.0, "standardize": False}, seed=0
        )
        train = arrays(data.train)
        assert (train.x[:, 0][train.y == 0] == 0).all() and (train.x[:, 0][train.y > 0] > 0).all()
        assert set(np.unique(train.y)) == {0, 1, 2}

    def test_borders_are_left_out(self) -> None:
        section = {"name": "blobs_segmentation", "images": 20, "size": 16}
        whole = arrays(load_data(section, seed=0).train).y
        left = arrays(load_data({**section, "ignore_borders": True}, seed=0).train).y
        for mask, other in zip(whole, left, strict=True):
            for row, column in np.argwhere(other == -100):
                rows, columns = (slice(max(i - 1, 0), i + 2) for i in (row, column))
                assert len(np.unique(mask[rows, columns])) > 1
            assert (other[other != -100] == mask[other != -100]).all()
        assert (left == -100).any()
