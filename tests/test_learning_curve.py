"""Trainings on parts of the rows, whose points a learning curve is fitted to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hpsearch.components import Data, load_data
from hpsearch.errors import HpsearchError
from hpsearch.learning_curve import check_parts, learning_points
from tests.support.lanes import lane_config


@pytest.fixture(scope="module")
def digits() -> Data:
    return load_data({"name": "digits", "val_fraction": 0.2}, seed=0)


def test_more_rows_learn_more_in_the_same_steps(digits: Data) -> None:
    config = replace(lane_config(max_epochs=2), metric="val_loss")
    points = list(learning_points(config, digits, "minimize", (0.05, 1.0), seeds=2))
    rows = len(digits.train)  # type: ignore[arg-type]
    assert [point.rows for point in points] == [round(0.05 * rows), rows] * 2
    for seed in range(2):
        few, all_rows = [point.value for point in points if point.seed == seed]
        assert few > all_rows
    assert list(learning_points(config, digits, "minimize", (0.05,), seeds=2)) == points[::2]


def test_parts_without_a_whole_batch_are_left_out(digits: Data) -> None:
    config = replace(lane_config(max_epochs=1, batch_size=400), metric="val_loss")
    found = list(learning_points(config, digits, "minimize", (0.125, 1.0), seeds=1))
    assert [point.rows for point in found] == [len(digits.train)]  # type: ignore[arg-type]


def test_folds_are_refused() -> None:
    folds = load_data({"name": "wine", "folds": 3}, seed=0)
    with pytest.raises(HpsearchError, match="data in memory, without folds"):
        next(learning_points(lane_config(), folds, "minimize"))


def test_batches_that_leave_too_few_parts_are_refused_before_training(digits: Data) -> None:
    check_parts(lane_config(batch_size=64), digits)
    with pytest.raises(HpsearchError, match="batch_size: must be at most 288 for .* but got 1024"):
        check_parts(lane_config(batch_size=1024), digits)
