"""Cells without a value: refused, their rows dropped, or filled from the training rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hpsearch.components import Data
from hpsearch.errors import DataError, UserCodeError
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer, export_model
from tests.support.datasets import arrays, load, user_factory

#: the training rows are the first ones: 1, 2, 2, -, 9; the others are larger
ROWS = [1, 2, 2, None, 9, *[100] * 3, None, 100, 100]


def write(folder: Path, rows: Any = ROWS) -> None:
    cells = ["" if each is None else str(each) for each in rows]
    lines = [f"{cell},{i},{'no' if i % 2 else 'yes'}" for i, cell in enumerate(cells)]
    (folder / "t.csv").write_text("\n".join(["a,t,y", *lines]))


def read(folder: Path, missing: str, **keywords: Any) -> Data:
    given = {"target": "y", "time": "t", "test_fraction": 0.27, "val_fraction": 0.375, **keywords}
    return load("csv", folder, path="t.csv", missing=missing, standardize=False, **given)


class TestFilled:
    @pytest.mark.parametrize(
        ("missing", "value"), [("mean", 3.5), ("median", 2), ("most_frequent", 2), ("zero", 0)]
    )
    def test_by_a_statistic_of_the_training_rows(
        self, tmp_path: Path, missing: str, value: float
    ) -> None:
        write(tmp_path)
        data = read(tmp_path, missing)
        assert arrays(data.train).x[:, 0].tolist() == [1, 2, 2, value, 9]
        assert arrays(data.val).x[:, 0].tolist() == [100, 100, 100]
        assert arrays(data.test).x[:, 0].tolist() == [value, 100, 100]

    def test_folds_by_their_own(self, tmp_path: Path) -> None:
        write(tmp_path)
        keywords = {"folds": 2, "test_fraction": 0.0, "val_fraction": 0.2}
        del keywords["val_fraction"]
        data = load("csv", tmp_path, path="t.csv", target="y", time="t", missing="mean",
                    standardize=False, **keywords)  # fmt: skip
        for number, (train, _) in enumerate(data.folds):
            known = [ROWS[row] for row in train if ROWS[row] is not None]
            filled = arrays(data.fold(number).train).x[3, 0]
            assert filled == pytest.approx(np.mean(known))

    def test_a_category_that_is_missing_is_none(self, tmp_path: Path) -> None:
        rows = [f"{text},{i},{i % 2}" for i, text in enumerate(["red", "blue", "", "red"] * 5)]
        (tmp_path / "t.csv").write_text("\n".join(["c,a,y", *rows]))
        data = load("csv", tmp_path, path="t.csv", target="y", missing="median", standardize=False)
        assert data.feature_names == ("a", "c_blue", "c_red")
        splits = (arrays(split) for split in (data.train, data.val, data.test))
        colors = np.concatenate([split.x[:, 1:] for split in splits])
        assert np.unique(colors.sum(1), return_counts=True)[1].tolist() == [5, 15]

    def test_standardised_after_that(self, tmp_path: Path) -> None:
        write(tmp_path)
        data = load("csv", tmp_path, path="t.csv", target="y", time="t", missing="mean")
        x = arrays(data.train).x
        assert np.isfinite(x).all() and abs(x.mean()) < 1e-6

    def test_an_exported_model_fills_as_well(self, tmp_path: Path) -> None:
        write(tmp_path)
        data = load("csv", tmp_path, path="t.csv", target="y", time="t", missing="median")
        values = {"model": {"name": "mlp"}, "optimizer": {"name": "sgd"}, "batch_size": 4}
        model = export_model(Trainer(TrialConfig(0, 0, 1, values), data))
        fill = float(data.x_fill[0])
        lacking, filled = (model(torch.tensor([[each]])) for each in (float("nan"), fill))
        assert torch.equal(lacking, filled) and filled.isfinite().all()

    def test_arrays_of_a_factory(self, tmp_path: Path) -> None:
        x = "x = np.arange(40.0).reshape(20, 2); x[3, 1] = np.nan; y = np.arange(20) % 2"
        body = f"{x}; return dict(train=(x, y), missing='zero')"
        data = load(user_factory(tmp_path, body), tmp_path, standardize=False)
        splits = [arrays(split).x for split in (data.train, data.val, data.test)]
        assert (np.concatenate(splits)[:, 1] == 0).sum() == 1
        wrong = user_factory(tmp_path, f"{x}; return dict(train=(x, y), missing='max')")
        with pytest.raises(UserCodeError, match="missing must be one of mean, .*'max'"):
            load(wrong, tmp_path)


class TestDropped:
    def test_rows_without_a_value(self, tmp_path: Path) -> None:
        write(tmp_path)
        data = read(tmp_path, "drop", val_fraction=0.3, test_fraction=0.2)
        splits = [arrays(split).x[:, 0] for split in (data.train, data.val, data.test)]
        assert np.concatenate(splits).tolist() == [each for each in ROWS if each is not None]

    def test_targets_and_groups_go_with_them(self, tmp_path: Path) -> None:
        rows = [f"{i},{'' if i == 7 else 'ab'[i % 2]},{i // 4}" for i in range(40)]
        (tmp_path / "t.csv").write_text("\n".join(["a,y,who", *rows]))
        data = load("csv", tmp_path, path="t.csv", target="y", group="who", missing="drop")
        assert sum(len(arrays(each)) for each in (data.train, data.val, data.test)) == 39

    def test_all_rows(self, tmp_path: Path) -> None:
        write(tmp_path, [None, *range(9)])
        (tmp_path / "t.csv").write_text("a,b,y\n1,,x\n,1,z\n")
        with pytest.raises(DataError, match="missing: must leave some rows"):
            load("csv", tmp_path, path="t.csv", target="y", missing="drop")


class TestRefused:
    def test_by_default_with_the_ways_out(self, tmp_path: Path) -> None:
        write(tmp_path)
        with pytest.raises(DataError, match=r"some have none: a \(2\); `missing: drop` leaves"):
            load("csv", tmp_path, path="t.csv", target="y")

    def test_targets_are_never_filled(self, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_text("a,y\n1,2.5\n2,\n3,4.5\n4,1.5\n")
        with pytest.raises(DataError, match=r"some have none: y \(1\)"):
            load("csv", tmp_path, path="t.csv", target="y", missing="mean")

    def test_infinite_numbers(self, tmp_path: Path) -> None:
        body = "x = np.ones((20, 2)); x[3, 1] = np.inf; y = np.arange(20) % 2"
        name = user_factory(tmp_path, f"{body}; return dict(train=(x, y), missing='mean')")
        with pytest.raises(DataError, match="x of train must be finite"):
            load(name, tmp_path)


def test_a_mark_of_utf_8_with_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("\ufeffa,y\n1,2\n".encode())
    with pytest.raises(
        DataError, match="encoding: .* begins with the mark of utf-8, but got 'cp1"
    ):
        load("csv", tmp_path, path="t.csv", target="y", encoding="cp1252")
