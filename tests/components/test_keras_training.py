"""What trains a model as Keras has it: losses, penalties, constraints, schedules, callbacks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hpsearch.components.losses import make_loss
from hpsearch.components.metrics import METRICS, Predictions
from hpsearch.registry import ComponentOf
from tests.support import keras_formulas as keras
from tests.support.keras_formulas import normal, of
from tests.support.keras_training import EPOCHS, METRIC_FORMULAS, SCHEDULES, STEPS, TOTAL
from tests.support.schedules import progress


class TestLosses:
    """Keras gives a value for each row, and their mean."""

    @pytest.mark.parametrize("smoothing", [0.0, 0.2])
    def test_categorical_crossentropy(self, smoothing: float) -> None:
        z, y = normal(8, 3), np.eye(3)[np.arange(8) % 3]
        expected = keras.categorical_crossentropy(y, z, smoothing).mean()
        for name, targets in (("cross_entropy", np.arange(8) % 3), ("soft_ce", y)):
            loss = make_loss({"name": name, "label_smoothing": smoothing}, 3, (3, 3, 2)).double()
            assert loss(of(z), of(targets)).item() == pytest.approx(expected)

    def test_class_weights_are_divided_by_the_rows(self) -> None:
        z, classes = normal(8, 3), np.arange(8) % 3
        counts = np.array([1, 2, 5])
        loss = make_loss({"name": "cross_entropy", "class_weights": "balanced"}, 3, [1, 2, 5])
        weights = (counts.sum() / (3 * counts))[classes]
        expected = (weights * keras.categorical_crossentropy(np.eye(3)[classes], z)).mean()
        assert loss.double()(of(z), of(classes)).item() == pytest.approx(expected)

    @pytest.mark.parametrize(
        ("name", "formula", "outputs"),
        [
            ("soft_bce", keras.binary_crossentropy, 1),
            ("l1_svm", keras.hinge, 3),  # Keras's is the mean over outputs, ours the sum
            ("l2_svm", keras.squared_hinge, 3),
        ],
    )
    def test_of_labels(self, name: str, formula: Any, outputs: int) -> None:
        z, y = normal(8, 3), (normal(8, 3, seed=1) > 0).astype(float)
        ours = make_loss(name, 3).double()(of(z), of(y)).item()
        assert ours == pytest.approx(outputs * formula(y, z).mean())

    @pytest.mark.parametrize(
        ("section", "formula"),
        [
            ("mse", lambda y, z: (z - y) ** 2),
            ("l1", lambda y, z: np.abs(z - y)),
            ("huber", keras.huber),
            ({"name": "huber", "delta": 0.4}, lambda y, z: keras.huber(y, z, 0.4)),
        ],
    )
    def test_of_numbers(self, section: Any, formula: Any) -> None:
        z, y = 2 * normal(8, 3), normal(8, 3, seed=1)
        ours = make_loss(section, 3).double()(of(z), of(y)).item()
        assert ours == pytest.approx(formula(y, z).mean())

    def test_loss_weights(self) -> None:
        z, y = normal(8, 2), normal(8, 2, seed=1)
        ours = make_loss({"name": "weighted", "weights": [1.0, 3.0]}, 2).double()(of(z), of(y))
        assert ours.item() == pytest.approx(((z - y) ** 2).mean(0) @ [1, 3])


class TestHeads:
    def test_of_classes_and_labels(self) -> None:
        z = normal(6, 3)
        for name, kind, formula in (
            ("softmax", "classification", keras.softmax),
            ("sigmoid", "multilabel", keras.ACTIVATIONS["sigmoid"]),
            ("linear", "regression", keras.ACTIVATIONS["identity"]),
        ):
            ours = ComponentOf("head").build(name, kind=kind)(of(z)).numpy()
            np.testing.assert_allclose(ours, formula(z))


@pytest.mark.parametrize("name", METRIC_FORMULAS)
def test_a_metric(name: str) -> None:
    """Of one target: of several, the root of `rmse` is taken target by target."""
    is_regression = name in ("mae", "rmse")
    outputs, targets = (
        normal(30, 1, seed=seed) if is_regression else keras.softmax(normal(30, 3, seed=seed))
        for seed in (0, 1)
    )
    seen = Predictions(outputs, targets, "regression" if is_regression else "classification")
    (ours,) = METRICS.build(name, output_size=3, class_counts=()).measure(seen)
    assert ours == pytest.approx(METRIC_FORMULAS[name](outputs, targets))


def test_metrics_of_answers() -> None:
    """TopKCategoricalAccuracy, F1Score and the recall of each class."""
    outputs, classes = keras.softmax(normal(60, 5)), np.arange(60) % 5
    seen = Predictions(outputs, np.eye(5)[classes])
    rank = (outputs > outputs[np.arange(60), classes][:, None]).sum(1)
    answers = outputs.argmax(1)
    found = np.array([((answers == k) & (classes == k)).sum() for k in range(5)])
    expected: dict[str, Any] = {
        "top_k_accuracy": [(rank < 2).mean()],
        "recall_per_class": found / 12,
        "f1": [(2 * found / (12 + np.bincount(answers, minlength=5))).mean()],
    }
    for name, values in expected.items():
        section = {"name": name, **({"k": 2} if name == "top_k_accuracy" else {})}
        made = METRICS.build(section, output_size=5, class_counts=())
        np.testing.assert_allclose(made.measure(seen), values)


class TestWeights:
    """A kernel of Keras's is (inputs, units): the transpose of ours."""

    def model(self) -> nn.Linear:
        layer = nn.Linear(4, 3).double()
        layer.weight.data.copy_(of(3 * normal(3, 4)))
        return layer

    @pytest.mark.parametrize(
        ("section", "formula"),
        [
            ({"name": "l1", "strength": 0.1}, lambda w: 0.1 * np.abs(w).sum()),
            ({"name": "l2", "strength": 0.1}, lambda w: 0.1 * (w**2).sum()),
            (
                {"name": "elastic_net", "l1_strength": 0.1, "l2_strength": 0.2},
                lambda w: 0.1 * np.abs(w).sum() + 0.2 * (w**2).sum(),
            ),
        ],
    )
    def test_a_regularizer(self, section: Any, formula: Any) -> None:
        layer = self.model()
        penalty = ComponentOf("regularizer").build(section, model=layer)()
        assert penalty.item() == pytest.approx(formula(layer.weight.detach().numpy().T))

    @pytest.mark.parametrize(
        ("section", "formula"),
        [
            ({"name": "max_norm", "c": 2.0}, lambda w, norms: w * np.minimum(norms, 2) / norms),
            ("unit_norm", lambda w, norms: w / norms),
            ("non_neg", lambda w, norms: np.maximum(w, 0)),
        ],
    )
    def test_a_constraint(self, section: Any, formula: Any) -> None:
        layer = self.model()
        kernel = layer.weight.detach().numpy().T.copy()
        norms = np.sqrt((kernel**2).sum(0, keepdims=True))  # axis=0
        ComponentOf("constraint").build(section, model=layer)()
        expected = formula(kernel, norms)
        np.testing.assert_allclose(layer.weight.detach().numpy().T, expected, rtol=1e-6)


class TestGradients:
    @pytest.mark.parametrize(
        ("section", "formula"),
        [
            # global_clipnorm, and clipvalue
            ({"name": "norm", "max_norm": 0.5}, lambda g, norm: g * min(1.0, 0.5 / norm)),
            ({"name": "value", "max_value": 0.5}, lambda g, norm: np.clip(g, -0.5, 0.5)),
        ],
    )
    def test_are_clipped(self, section: Any, formula: Any) -> None:
        gradients = [normal(3, 4), normal(3, seed=1)]
        params = [nn.Parameter(torch.zeros(each.shape).double()) for each in gradients]
        for param, gradient in zip(params, gradients, strict=True):
            param.grad = of(gradient.copy())
        norm = math.sqrt(sum((each**2).sum() for each in gradients))
        ComponentOf("gradient_clip").build(section)(params, torch.tensor(norm))
        for param, gradient in zip(params, gradients, strict=True):
            assert param.grad is not None
            np.testing.assert_allclose(param.grad.numpy(), formula(gradient, norm), rtol=1e-5)


def test_gaussian_noise() -> None:
    """GaussianNoise adds normal numbers of a deviation."""
    torch.manual_seed(0)
    augment = ComponentOf("augmentation").build({"name": "gaussian_noise", "std": 0.3})
    noise = augment(torch.ones(1000, 20), torch.zeros(1000))[0] - 1
    assert noise.mean().item() == pytest.approx(0, abs=0.01)
    assert noise.std().item() == pytest.approx(0.3, rel=0.02)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule(name: str) -> None:
    keywords, formula = SCHEDULES[name]
    schedule = ComponentOf("lr_schedule").build({"name": name, **keywords})
    ours = [schedule(each) for each in progress(EPOCHS, STEPS)]
    assert ours == pytest.approx([formula(step) for step in range(TOTAL)], abs=1e-9)


CURVE = [1.0, 0.8, 0.9, 0.85, 0.79, 0.8, 0.81, 0.9, 0.7, 0.71, 0.72, 0.73, 0.74, 0.75]


class TestCallbacks:
    def test_reduce_lr_on_plateau(self) -> None:
        """Ours is torch's, which waits for one epoch more than Keras."""
        ours = ComponentOf("lr_schedule").build(
            {"name": "plateau", "patience": 1, "factor": 0.5, "threshold": 0.0, "min_factor": 0.2}
        )
        best, wait, rate, patience = math.inf, 0, 1.0, 2
        for loss in CURVE:
            if loss < best:
                best, wait = loss, 0
            else:
                wait += 1
                if wait >= patience:
                    rate, wait = max(0.5 * rate, 0.2), 0
            ours.observe({"val_loss": loss})
            assert ours(next(iter(progress(1, 1)))) == pytest.approx(rate)
        assert rate == 0.2

    @pytest.mark.parametrize(("patience", "min_delta"), [(1, 0.0), (2, 0.0), (3, 0.05)])
    def test_early_stopping(self, patience: int, min_delta: float) -> None:
        """EarlyStopping(restore_best_weights=True)."""
        best, wait, best_epoch, end = math.inf, 0, 0, None
        for epoch, loss in enumerate(CURVE):
            wait += 1
            if loss < best - min_delta:
                best, wait, best_epoch = loss, 0, epoch
            elif wait >= patience:
                end = epoch
                break
        section = {"name": "early_stopping", "patience": patience, "min_delta": min_delta}
        callback = ComponentOf("callback").build(section, metrics=("val_loss",))
        model = nn.Linear(1, 1, bias=False)
        for epoch, loss in enumerate(CURVE):
            model.weight.data.fill_(epoch)
            callback.after_epoch(model, {"val_loss": loss}, is_last=epoch == len(CURVE) - 1)
            if callback.is_over:
                break
        assert (epoch if callback.is_over else None) == end
        assert model.weight.item() == best_epoch
