"""The noise scale of the gradient, from two batch sizes (McCandlish et al., 2018, appendix A)."""

from __future__ import annotations

import doctest
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import hpsearch.components.noise_scale
from hpsearch import registry
from hpsearch.components import Arrays, Data
from hpsearch.components.batch import Batch
from hpsearch.components.noise_scale import noise_scale
from hpsearch.errors import SpecError
from hpsearch.spec import TrialConfig, draft_spec
from hpsearch.training import Trainer
from hpsearch.validation import check
from tests.support.specs import changed
from tests.support.trainers import goes_on_bit_for_bit, make

NAME = "gradient_noise_scale"


class Offset(nn.Module):
    """Outputs its parameter for each row: the gradient of |w - x|² / 2 is w - x."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(size))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight.expand(len(x), -1)


def half_square(outputs: Tensor, batch: Batch) -> Tensor:
    return (outputs - batch.targets).square().sum(1).mean() / 2


def measured(model: nn.Module, x: Tensor, batch_size: int, batches: int) -> dict[str, float]:
    callback = registry.get("callback", NAME).build({"batches": batches})
    parts = Batch(x, x).split([batch_size] * (len(x) // batch_size))
    found: dict[str, float] = callback.measure(model, half_square, parts)
    return found


def test_the_formula() -> None:
    """By hand: G² = (8·5 - 2·11) / 6 = 3, S = (11 - 5) / (1/2 - 1/8) = 16."""
    assert noise_scale(small=11, small_size=2, big=5, big_size=8) == pytest.approx(16 / 3)
    assert noise_scale(small=8, small_size=1, big=1, big_size=4) is None
    assert doctest.testmod(hpsearch.components.noise_scale).failed == 0


@pytest.mark.parametrize(("batch_size", "batches"), [(4, 500), (50, 40), (125, 16)])
def test_a_known_covariance(batch_size: int, batches: int) -> None:
    """Rows of mean 1 and deviation 2 in 50 axes: G² = 50, tr S = 200, at every batch size."""
    torch.manual_seed(0)
    x = 1 + 2 * torch.randn(batch_size * batches, 50)
    found = measured(Offset(50), x, batch_size, batches)
    assert found[NAME] == pytest.approx(4.0, rel=0.15)


def test_is_that_of_the_gradients_of_two_sizes() -> None:
    torch.manual_seed(0)
    model, x = nn.Linear(3, 3), torch.randn(24, 3)

    def square_of(rows: Tensor) -> float:
        grads = torch.autograd.grad(
            half_square(model(rows), Batch(rows, rows)), list(model.parameters())
        )
        return sum(grad.square().sum().item() for grad in grads)

    small = sum(square_of(x[i : i + 4]) for i in range(0, 20, 4)) / 5
    big = square_of(x[:20])
    expected = (small - big) / (1 / 4 - 1 / 20) / ((20 * big - 4 * small) / 16)
    assert measured(model, x, 4, 5)[NAME] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("rows", [0, 4])
def test_less_than_two_batches_say_nothing(rows: int) -> None:
    assert measured(Offset(3), torch.ones(rows, 3), 4, 8) == {}


class TestInATrainer:
    MODEL = {"name": "mlp", "hidden_sizes": [16], "norm": "batch", "dropout": 0.3}

    def trainer(self, data: Data, **values: Any) -> Trainer:
        return make(data, **{"model": self.MODEL, "callbacks": [NAME], **values})

    def test_is_reported_and_changes_nothing_else(self, wine: Data) -> None:
        noise = {"augmentations": [{"name": "gaussian_noise", "std": 0.1}]}
        with_it, without = self.trainer(wine, **noise), self.trainer(wine, callbacks=[], **noise)
        for _ in range(3):
            one, other = with_it.train_epoch(), without.train_epoch()
            assert one is not None and other is not None
            assert one.pop(NAME) > 0
            assert {**one, "seconds": 0} == {**other, "seconds": 0}

    def test_goes_on_bit_for_bit(self, wine: Data) -> None:
        goes_on_bit_for_bit(*(self.trainer(wine) for _ in range(3)))

    @pytest.mark.parametrize("batch_size", [64, 100, "full"])
    def test_large_batches_are_halves(self, wine: Data, batch_size: Any) -> None:
        metrics = self.trainer(wine, batch_size=batch_size).train_epoch()
        assert metrics is not None and metrics[NAME] > 0

    def test_frozen_layers_have_no_gradient(self, wine: Data) -> None:
        metrics = self.trainer(wine, finetune="feature_extract").train_epoch()
        assert metrics is not None and metrics[NAME] > 0

    def test_noise_grows_as_the_loss_falls(self) -> None:
        """Labels by chance: in the end there is nothing left to learn from all rows alike."""
        rng = np.random.default_rng(0)
        x = rng.normal(size=(2000, 5)).astype(np.float32)
        y = (x[:, 0] + 2 * rng.normal(size=2000) > 0).astype(np.int64)
        rows = Arrays(x, y)
        values = {
            "model": {"name": "mlp", "hidden_sizes": []},
            "initializer": {"name": "zeros"},
            "optimizer": {"name": "sgd", "lr": 0.5},
            "batch_size": 50,
            "callbacks": [{"name": NAME, "batches": 40}],
        }
        data = Data("classification", (5,), 2, train=rows, val=rows)
        trainer = Trainer(TrialConfig(0, 0, 30, values), data)
        early = trainer._measure()[NAME]
        for _ in range(5):
            trainer.train_epoch()
        assert trainer._measure().get(NAME, float("inf")) > 5 * early


class TestInASpec:
    def test_can_be_the_objective_of_a_search(self) -> None:
        objective = {"metric": NAME, "direction": "minimize"}
        check(draft_spec(changed(objective=objective, callbacks=[{"name": NAME}])))

    @pytest.mark.parametrize("callbacks", [[], {"choices": [[], [NAME]]}])
    def test_where_each_trial_measures_it(self, callbacks: Any) -> None:
        objective = {"metric": NAME, "direction": "minimize"}
        with pytest.raises(SpecError, match="objective.metric: must be a metric that every trial"):
            check(draft_spec(changed(objective=objective, callbacks=callbacks)))

    def test_can_be_watched(self, wine: Data) -> None:
        watching = {"name": "early_stopping", "metric": NAME, "mode": "min", "patience": 1}
        check(draft_spec(changed(callbacks=[watching, NAME])))
        make(wine, callbacks=[watching, NAME]).train_epoch()

    def test_a_mistake_in_callbacks_is_told_once(self) -> None:
        with pytest.raises(SpecError) as caught:
            check(draft_spec(changed(callbacks=["gradient_noise_scal"])))
        assert [problem.path for problem in caught.value.problems] == ["callbacks.0.name"]
