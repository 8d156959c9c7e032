"""Which data a model without hidden layers can learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.svm import LinearSVC

from hpsearch.components import Arrays, Data, load_data
from hpsearch.training.checks.by_name import Finding, run_checks
from hpsearch.training.checks.separability import is_linearly_separable
from tests.support.trainers import make

CORNERS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)


def rows(data: Data) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    assert isinstance(data.train, Arrays)
    return data.train.x, data.train.y


@pytest.mark.parametrize(
    ("gate", "targets", "expected"),
    [("and", [0, 0, 0, 1], True), ("or", [0, 1, 1, 1], True), ("xor", [0, 1, 1, 0], False)],
)
def test_gates(gate: str, targets: list[int], expected: bool) -> None:
    assert is_linearly_separable(CORNERS, np.array(targets)) is expected


def test_one_class_needs_no_line() -> None:
    assert is_linearly_separable(CORNERS, np.ones(4, int))


def test_classes_may_need_no_line_through_the_origin() -> None:
    x = np.linspace(0, 1, 30, dtype=np.float32)[:, None]
    between = (x[:, 0] > 1 / 3).astype(int) + (x[:, 0] > 2 / 3)
    assert is_linearly_separable(x, between)  # as the upper envelope of three lines
    assert not is_linearly_separable(x, between % 2)


@pytest.mark.parametrize("name", ["wine", "breast_cancer"])
def test_agrees_with_an_svm(name: str) -> None:
    x, y = rows(load_data({"name": name}, seed=0))
    svm = LinearSVC(C=1e4, dual=False, max_iter=20000).fit(x, y == 0)
    assert is_linearly_separable(x, (y == 0).astype(int)) is (svm.score(x, y == 0) == 1)


def finding(data: Data, hidden_sizes: list[int]) -> list[Finding]:
    model = {"name": "mlp", "hidden_sizes": hidden_sizes}
    return run_checks(make(data, model=model, batch_size=2), ["linear_separability"])


class TestCheck:
    def test_xor_needs_a_hidden_layer(self) -> None:
        xor = load_data({"name": "logic_gate", "gate": "xor"}, seed=0)
        (found,) = finding(xor, [])
        assert (found.ok, found.severity) == (False, "warning")
        assert "needs a hidden layer" in found.message
        assert finding(xor, [4])[0].ok

    def test_rows_that_lie_class_by_class(self) -> None:
        """The first of them are all of one class."""
        y = np.array([0, 1, 1, 0]).repeat(300)
        train = Arrays(CORNERS.repeat(300, axis=0), y).rows(np.argsort(y))
        xor = load_data({"name": "logic_gate", "gate": "xor"}, seed=0)
        (found,) = finding(replace(xor, train=train), [])
        assert not found.ok and "of 256 training rows" in found.message

    def test_wine_needs_none(self, wine: Data) -> None:
        (found,) = finding(wine, [])
        assert found.ok and "can tell the classes" in found.message

    def test_ten_classes(self) -> None:
        (found,) = finding(load_data({"name": "digits"}, seed=0), [])
        assert found.ok

    def test_a_regression_is_not_asked(self) -> None:
        assert finding(load_data({"name": "diabetes"}, seed=0), []) == []
