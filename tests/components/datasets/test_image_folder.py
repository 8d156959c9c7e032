"""Images by folder: what is found, how it is split and decoded, and what is refused."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import socket
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hpsearch.components import Data
from hpsearch.components.datasets.describing import describe_data
from hpsearch.components.datasets.images import shared_pixels
from hpsearch.components.datasets.images.image_folder import ImageRows
from hpsearch.errors import DataError
from tests.support.datasets import load
from tests.support.images import picture, write_images


def rows(split: Any) -> ImageRows:
    assert isinstance(split, ImageRows)
    return split


def images(folder: Path, **keywords: Any) -> Data:
    return load("image_folder", folder, **{"path": ".", **keywords})


class TestSplits:
    def test_fractions_of_one_folder(self, tmp_path: Path) -> None:
        data = images(write_images(tmp_path), val_fraction=0.25, test_fraction=0.2)
        assert [len(rows(part)) for part in (data.train, data.val, data.test)] == [22, 7, 7]
        assert data.class_names == ("cat", "dog", "owl") and data.output_size == 3
        assert data.kind == "classification" and data.input_shape == (3, 10, 12)
        assert min(data.class_counts) >= 6  # each class in proportion
        together = np.concatenate(
            [rows(part).numbers for part in (data.train, data.val, data.test)]
        )
        assert sorted(together) == list(range(36))

    def test_folders(self, tmp_path: Path) -> None:
        for split, count in (("train", 4), ("valid", 2), ("test", 1)):
            write_images(tmp_path / split, count=count)
        data = images(tmp_path)
        assert [len(rows(part)) for part in (data.train, data.val, data.test)] == [12, 6, 3]
        with pytest.raises(DataError, match="val_fraction: must not be given.*a val split"):
            images(tmp_path, val_fraction=0.2)

    def test_what_folders_lack_is_divided_off(self, tmp_path: Path) -> None:
        write_images(tmp_path / "train", count=10)
        write_images(tmp_path / "test", count=2)
        data = images(tmp_path, val_fraction=0.1)
        assert [len(rows(part)) for part in (data.train, data.val, data.test)] == [27, 3, 6]

    def test_folds_and_drawn_rows(self, tmp_path: Path) -> None:
        data = images(write_images(tmp_path), folds=3, test_fraction=0.25)
        fold = data.fold(1)
        assert [len(rows(part)) for part in (fold.train, fold.val)] == [18, 9]
        assert len(rows(images(tmp_path, train_rows=5).train)) == 5

    def test_a_refit_has_the_validation_rows(self, tmp_path: Path) -> None:
        data = images(write_images(tmp_path))
        merged = data.merged()
        assert len(rows(merged.train)) == len(rows(data.train)) + len(rows(data.val))
        raw = rows(data.train).sample(1)[0] * data.x_scale.std + data.x_scale.mean
        again = rows(merged.train).sample(1)[0] * merged.x_scale.std + merged.x_scale.mean
        assert np.allclose(raw, again, atol=1e-5)


class TestPixels:
    def test_are_those_of_the_file(self, tmp_path: Path) -> None:
        data = images(write_images(tmp_path), standardize=False)
        train = rows(data.train)
        for row in range(4):
            number, label = train.numbers[row], int(train.y[row])
            expected = picture(int(number) % 12, label).transpose(2, 0, 1)
            x, y = train[row]
            assert y == label and np.array_equal(train.read([row])[0].numpy(), expected)
            assert np.allclose(x, expected / 255)

    def test_are_standardized_by_channel(self, tmp_path: Path) -> None:
        data = images(write_images(tmp_path))
        x = rows(data.train).sample(1000)
        assert np.allclose(x.mean((0, 2, 3)), 0, atol=1e-4)
        assert np.allclose(x.std((0, 2, 3)), 1, atol=1e-4)

    @pytest.mark.parametrize(
        ("resize", "expected"),
        [("crop", [9, 9, 9, 9]), ("squash", [0, 9, 9, 5]), ("pad", [0, 0, 0, 0])],
    )
    def test_resize(self, tmp_path: Path, resize: str, expected: list[int]) -> None:
        """A wide picture: black on the left and grey on the right of a white square."""
        pixels = np.zeros((40, 120), np.uint8)
        pixels[:, 40:80], pixels[:, 80:] = 250, 140
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            for number in range(5):
                Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
        data = images(tmp_path, image_size=8, resize=resize, color="grey", standardize=False)
        image = rows(data.train).read([0])[0, 0]
        assert image.shape == (8, 8)
        assert [int(value) // 27 for value in image[0, [1, 3, 4, 6]]] == expected

    def test_height_and_width(self, tmp_path: Path) -> None:
        assert images(write_images(tmp_path), image_size=[6, 8]).input_shape == (3, 6, 8)

    @pytest.mark.parametrize("mode", ["L", "P", "RGBA", "I;16", "CMYK", "1"])
    def test_other_modes_of_pixels(self, tmp_path: Path, mode: str) -> None:
        grey = (np.arange(64).reshape(8, 8) * 4).astype(np.uint8)
        image = Image.fromarray(grey.astype(np.uint16) * 257 if mode == "I;16" else grey)
        image = image if mode == "I;16" else image.convert(mode)
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            for number in range(5):
                image.save(tmp_path / name / f"{number}.{'jpg' if mode == 'CMYK' else 'png'}")
        found = rows(images(tmp_path, standardize=False).train).read([0])[0]
        tolerance = {"1": 255, "CMYK": 12}.get(mode, 1)
        assert np.abs(found.numpy().astype(int) - grey.astype(int)).max() <= tolerance

    def test_photos_are_turned_upright(self, tmp_path: Path) -> None:
        """A camera that was held upright says so beside the pixels."""
        exif = Image.Exif()
        exif[0x0112] = 6
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            for number in range(5):
                image = Image.fromarray(picture(number, 0, (16, 8)))
                image.save(tmp_path / name / f"{number}.jpg", exif=exif)
        assert images(tmp_path).input_shape == (3, 16, 8)

    def test_large_photos_are_as_if_decoded_whole(self, tmp_path: Path) -> None:
        smooth = np.linspace(0, 255, 640)[None, :, None] * np.ones((480, 1, 3))
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            for number in range(5):
                Image.fromarray(smooth.astype(np.uint8)).save(tmp_path / name / f"{number}.jpg")
        small = rows(images(tmp_path, image_size=32, standardize=False).train).read([0])[0, 0]
        expected = np.linspace(80 / 640 * 255, 560 / 640 * 255, 65)[1::2]
        assert np.abs(small[16].numpy() - expected).max() < 4


class TestErrors:
    def check(self, folder: Path, match: str, **keywords: Any) -> None:
        with pytest.raises(DataError, match=match):
            images(folder, **keywords)

    def test_no_folder(self, tmp_path: Path) -> None:
        self.check(tmp_path, "path: must be a folder.*nowhere", path="nowhere")

    def test_a_class_without_images(self, tmp_path: Path) -> None:
        (write_images(tmp_path) / "elk").mkdir()
        (tmp_path / "elk" / "notes.txt").write_text("none yet")
        self.check(tmp_path, "every class must have images .*but elk of .* has none")

    def test_one_class(self, tmp_path: Path) -> None:
        self.check(write_images(tmp_path, ("cat",)), "each of two classes or more, but .* has cat")

    def test_another_class_in_validation(self, tmp_path: Path) -> None:
        write_images(tmp_path / "train")
        write_images(tmp_path / "val", ("cat", "dgo"))
        self.check(tmp_path, "val must be classes of train .*'dgo'; did you mean 'dog'")

    def test_several_sizes(self, tmp_path: Path) -> None:
        write_images(tmp_path)
        Image.fromarray(picture(0, 0, (20, 10))).save(tmp_path / "dog" / "wide.png")
        self.check(tmp_path, "image_size: must be given.*000.png is 12x10.*wide.png is 20x10")
        assert images(tmp_path, image_size=8).input_shape == (3, 8, 8)

    def test_no_image(self, tmp_path: Path) -> None:
        write_images(tmp_path)
        (tmp_path / "dog" / "broken.jpg").write_bytes(b"GIF? no")
        for keywords in ({}, {"image_size": 8}):
            self.check(tmp_path, "every image must be readable, but .*broken.jpg", **keywords)

    def test_a_truncated_file_is_named_when_it_is_decoded(self, tmp_path: Path) -> None:
        write_images(tmp_path, suffix="jpg", size=(64, 64))
        broken = tmp_path / "owl" / "003.jpg"
        broken.write_bytes(broken.read_bytes()[:900])
        with pytest.raises(DataError, match=r"owl/003.jpg: .*truncated"):
            data = images(tmp_path)
            for part in (data.train, data.val, data.test):
                rows(part).read(list(range(len(rows(part)))))

    def test_another_kind(self, tmp_path: Path) -> None:
        self.check(write_images(tmp_path), "kind: must be classification", kind="regression")

    def test_without_pillow(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_images(tmp_path)
        monkeypatch.setitem(__import__("sys").modules, "PIL.Image", None)
        self.check(tmp_path, r"needs the package PIL.*`pip install hpsearch\[vision\]`")

    def test_other_files_are_left_out_and_told(self, tmp_path: Path) -> None:
        write_images(tmp_path)
        (tmp_path / "cat" / "Thumbs.db").write_bytes(b"")
        (tmp_path / "cat" / ".DS_Store").write_bytes(b"")
        data = images(tmp_path)
        assert len(data.warnings) == 1 and "a file is no image, and left out" in data.warnings[0]
        assert "Thumbs.db" in data.warnings[0]


def test_is_described_without_decoding(tmp_path: Path) -> None:
    section = {"name": "image_folder", "path": str(write_images(tmp_path))}
    found = describe_data(section, seed=0)
    assert found.problem is None and "classification" in found.learned
    assert "36 examples of 3 x 10 x 12 numbers" in found.columns[0].why


needs_memory = pytest.mark.skipif(
    not hasattr(__import__("os"), "memfd_create"), reason="only Linux has memory of this kind"
)


@needs_memory
class TestSharedMemory:
    def test_a_decoded_image_is_not_read_again(self, tmp_path: Path) -> None:
        train = rows(images(write_images(tmp_path)).train)
        train.share()
        first = train.read([0, 1, 0])
        for file in tmp_path.rglob("*.png"):
            file.unlink()
        assert torch.equal(train.read([0, 1, 0]), first)
        with pytest.raises(DataError):
            train.read([2])

    def test_another_process_has_the_same(self, tmp_path: Path) -> None:
        train = rows(images(write_images(tmp_path)).train)
        train.share()
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            assert pool.apply(_decode, (pickle.dumps(train), [3, 4])) == 2
        assert train.store.num_decoded == 2
        for file in tmp_path.rglob("*.png"):
            file.unlink()
        train.read([3, 4])

    def test_changed_files_are_other_images(self, tmp_path: Path) -> None:
        train = rows(images(write_images(tmp_path)).train)
        train.share()
        train.read([0])
        write_images(tmp_path)
        again = rows(images(tmp_path).train)
        again.share()
        assert (train.store.num_decoded, again.store.num_decoded) == (1, 0)

    def test_what_does_not_fit_is_decoded_each_time(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(shared_pixels, "available_bytes", lambda: 36 * 3 * 10 * 12)
        train = rows(images(write_images(tmp_path)).train)
        train.share()
        train.read([0])
        assert train.store.num_decoded == 0

    def test_by_request_too(self, tmp_path: Path) -> None:
        train = rows(images(write_images(tmp_path), cache="none").train)
        train.share()
        train.read([0])
        assert train.store.num_decoded == 0

    def test_is_let_go_of(self, tmp_path: Path) -> None:
        train = rows(images(write_images(tmp_path)).train)
        train.share()
        train.read([0])
        key = train.store.files.key
        del train
        gc.collect()
        again = shared_pixels.open_pixels(key, 36, (3, 10, 12))
        assert again is not None and again.num_decoded == 0

    def test_one_that_lets_go_of_it_is_waited_for(self) -> None:
        leaving = socket.socket(socket.AF_UNIX)
        leaving.bind(f"\0hpsearch-images-{os.getuid()}-leaving")  # and hands out nothing
        threading.Timer(0.2, leaving.close).start()
        assert shared_pixels.open_pixels("leaving", 1, (3, 1, 1)) is not None

    def test_a_forked_process_that_lets_go_leaves_it_to_others(self, tmp_path: Path) -> None:
        train = rows(images(write_images(tmp_path)).train)
        train.share()
        train.read([0])
        if (child := os.fork()) == 0:  # as a worker of a DataLoader is
            try:
                del train
                gc.collect()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            assert pool.apply(_decode, (pickle.dumps(train), [3])) == 2

    def test_free_memory_is_known(self) -> None:
        assert 2**20 < shared_pixels.available_bytes() < 2**50


def _decode(pickled: bytes, index: list[int]) -> int:
    train = pickle.loads(pickled)
    train.share()
    train.read(index)
    found: int = train.store.num_decoded
    return found
