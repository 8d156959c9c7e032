"""The data sets that scikit-learn brings are read as it reads them."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.datasets

from hpsearch.components.datasets import bundled


@pytest.mark.parametrize("name", ["wine", "breast_cancer", "diabetes"])
def test_tables_are_those_of_scikit_learn(name: str) -> None:
    table = getattr(bundled, f"read_{name}")()
    expected = getattr(sklearn.datasets, f"load_{name}")()
    np.testing.assert_array_equal(table.x, expected.data, strict=True)
    np.testing.assert_array_equal(table.y, expected.target, strict=True)
    assert table.feature_names == tuple(expected.feature_names)
    assert table.class_names == tuple(expected.get("target_names", ()))


def test_digits_are_those_of_scikit_learn() -> None:
    images, digits = bundled.read_digits()
    expected = sklearn.datasets.load_digits()
    np.testing.assert_array_equal(images, expected.images, strict=True)
    np.testing.assert_array_equal(digits, expected.target, strict=True)
