"""The callback that takes batch norm's statistics anew before each evaluation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hpsearch import registry
from hpsearch.components import Data
from hpsearch.components.layers.norm_modules import BatchNorm, GhostBatchNorm
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer


def trainer(data: Data, *callbacks: str, finetune: Any = None, **model: Any) -> Trainer:
    values = {
        "model": {"name": "mlp", "hidden_sizes": [16], "norm": "batch", **model},
        "optimizer": {"name": "sgd", "lr": 0.5},
        "batch_size": 19,
        "callbacks": [{"name": name} for name in callbacks],
        "finetune": finetune,
    }
    return Trainer(TrialConfig(0, 0, 4, values), data)


def batch_norm(model: nn.Module) -> Any:
    return next(
        each for each in model.modules() if isinstance(each, torch.nn.modules.batchnorm._BatchNorm)
    )


@pytest.mark.parametrize("norm", [nn.BatchNorm1d(3), GhostBatchNorm(3, 8, 0.1, 1e-5)])
def test_the_statistics_become_the_mean_over_the_batches(norm: Any) -> None:
    torch.manual_seed(0)
    batches: list[tuple[Tensor, Tensor]] = [
        (5 * torch.randn(8, 3) + 2, torch.zeros(8)) for _ in range(4)
    ]
    callback = registry.get("callback", "recalibrate_bn").build({})
    callback.before_evaluation(norm, lambda: iter(batches))
    means = torch.stack([x.mean(0) for x, _ in batches]).mean(0)
    variances = torch.stack([x.var(0) for x, _ in batches]).mean(0)
    assert torch.allclose(norm.running_mean, means)
    assert torch.allclose(norm.running_var, variances)
    assert norm.momentum == 0.1 and norm.training


def test_ghost_batches_count_one_by_one() -> None:
    norm, x = GhostBatchNorm(3, 8, 0.1, 1e-5), torch.randn(24, 3) + 5
    callback = registry.get("callback", "recalibrate_bn").build({})
    callback.before_evaluation(norm, lambda: iter([(x, x)]))
    assert norm.running_mean is not None
    assert torch.allclose(norm.running_mean, x.mean(0), atol=1e-6)


def test_training_is_the_same_evaluation_is_not(wine: Data) -> None:
    plain, recalibrated = trainer(wine), trainer(wine, "recalibrate_bn")
    for _ in range(2):
        one, other = plain.train_epoch(), recalibrated.train_epoch()
        assert one is not None and other is not None
        assert one["train_loss"] == other["train_loss"]
        assert one["val_loss"] != other["val_loss"]


def test_evaluation_sees_the_weights_of_now(wine: Data) -> None:
    """By then the moving average hardly knows the weights of the last step."""
    recalibrated = trainer(wine, "recalibrate_bn")
    recalibrated.train_epoch()
    norm, model = batch_norm(recalibrated.model), recalibrated.model
    x = torch.from_numpy(wine.train.x)  # type: ignore[union-attr]
    inputs = model[:2](x)  # type: ignore[index]
    assert torch.allclose(norm.running_mean, inputs.mean(0), atol=1e-5)
    assert wine.num_train_rows % 19 == 0  # so that batches weigh as much as their rows


@pytest.mark.parametrize("model", [{}, {"dropout": 0.3}])
def test_one_and_one_epoch_are_two(wine: Data, model: dict[str, Any]) -> None:
    whole, second = (trainer(wine, "recalibrate_bn", **model) for _ in range(2))
    whole.train_epoch()
    second.load_state_dict(whole.state_dict())
    one, other = whole.train_epoch(), second.train_epoch()
    assert one is not None and other is not None
    assert {**one, "seconds": 0} == {**other, "seconds": 0}


@pytest.mark.parametrize(
    "finetune", ["feature_extract", {"name": "freeze", "num_frozen": 1}, "gradual_unfreeze"]
)
def test_frozen_norms_keep_their_statistics(wine: Data, finetune: Any) -> None:
    """And the norms that are trained see them as they do while training."""
    layers = {"hidden_sizes": [16, 16], "norm": "batch"}
    tuned = trainer(wine, "recalibrate_bn", **layers, finetune=finetune)
    frozen, trained = (each for each in tuned.model.children() if isinstance(each, BatchNorm))
    frozen.running_mean.normal_()
    frozen.running_var.uniform_(1, 2)
    before = {name: value.clone() for name, value in frozen.state_dict().items()}
    tuned.train_epoch()
    assert all(torch.equal(before[name], value) for name, value in frozen.state_dict().items())
    if finetune == {"name": "freeze", "num_frozen": 1}:
        inputs = tuned.model[:6].eval()(torch.from_numpy(wine.train.x))  # type: ignore[union-attr]
        assert torch.allclose(trained.running_mean, inputs.mean(0), atol=1e-5)
    else:
        assert (trained.running_mean == 0).all()


def test_nothing_is_read_without_a_batch_norm_that_learns(wine: Data) -> None:
    callback = registry.get("callback", "recalibrate_bn").build({})
    callback.before_evaluation(nn.Linear(2, 2), lambda: pytest.fail("read"))
    callback.before_evaluation(nn.BatchNorm1d(2).eval(), lambda: pytest.fail("read"))
