"""Values that no computation can take are refused before any trial."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hpsearch.components.layers.normalizations import make_norm
from tests.support.problems import problems_of
from tests.support.specs import changed

SIZE = "must fit into a 64-bit integer or a 32-bit float (3.4e+38)"
WARM = {"name": "warmup", "epochs": 1e300}


def trial(**sections: Any) -> dict[str, Any]:
    return changed(**{"optimizer": "sgd", "model": "mlp", **sections})


@pytest.mark.parametrize(
    ("sections", "problem"),
    [
        (
            {"weight_averaging": {"name": "ema", "decay": 1.0}},
            "weight_averaging.decay: must be less than 1, but got 1.0",
        ),
        (
            {"ensemble": {"name": "snapshot", "cycles": 1}},
            "ensemble.cycles: must be greater than or equal to 2, but got 1",
        ),
        (
            {"gradient_noise": {"name": "gaussian", "decay": 1000}},
            "gradient_noise.decay: must be less than or equal to 10, but got 1000",
        ),
        (
            {"optimizer": {"name": "asgd", "alpha": {"low": 0.5, "high": 1e6}}},
            "optimizer.alpha: must be less than or equal to 10, but got 1000000.0",
        ),
        (
            {"task": {"name": "classification", "metrics": [{"name": "ece", "num_bins": 10**9}]}},
            "task.metrics.0.num_bins: must be less than or equal to 10000, but got 1000000000",
        ),
        (
            {"optimizer": {"name": "lbfgs", "history_size": 10**9}},
            "optimizer.history_size: must be less than or equal to 10000, but got 1000000000",
        ),
        (
            {"augmentations": [{"name": "shift", "max_pixels": 10**9}]},
            "augmentations.0.max_pixels: must be less than or equal to 1024, but got 1000000000",
        ),
        ({"optimizer": {"name": "sgd", "lr": 1e300}}, f"optimizer.lr: {SIZE}, but got 1e+300"),
        ({"lr_schedule": WARM}, f"lr_schedule.epochs: {SIZE}, but got 1e+300"),
        (
            {"model": {"name": "mlp", "activation": {"name": "elu", "alpha": 1e300}}},
            f"model.activation.alpha: {SIZE}, but got 1e+300",
        ),
        (
            {"model": {"name": "mlp", "hidden_sizes": [8, 10**30]}},
            f"model.hidden_sizes: {SIZE}, but got {10**30}",
        ),
    ],
)
def test_a_value_is_refused(sections: dict[str, Any], problem: str) -> None:
    assert problems_of(trial(**sections)) == [problem]


def test_as_many_groups_as_there_are_channels_are_enough() -> None:
    """Whatever more is asked for, in no time."""
    norm: Any = make_norm({"name": "group", "groups": 2**62}, 6, 2)
    assert norm.num_groups == 6
    assert norm(torch.randn(2, 6, 3, 3)).shape == (2, 6, 3, 3)
