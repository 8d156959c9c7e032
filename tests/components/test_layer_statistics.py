"""Statistics of layers, on nets whose gradients and units are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hpsearch import registry
from hpsearch.analysis.diagnosis.curves import Curves
from hpsearch.analysis.diagnosis.rules import diagnose
from hpsearch.components import Data
from hpsearch.components.batch import Batch
from hpsearch.components.layer_statistics import NAME
from hpsearch.errors import SpecError
from hpsearch.spec import draft_spec
from hpsearch.validation import check
from tests.support.specs import changed
from tests.support.trainers import goes_on_bit_for_bit, make


def squares(outputs: Any, batch: Batch) -> Tensor:
    value: Tensor = (outputs - batch.targets).square().mean()
    return value


def measured(model: nn.Module, x: Tensor, y: Tensor, **keywords: Any) -> dict[str, float]:
    callback = registry.get("callback", NAME).build(keywords)
    batches = Batch(x, y).split([len(x) // 2] * 2)
    found: dict[str, float] = callback.measure(model, squares, iter(batches))
    return found


def chain(*sizes: int, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for before, after in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(before, after), activation()]
    return nn.Sequential(*layers[:-1])


def test_the_gradients_are_those_of_autograd() -> None:
    model, x, y = chain(3, 5, 2), torch.randn(8, 3), torch.randn(8, 2)
    squares(model(x), Batch(x, y)).backward()
    weights = [each.grad for each in model.parameters() if each.dim() > 1]
    first, last = (float(each.square().mean().sqrt()) for each in weights if each is not None)
    model.zero_grad()
    found = measured(model, x, y, by_layer=True)
    assert found["gradient_rms/0.weight"] == pytest.approx(first, rel=1e-4)
    assert found["gradient_flow"] == pytest.approx(first / last, rel=1e-4)
    assert all(each.grad is None for each in model.parameters())


def test_gradients_vanish_through_sigmoids_and_not_through_rectifiers() -> None:
    x, y = torch.randn(200, 20), torch.randn(200, 1)
    sigmoids = measured(chain(*[20] * 11, 1, activation=nn.Sigmoid), x, y)
    few = measured(chain(20, 20, 1), x, y)
    assert sigmoids["gradient_flow"] < 1e-3 < 0.01 < few["gradient_flow"]


def test_units_that_a_bias_holds_down_are_dead() -> None:
    model = chain(4, 10, 1)
    with torch.no_grad():
        model[0].bias[:3] = -100.0
    found = measured(model, torch.randn(400, 4), torch.randn(400, 1), by_layer=True)
    assert found["dead_units"] == pytest.approx(0.3) == found["dead_units/1"]
    assert 0.3 < found["activation_sparsity"] < 0.9
    assert "saturated_units" not in found


@pytest.mark.parametrize(("activation", "share"), [(nn.Tanh, 1.0), (nn.Sigmoid, 1.0)])
def test_units_of_large_weights_are_saturated(activation: type[nn.Module], share: float) -> None:
    model, x, y = chain(4, 10, 1, activation=activation), torch.randn(400, 4), torch.randn(400, 1)
    assert measured(model, x, y)["saturated_units"] == 0
    with torch.no_grad():
        model[0].weight.mul_(1e4)
    found = measured(model, x, y)
    assert found["saturated_units"] == share and "dead_units" not in found


def test_a_unit_of_a_convolution_is_a_channel() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 1))
    with torch.no_grad():
        model[0].bias[0] = -100.0
    found = measured(model, torch.randn(50, 1, 8, 8), torch.randn(50, 1))
    assert found["dead_units"] == 0.25


def test_only_so_many_rows_are_read() -> None:
    callback = registry.get("callback", NAME).build({"rows": 5})
    x = torch.randn(12, 3)
    batches = iter(Batch(x, x[:, :2]).split([4, 4, 4]))
    callback.measure(chain(3, 5, 2), squares, batches)
    assert len(list(batches)) == 1


def test_changes_are_relative_to_the_epoch_before() -> None:
    model, x, y = chain(3, 5, 2), torch.randn(8, 3), torch.randn(8, 2)
    callback = registry.get("callback", NAME).build({})

    def measure() -> dict[str, float]:
        found: dict[str, float] = callback.measure(model, squares, iter([Batch(x, y)]))
        return found

    assert "weight_change" not in measure()
    with torch.no_grad():
        model[0].weight.mul_(1.1)
        model[2].weight.mul_(1.4)
    found = measure()
    assert found["layer_speed"] == pytest.approx(0.25, rel=1e-4)
    assert 0.1 - 1e-4 < found["weight_change"] < 0.4 + 1e-4


class TestInATrainer:
    def test_goes_on_bit_for_bit_and_changes_nothing(self, wine: Data) -> None:
        watched = {"callbacks": [{"name": NAME, "rows": 50}]}
        norm = {"name": "mlp", "hidden_sizes": [16], "norm": "batch", "dropout": 0.2}
        trainers = [make(wine, model=norm, **watched) for _ in range(3)]
        curve = goes_on_bit_for_bit(trainers[0], trainers[1], trainers[2])
        assert {"gradient_flow", "dead_units", "layer_speed"} <= curve[-1].keys()
        plain = make(wine, model=norm)
        for with_it in curve:
            without = plain.train_epoch()
            assert without is not None
            assert {name: with_it[name] for name in without} | {"seconds": 0} == {
                **without,
                "seconds": 0,
            }

    def test_a_rate_that_is_too_high_kills_units(self, wine: Data) -> None:
        callbacks = [{"name": NAME}]
        healthy = make(wine, callbacks=callbacks).train_epoch()
        sgd = {"name": "sgd", "lr": 3.0}
        sick = make(wine, callbacks=callbacks, optimizer=sgd)
        for _ in range(3):
            found = sick.train_epoch()
        assert healthy is not None and found is not None
        assert healthy["dead_units"] == 0 < found["dead_units"]


@pytest.mark.parametrize(
    ("metric", "values", "name", "told"),
    [
        ("gradient_flow", 1e-5, "vanishing gradients", "is 1e-05 of the last layer's"),
        ("gradient_flow", 1e4, "exploding gradients", "is 1e+04 times the last layer's"),
        ("dead_units", 0.62, "dead units", "62% of the units after ReLU are 0"),
        ("saturated_units", 0.8, "saturated units", "80% of the units after tanh"),
    ],
)
def test_a_diagnosis_is_made_of_them(metric: str, values: float, name: str, told: str) -> None:
    loss = np.exp(-np.arange(10.0) / 3)
    healthy = {"gradient_flow": 0.5, "dead_units": 0.1, "saturated_units": 0.1}
    measures = {key: np.full(10, value) for key, value in {**healthy, metric: values}.items()}
    found = diagnose(Curves(train_loss=loss, val_loss=loss, **measures))
    assert found[0].name == name and told in found[0].message
    fine = {key: np.full(10, value) for key, value in healthy.items()}
    sound = diagnose(Curves(train_loss=loss, val_loss=loss, **fine))
    assert name not in [each.name for each in sound]


def test_a_layer_that_starts_dead_says_why() -> None:
    flat = np.full(10, 2.3)
    found = diagnose(Curves(train_loss=flat, val_loss=flat, gradient_flow=np.full(10, 1e-6)))
    assert [each.name for each in found] == ["dead start", "vanishing gradients"]


def test_its_metrics_may_be_searched_for_and_mistakes_are_told() -> None:
    objective = {"metric": "dead_units", "direction": "minimize"}
    raw = changed(callbacks=[{"name": NAME}], objective=objective)
    draft = draft_spec(raw)
    assert draft.spec is not None and not draft.problems
    with pytest.raises(SpecError, match=r"callbacks\.0\.rows: must be greater than or equal to 1"):
        check(draft_spec(changed(callbacks=[{"name": NAME, "rows": 0}])))
