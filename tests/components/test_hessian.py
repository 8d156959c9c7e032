"""The extreme eigenvalues of the Hessian, against exact ones and against what they foretell."""

from __future__ import annotations

import doctest
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

import hpsearch.components.diagnostics.hessian
from hpsearch import registry
from hpsearch.components import Arrays, Data
from hpsearch.components.batch import Batch
from hpsearch.components.diagnostics.hessian import (
    GREATEST,
    LEAST,
    NAME,
    THRESHOLD,
    extreme_eigenvalues,
)
from hpsearch.errors import DivergedError
from hpsearch.spec import TrialConfig, draft_spec
from hpsearch.training import Trainer
from hpsearch.validation import check
from tests.support.effects import SECTIONS, data_of
from tests.support.problems import problems_of
from tests.support.specs import changed
from tests.support.trainers import goes_on_bit_for_bit, make


def squares(outputs: Tensor, batch: Batch) -> Tensor:
    value: Tensor = (outputs - batch.targets).square().mean()
    return value


def measured(
    model: nn.Module, x: Tensor, y: Tensor, num_batches: int = 1, **keywords: Any
) -> dict[str, float]:
    torch.manual_seed(0)
    callback = registry.get("callback", NAME).build({"batches": num_batches, **keywords})
    size = len(x) // num_batches
    found: dict[str, float] = callback.measure(
        model, squares, Batch(x, y).split([size] * num_batches)
    )
    return found


def exact(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Return all eigenvalues, by torch's own Hessian of all parameters."""
    names = [name for name, _ in model.named_parameters()]
    params = tuple(param.detach() for param in model.parameters())

    def loss(*values: Tensor) -> Tensor:
        outputs = functional_call(model, dict(zip(names, values, strict=True)), (x,))
        return squares(outputs, Batch(x, y))

    blocks: Any = torch.autograd.functional.hessian(loss, params)
    sizes = [param.numel() for param in params]
    rows = [
        torch.cat([block.reshape(size, -1) for block in row], 1)
        for size, row in zip(sizes, blocks, strict=True)
    ]
    return torch.linalg.eigvalsh(torch.cat(rows).double())


def small_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Dropout(0.5), nn.Linear(4, 2))


@pytest.mark.parametrize("num_batches", [1, 4])
def test_they_are_those_of_the_whole_hessian(num_batches: int) -> None:
    model, x, y = small_net(), torch.randn(24, 3), torch.randn(24, 2)
    all_values = exact(small_net().eval(), x, y)
    found = measured(model, x, y, num_batches)
    assert found[GREATEST] == pytest.approx(float(all_values[-1]), rel=1e-3)
    assert found[LEAST] == pytest.approx(float(all_values[0]), rel=1e-2)
    assert found[LEAST] < 0 < found[GREATEST]
    assert all(param.grad is None for param in model.parameters()) and model.training


def test_of_a_mean_squared_error_they_are_those_of_the_covariance() -> None:
    """(w·x)² has the Hessian 2 x xᵀ; of the rows (3, 0) and (0, 1), the mean is diag(9, 1)."""
    model = nn.Linear(2, 1, bias=False)
    found = measured(model, torch.tensor([[3.0, 0.0], [0.0, 1.0]]), torch.zeros(2, 1))
    assert found == pytest.approx({GREATEST: 9.0, LEAST: 1.0}, rel=1e-4)


def test_the_greatest_is_not_the_one_of_greatest_size() -> None:
    torch.manual_seed(0)
    basis = torch.linalg.qr(torch.randn(60, 60)).Q
    values = torch.cat([torch.linspace(-9, 1, 59), torch.tensor([3.0])])
    matrix = basis @ values.diag() @ basis.T
    least, greatest = extreme_eigenvalues(lambda v: matrix @ v, torch.randn(60), 60)
    assert (least, greatest) == pytest.approx((-9.0, 3.0), rel=1e-2)
    assert doctest.testmod(hpsearch.components.diagnostics.hessian).failed == 0


def test_a_loss_that_is_linear_has_none() -> None:
    callback, batch = registry.get("callback", NAME).build({}), Batch(torch.randn(8, 3), None)
    found = callback.measure(nn.Linear(3, 1), lambda outputs, _: outputs.mean(), iter([batch]))
    assert found == {GREATEST: 0.0, LEAST: 0.0}


def test_what_is_not_finite_is_left_out_and_so_is_what_no_rows_say() -> None:
    model = nn.Linear(3, 1)
    callback = registry.get("callback", NAME).build({})
    assert callback.measure(model, squares, iter(())) == {}
    assert measured(model, torch.full((4, 3), math.inf), torch.zeros(4, 1)) == {}


class TestInATrainer:
    MODEL = {"name": "mlp", "hidden_sizes": [16], "norm": "batch", "dropout": 0.3}

    def test_goes_on_bit_for_bit_and_changes_nothing(self, wine: Data) -> None:
        watched = {"callbacks": [{"name": NAME, "iterations": 4, "every": 3}]}
        trainers = [make(wine, model=self.MODEL, **watched) for _ in range(3)]
        curve = goes_on_bit_for_bit(trainers[0], trainers[1], trainers[2])
        values = [epoch[GREATEST] for epoch in curve]
        assert values[0] == values[1] == values[2] != values[3]
        plain = make(wine, model=self.MODEL)
        for with_it in curve:
            without = plain.train_epoch()
            assert without is not None
            assert {**without, "seconds": 0} == {
                name: 0 if name == "seconds" else with_it[name] for name in without
            }

    @pytest.mark.parametrize(("part", "settles"), [(0.9, True), (1.1, False)])
    def test_gradient_descent_is_stable_below_the_threshold_alone(
        self, part: float, settles: bool
    ) -> None:
        """Of a quadratic loss it is exactly 2 / lr."""
        rng = np.random.default_rng(0)
        x = rng.normal(size=(64, 3)).astype(np.float32) * np.float32([3, 1, 0.5])
        rows = Arrays(x, (x @ np.float32([[1], [2], [3]])))
        data = Data("regression", (3,), 1, train=rows, val=rows)
        values = {
            "model": {"name": "mlp", "hidden_sizes": []},
            "batch_size": "full",
            "callbacks": [{"name": NAME, "batches": 2}],
        }

        def trained(lr: float, epochs: int) -> list[dict[str, float]]:
            sgd = {"optimizer": {"name": "sgd", "lr": lr}}
            trainer = Trainer(TrialConfig(0, 0, epochs, {**values, **sgd}), data)
            return [trainer.train_epoch() or {} for _ in range(epochs)]

        (first,) = trained(1e-6, 1)
        assert first[THRESHOLD] == pytest.approx(2e6)
        start, *_, end = trained(part * 2 / first[GREATEST], 60)
        assert (start[GREATEST] < start[THRESHOLD]) == settles
        assert (end["val_loss"] < start["val_loss"]) == settles

    @pytest.mark.parametrize(
        ("data", "model"),
        [
            ("digits", {"name": "rnn", "hidden_size": 4}),
            ("digits", {"name": "cnn", "channels": [4], "hidden_sizes": [], "norm": "batch"}),
            ("digits", {"name": "transformer", "width": 8, "heads": 2, "layers": 1}),
            ("tokens", {"name": "transformer", "width": 8, "heads": 2, "layers": 1}),
        ],
    )
    def test_other_nets_have_them_too(self, data: str, model: dict[str, Any]) -> None:
        values = {**SECTIONS, "model": model, "callbacks": [{"name": NAME, "iterations": 3}]}
        found = Trainer(TrialConfig(0, 0, 2, values), data_of(data)).train_epoch()
        assert found is not None and found[GREATEST] > 0

    def test_frozen_layers_have_no_part_in_it(self, wine: Data) -> None:
        sections = {"model": {"name": "mlp", "hidden_sizes": [4]}, "callbacks": [NAME]}
        one = make(wine, finetune="feature_extract", **sections)
        found = one.train_epoch()
        assert found is not None and found[GREATEST] > 0

    def test_a_training_that_diverges_says_so(self, wine: Data) -> None:
        sgd = {"name": "sgd", "lr": 1e30}
        one = make(wine, optimizer=sgd, callbacks=[NAME], batch_size="full")
        with pytest.raises(DivergedError):
            for _ in range(4):
                one.train_epoch()


class TestInASpec:
    def test_can_be_the_objective_of_a_search(self) -> None:
        objective = {"metric": GREATEST, "direction": "minimize"}
        check(draft_spec(changed(objective=objective, callbacks=[NAME])))

    def test_mistakes(self) -> None:
        found = problems_of(changed(callbacks=[{"name": NAME, "every": 0}]))
        assert found == ["callbacks.0.every: must be greater than or equal to 1, but got 0"]
