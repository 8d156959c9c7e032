"""What a training function may report."""

from __future__ import annotations

import doctest
from typing import Any

import numpy as np
import pytest
import torch

import hpsearch.training.user_code.reports
from hpsearch.errors import DivergedError, UserCodeError
from hpsearch.training.user_code.reports import read_metrics


class TestReports:
    def test_numbers_of_numpy_and_torch_are_numbers(self) -> None:
        report = {
            "a": 1,
            "b": np.float32(0.5),
            "c": torch.tensor(2.0, requires_grad=True),
            "d": np.array([3]),
            "e": torch.tensor([[4]]),
            "val/loss-1.b": True,
        }
        metrics = read_metrics(report, 1)
        assert metrics == {"a": 1, "b": 0.5, "c": 2, "d": 3, "e": 4, "val/loss-1.b": 1}
        assert {type(value) for value in metrics.values()} == {float}

    @pytest.mark.parametrize(
        ("report", "expected"),
        [
            (0.5, "must map names to numbers, but got 0.5"),
            (None, "must map names to numbers, but got None"),
            ([("loss", 1.0)], "must map names to numbers"),
            ({"loss": None}, "loss must be a number, but got None"),
            ({"loss": "0.5"}, "loss must be a number, but got '0.5'"),
            ({"loss": [0.5]}, r"loss must be a number, but got \[0.5\]"),
            ({"loss": torch.zeros(2)}, "loss must be a number, but got tensor"),
            ({"loss": np.array(["a"])}, "loss must be a number, but got 'a'"),
            ({"loss": torch.tensor(1j)}, "loss must be a number, but got 1j"),
            ({1: 0.5}, "a metric's name must be .*, but got 1"),
            ({"": 0.5}, "a metric's name must be .*, but got ''"),
            ({"a\nb": 0.5}, r"a metric's name must be .* printable .*, but got 'a\\nb'"),
            ({"a\x00": 0.5}, "a metric's name must be .*, but got"),
            ({"\udc80": 0.5}, "a metric's name must be .*, but got"),
            ({"n" * 251: 0.5}, "a metric's name must be 1 to 250 printable characters, but got"),
            ({"loss": 1.0, "epoch": 1}, r"'epoch' must be 2 \(epochs count from 1\), but got 1"),
        ],
    )
    def test_that_are_none(self, report: Any, expected: str) -> None:
        with pytest.raises(UserCodeError, match=f"the report of epoch 2: .*{expected}"):
            read_metrics(report, 2)

    @pytest.mark.parametrize("value", [float("nan"), float("-inf"), torch.tensor(torch.inf)])
    def test_that_are_not_finite_mean_divergence(self, value: Any) -> None:
        with pytest.raises(DivergedError, match="other is (nan|-?inf) at epoch 2"):
            read_metrics({"loss": 1.0, "other": value}, 2)

    def test_may_say_their_epoch(self) -> None:
        assert read_metrics({"loss": 1.0, "epoch": 2}, 2) == {"loss": 1.0}

    def test_the_example_in_the_docstring(self) -> None:
        results = doctest.testmod(hpsearch.training.user_code.reports)
        assert (results.attempted, results.failed) == (1, 0)
