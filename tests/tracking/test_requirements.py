"""What a registered model says must be installed where it is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from hpsearch.components.models.building import build_model
from hpsearch.tracking.model_files import requirements

pytestmark = pytest.mark.usefixtures("vision_packages")


@pytest.mark.parametrize(
    ("name", "packages"),
    [
        ("torchvision/squeezenet1_1", ["hpsearch", "numpy", "torch", "torchvision"]),
        ("timm/test_resnet", ["hpsearch", "numpy", "timm", "torch", "torchvision"]),
    ],
)
def test_of_another_library_s_net(name: str, packages: list[str]) -> None:
    model = build_model({"name": name}, (3, 32, 32), 2, Path())
    assert [each.partition("==")[0] for each in requirements(model)] == packages


def test_of_torch_s_own() -> None:
    assert [each.partition("==")[0] for each in requirements(nn.Linear(1, 1))] == [
        "numpy",
        "torch",
    ]
