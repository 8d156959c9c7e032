"""Optimizers of users' own that give parameters other tensors train lanes as they do trials."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from hpsearch.components import Data
from hpsearch.spec import TrialConfig
from tests.support.lanes import alone, assert_same, lane_config, together


class OwnSGD(torch.optim.Optimizer):
    """Gives parameters other tensors, or gradients: as users' optimizers do."""

    def __init__(self, params: Any, lr: float, kind: str) -> None:
        super().__init__(params, {"lr": lr})
        self.kind = kind

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Step by the gradient."""
        for group in self.param_groups:
            for param in group["params"]:
                if self.kind == "new gradients":
                    param.grad = param.grad * 0.5
                if self.kind == "new data":
                    param.data = param.data - group["lr"] * param.grad
                else:
                    param.sub_(param.grad, alpha=group["lr"])
        if self.kind == "no gradients":
            self.zero_grad()


def own_optimizer(params: Any, lr: float, kind: str) -> torch.optim.Optimizer:
    """An optimizer of this kind."""
    return OwnSGD(params, lr, kind)


def own(factory: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"name": f"{Path(__file__).name}:{factory}", "kind": kind, **more}


def lane(number: int, **values: Any) -> TrialConfig:
    return replace(lane_config(number, **values), folder=str(Path(__file__).parent))


@pytest.mark.parametrize("kind", ["new data", "new gradients", "no gradients"])
@pytest.mark.parametrize("size", [16, 20])
def test_optimizers_that_replace_tensors(kind: str, size: int, wine: Data) -> None:
    configs = [
        lane(number, optimizer=own("own_optimizer", kind, lr=0.1), batch_size=each)
        for number, each in enumerate((16, size))
    ]
    trained, lanes = together(configs, wine, 2)
    for one, other in zip(alone(configs, wine, 2), trained, strict=True):
        assert_same(one, other)
    assert lanes.num_fused == 4
