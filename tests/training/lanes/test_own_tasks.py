"""Tasks that hold numbers of their own: those with the same ones share a program."""

from __future__ import annotations

from typing import Any

import pytest
from torch import Tensor

from hpsearch.components import Data, load_data
from hpsearch.components.batch import Batch, Tree
from hpsearch.components.tasks.parts import Targets, make_parts
from hpsearch.components.tasks.regression import Regression
from tests.support.lanes import alone, assert_same, lane_config, together


class Weighted(Regression):
    """Squared errors times a number, which is no part of the loss as a module."""

    def __init__(self, weight: float, output_size: int, target_std: Any) -> None:
        super().__init__(make_parts(Targets("regression", output_size), "mse"), target_std)
        self.weight = weight

    def loss(self, outputs: Tree, batch: Batch) -> Tensor:
        """Return the weighted loss."""
        return self.weight * super().loss(outputs, batch)


def weighted(output_size: int, target_std: Any, weight: float) -> Weighted:
    """Numbers, whose errors are weighted."""
    return Weighted(weight, output_size, target_std)


@pytest.fixture(scope="module")
def data() -> Data:
    return load_data({"name": "diabetes", "train_rows": 96, "val_rows": 32}, seed=0)


@pytest.mark.parametrize(("weights", "num_fused"), [((2.0, 2.0), 4), ((0.1, 1.0), 0)])
def test_weights_of_a_task(data: Data, weights: tuple[float, float], num_fused: int) -> None:
    name = f"{__name__}:weighted"
    configs = [
        lane_config(number, task={"name": name, "weight": weight})
        for number, weight in enumerate(weights)
    ]
    beside, lanes = together(configs, data, 2)
    assert lanes.num_fused == num_fused  # two lanes for two epochs
    for one, other in zip(beside, alone(configs, data, 2), strict=True):
        assert_same(one, other)
