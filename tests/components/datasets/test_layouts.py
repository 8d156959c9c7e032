"""The axes of a factory's images are read, stated, and can be set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from hpsearch.components import load_data
from hpsearch.errors import DataError
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer, export_model
from hpsearch.tuning.on_ray.final import _example

ROWS = 30


def images(shape: list[int]) -> Any:
    rng = np.random.default_rng(0)
    return rng.normal(size=(ROWS, *shape)).astype(np.float32), np.arange(ROWS) % 2


def load(shape: list[int], **keywords: Any) -> Any:
    return load_data({"name": f"{__name__}:images", "shape": shape, **keywords}, seed=0)


@pytest.mark.parametrize(
    ("shape", "keywords", "expected", "stated"),
    [
        ([8, 9, 3], {}, (3, 8, 9), "images of 3 channels, 8 x 9 (channels_last, by their shape"),
        ([8, 9, 1], {}, (1, 8, 9), "images of 1 channel, 8 x 9 (channels_last, by their shape"),
        ([3, 8, 9], {}, (3, 8, 9), "images of 3 channels, 8 x 9 (channels_first, by their shape"),
        ([8, 9, 2], {}, (8, 9, 2), "images of 8 channels, 9 x 2 (channels_first, by their shape"),
        (
            [8, 9, 2],
            {"layout": "channels_last"},
            (2, 8, 9),
            "images of 2 channels, 8 x 9 (channels_last, as `layout` says)",
        ),
        (
            [8, 9, 3],
            {"layout": "channels_first"},
            (8, 9, 3),
            "images of 8 channels, 9 x 3 (channels_first, as `layout` says)",
        ),
    ],
)
def test_is_read_and_stated(
    shape: list[int], keywords: dict[str, Any], expected: tuple[int, ...], stated: str
) -> None:
    data = load(shape, **keywords)
    assert data.input_shape == data.train.x.shape[1:] == data.test.x.shape[1:] == expected
    assert stated in data.description


def test_tables_have_none() -> None:
    assert "images" not in load([4]).description
    with pytest.raises(DataError, match="^layout: must be given for arrays"):
        load([4], layout="channels_last")


def test_arrays_of_a_file_are_read_too(tmp_path: Path) -> None:
    x, y = images([8, 9, 3])
    np.savez(tmp_path / "images.npz", x=x, y=y)
    data = load_data({"name": "npz", "path": "images.npz"}, seed=0, folder=tmp_path)
    assert data.input_shape == (3, 8, 9)


class Examples(Dataset[Any]):
    def __init__(self, shape: list[int]) -> None:
        self._shape = shape

    def __len__(self) -> int:
        return ROWS

    def __getitem__(self, row: int) -> Any:
        return torch.zeros(self._shape), row % 2


def datasets(shape: list[int]) -> Any:
    return {"train": Examples(shape), "val": Examples(shape)}


@pytest.mark.parametrize(("shape", "warns"), [([8, 9, 3], True), ([3, 8, 9], False)])
def test_datasets_are_warned_of(shape: list[int], warns: bool) -> None:
    data = load_data({"name": f"{__name__}:datasets", "shape": shape}, seed=0)
    assert data.input_shape == tuple(shape)
    assert any("taken for images of 8 channels" in each for each in data.warnings) is warns


@pytest.mark.parametrize("folds", [None, 3])
def test_the_exported_model_takes_the_images_as_they_came(folds: int | None) -> None:
    data = load([8, 9, 3], **({"folds": folds} if folds else {}))
    raw, _ = images([8, 9, 3])
    example = _example(data)
    assert example.shape == (5, 8, 9, 3)
    assert all(np.isclose(raw, each).all((1, 2, 3)).any() for each in example)
    values = {
        "model": {"name": "cnn", "channels": [2]},
        "optimizer": {"name": "sgd", "lr": 0.1},
        "batch_size": 8,
    }
    one = data.fold(0) if folds else data
    trainer = Trainer(TrialConfig(0, 0, 1, values), one)
    exported = export_model(trainer)(torch.from_numpy(raw))
    with torch.no_grad():
        inputs = torch.from_numpy(one.x_scale.apply(np.moveaxis(raw, -1, 1)))
        assert torch.allclose(exported, trainer.model.eval()(inputs), atol=1e-5)
