"""An exported model takes what users have, and gives labels and probabilities by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from hpsearch.components.datasets import bundled
from hpsearch.components.predictors import Predictor
from hpsearch.errors import DataError
from hpsearch.tuning.on_ray.final import _example
from tests.support.datasets import load
from tests.support.exported import customers, trained
from tests.support.images import picture, write_images


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


@pytest.fixture(scope="module")
def table(folder: Path) -> pd.DataFrame:
    return customers(folder)


@pytest.fixture(scope="module")
def model(folder: Path, table: pd.DataFrame) -> Predictor:
    data = load("csv", folder, path="t.csv", target="bought", missing="median")
    return trained(data, epochs=30)


class TestTables:
    def test_the_file_s_rows(self, model: Predictor, table: pd.DataFrame) -> None:
        got = model.predict_table(table)
        assert list(got) == ["prediction", "probability_no", "probability_yes"]
        assert (got["prediction"] == table["bought"]).mean() > 0.9
        assert np.allclose(got[["probability_no", "probability_yes"]].sum(axis=1), 1, atol=1e-6)

    def test_one_row_as_texts_with_columns_in_another_order(
        self, model: Predictor, table: pd.DataFrame, folder: Path
    ) -> None:
        texts = pd.read_csv(folder / "t.csv", dtype=str)[list(table.columns)[::-1]]
        expected = model.predict_table(table)
        for row in (0, 3, 50):
            one = model.predict_table(texts.iloc[[row]])
            assert list(one.index) == [row]
            assert np.allclose(one["probability_yes"], expected["probability_yes"][[row]])

    def test_what_can_t_be_read_is_named(self, model: Predictor, table: pd.DataFrame) -> None:
        with pytest.raises(DataError, match="lacks age; did you mean 'aged'"):
            model.predict_table(table.rename(columns={"age": "aged"}))
        with pytest.raises(DataError, match="'age' must be a number as in training.*'old'"):
            model.predict_table(table.assign(age="old"))
        with pytest.warns(UserWarning, match="'color' has pink.*none of blue, green, red"):
            unknown = model.predict_table(table.assign(color="pink"))
        lacking = model.predict_table(table.assign(color=None))
        assert np.allclose(unknown["probability_yes"], lacking["probability_yes"])

    def test_cells_must_have_values_where_nothing_fills_them(
        self, folder: Path, table: pd.DataFrame
    ) -> None:
        model = trained(load("csv", folder, path="t.csv", target="bought", missing="drop"))
        with pytest.raises(DataError, match="'income' must have a value, but 2 have none"):
            model.predict_table(table)

    def test_a_regression_has_the_target_s_units(
        self, tmp_path: Path, table: pd.DataFrame
    ) -> None:
        table = table.assign(age=1000.5 * table["age"])
        table.to_csv(tmp_path / "r.csv", index=False)
        data = load("csv", tmp_path, path="r.csv", target="age", drop=["since"], missing="mean")
        got = trained(data).predict_table(table)
        assert list(got) == ["prediction"] and got["prediction"].median() > 10_000


class TestArrays:
    def test_digits_as_scikit_learn_has_them(self) -> None:
        images, digits = bundled.read_digits()
        model = trained(load("digits"), epochs=3)
        for raw in (images, images[:, None], torch.from_numpy(images.astype(np.uint8))):
            got = model.predict_table(raw)
            assert (got["prediction"].to_numpy() == digits).mean() > 0.9
        with pytest.raises(DataError, match=r"shape \(rows, 1, 8, 8\), but have \(3, 1, 7, 8\)"):
            model.predict_table(np.zeros((3, 7, 8)))

    def test_features_by_name(self) -> None:
        wine = bundled.read_wine()
        table = pd.DataFrame(wine.x, columns=list(wine.feature_names))
        model = trained(load("wine"), epochs=5)
        got = model.predict_table(table[list(table)[::-1]])
        assert got.equals(model.predict_table(wine.x))
        assert set(got["prediction"]) <= set(wine.class_names)
        with pytest.raises(DataError, match="lacks hue"):
            model.predict_table(table.drop(columns="hue"))

    def test_image_files_of_any_size(self, tmp_path: Path) -> None:
        write_images(tmp_path / "images", count=20)
        data = load("image_folder", tmp_path, path="images")
        model = trained(data, model={"name": "cnn", "channels": [4]}, epochs=2)
        files = sorted((tmp_path / "images").rglob("*.png"))
        expected = model.predict_table(files)
        assert (expected["prediction"] == [file.parent.name for file in files]).mean() > 0.6
        pixels = np.stack([np.asarray(Image.open(file)) for file in files])
        for raw in (pixels, np.moveaxis(pixels, -1, 1), [Image.open(file) for file in files]):
            assert np.allclose(model.predict_table(raw).iloc[:, 1:], expected.iloc[:, 1:])
        large = model.predict_table([picture(0, 1, (48, 40)), picture(0, 1, (12, 10))])
        assert len(large) == 2
        assert _example(data).dtype == np.uint8
