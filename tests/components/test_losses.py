"""Losses: hand-worked values, and what every loss must be."""

from __future__ import annotations

import doctest
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import k1
from torch import Tensor, nn

import hpsearch.components.losses.base
from hpsearch import registry
from hpsearch.components.losses import Loss, make_loss
from hpsearch.components.losses.robust import AdaptiveRobust, general_loss, partition
from hpsearch.components.losses.weighting import UncertaintyWeighting
from hpsearch.errors import UserCodeError

COUNTS = (10, 20, 30)
REQUIRED: dict[str, dict[str, Any]] = {"weighted": {"weights": [1.0, 2.0, 0.5]}}
#: those of pairs have one output for two inputs: tests/components/test_pairs.py
NAMES = [
    name
    for name in registry.names("loss")
    if name not in ("contrastive", "pair_cross_entropy", "pair_hinge", "pair_mse")
]
#: rows of outputs, classes and, of the same rows, shares of classes
LOGITS = torch.tensor([[2.0, 1.0, 0.1]], dtype=torch.float64)
SHARES = torch.tensor([[0.7, 0.2, 0.1]], dtype=torch.float64)


def make(name: str, **keywords: Any) -> Loss:
    section = {"name": name, **REQUIRED.get(name, {}), **keywords}
    return make_loss(section, output_size=3, class_counts=COUNTS).double()


def inputs(loss: Loss, num_rows: int = 6) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    outputs = torch.randn(num_rows, 3, dtype=torch.float64)
    if "regression" in loss.kinds:
        return outputs, torch.randn(num_rows, 3, dtype=torch.float64)
    if loss.needs_soft_targets:
        return outputs, torch.rand(num_rows, 3, dtype=torch.float64).softmax(1)
    return outputs, torch.arange(num_rows) % 3


@pytest.mark.parametrize("name", NAMES)
class TestEveryLoss:
    def test_its_gradient_is_right(self, name: str) -> None:
        loss = make(name)
        outputs, targets = inputs(loss)
        outputs.requires_grad_()
        parameters = dict(loss.named_parameters())

        def value(outputs: Tensor, *values: Tensor) -> Tensor:
            state = dict(zip(parameters, values, strict=True))
            result: Tensor = torch.func.functional_call(loss, state, (outputs, targets))
            return result

        assert torch.autograd.gradcheck(value, (outputs, *parameters.values()))

    def test_it_is_finite_at_extreme_outputs(self, name: str) -> None:
        loss = make(name).float()
        _, targets = inputs(loss)
        targets = targets.float() if targets.is_floating_point() else targets
        for outputs in (torch.full((6, 3), 1e4), 1e4 * torch.eye(3).repeat(2, 1).roll(1, 0)):
            outputs.requires_grad_()
            value = loss(outputs, targets)
            (gradient,) = torch.autograd.grad(value, outputs)
            assert value.isfinite() and gradient.isfinite().all()

    def test_it_is_the_mean_over_rows(self, name: str) -> None:
        loss = make(name)
        outputs, targets = inputs(loss)
        rows = [loss(outputs[i : i + 1], targets[i : i + 1]).item() for i in range(6)]
        if "metric_learning" in loss.kinds:  # it is of a whole batch: a row has no triplets
            assert rows == [0.0] * 6 and loss(outputs, targets).item() > 0
            return
        assert loss(outputs, targets).item() == pytest.approx(np.mean(rows))

    def test_it_goes_down_the_gradient(self, name: str) -> None:
        loss = make(name)
        outputs, targets = inputs(loss)
        outputs = nn.Parameter(outputs)
        optimizer = torch.optim.SGD([outputs], lr=1e-3)
        before = loss(outputs, targets)
        before.backward()
        optimizer.step()
        assert loss(outputs, targets) < before

    def test_it_trains_many_in_one_program(self, name: str) -> None:
        loss = make(name)
        outputs, targets = inputs(loss)
        batch = torch.stack([outputs, 2 * outputs])
        gradients = torch.func.vmap(torch.func.grad(loss), (0, None))(batch, targets)
        for lane, gradient in zip(batch, gradients, strict=True):
            assert torch.allclose(gradient, torch.func.grad(loss)(lane, targets))


@pytest.mark.parametrize("name", [name for name in NAMES if "classification" in make(name).kinds])
def test_one_hot_shares_are_classes(name: str) -> None:
    loss = make(name)
    torch.manual_seed(0)
    outputs, classes = torch.randn(6, 3, dtype=torch.float64), torch.arange(6) % 3
    one_hot = F.one_hot(classes, 3).double()
    assert loss(outputs, one_hot).item() == pytest.approx(loss(outputs, classes).item())


@pytest.mark.parametrize(
    "name",
    ["cross_entropy", "soft_ce", "soft_bce", "l1_svm", "l2_svm", "poly_hinge", "perceptron"],
)
def test_of_mixed_labels_it_is_the_mixture(name: str) -> None:
    loss = make(name)
    classes = torch.tensor([0]), torch.tensor([2])
    first, second = (F.one_hot(each, 3).double() for each in classes)
    mixed = loss(LOGITS, 0.3 * first + 0.7 * second).item()
    expected = 0.3 * loss(LOGITS, first).item() + 0.7 * loss(LOGITS, second).item()
    assert mixed == pytest.approx(expected)


class TestClassification:
    def test_soft_labels(self) -> None:
        for name in ("cross_entropy", "soft_ce"):
            assert make(name)(LOGITS, SHARES).item() == pytest.approx(0.8070300163, abs=1e-10)
        entropy = -(SHARES * SHARES.log()).sum().item()
        assert entropy == pytest.approx(0.8018185525, abs=1e-10)
        assert make("soft_ce")(SHARES.log(), SHARES).item() == pytest.approx(entropy)

    @pytest.mark.parametrize(("smoothing", "value"), [(0.1, 0.5136966829), (0, 0.4170300163)])
    def test_label_smoothing(self, smoothing: float, value: float) -> None:
        loss = make("cross_entropy", label_smoothing=smoothing)
        assert loss(LOGITS, torch.tensor([0])).item() == pytest.approx(value, abs=1e-8)

    @pytest.mark.parametrize("smoothing", [0.0, 0.2])
    def test_rows_without_a_target_count_nowhere(self, smoothing: float) -> None:
        """Steps that a mask leaves out of a text, and pixels of no class."""
        outputs, classes = torch.randn(6, 3), torch.tensor([1, -100, 2, -100, -100, 0])
        found = make("cross_entropy", label_smoothing=smoothing)(outputs, classes)
        expected = F.cross_entropy(outputs, classes, label_smoothing=smoothing)
        assert found.item() == pytest.approx(expected.item(), rel=1e-6)

    def test_balanced_weights_are_scikit_learns(self) -> None:
        from sklearn.utils.class_weight import compute_class_weight

        loss = make("cross_entropy", class_weights="balanced")
        weights = compute_class_weight(
            "balanced", classes=np.arange(3), y=np.repeat(np.arange(3), COUNTS)
        )
        outputs, classes = torch.randn(6, 3, dtype=torch.float64), torch.arange(6) % 3
        plain = F.cross_entropy(outputs, classes, reduction="none")
        expected = (torch.from_numpy(weights)[classes] * plain).mean()
        assert loss(outputs, classes).item() == pytest.approx(expected.item())

    def test_brier(self) -> None:
        forecasts = torch.tensor([0.9, 0.6, 0.3, 0.1], dtype=torch.float64)
        logits = torch.stack([torch.zeros(4), forecasts.logit()], 1)
        classes = torch.tensor([1, 1, 0, 1])
        assert make("brier")(logits, classes).item() == pytest.approx(0.2675)
        assert make("brier")(0 * logits, classes).item() == pytest.approx(0.25)
        uniform = torch.zeros(1, 10, dtype=torch.float64)
        assert make("brier")(uniform, torch.tensor([3])).item() == pytest.approx(1 - 1 / 10)

    def test_binary_cross_entropy_of_degrees(self) -> None:
        expected = F.binary_cross_entropy(LOGITS.sigmoid(), SHARES)
        assert make("soft_bce")(LOGITS, SHARES).item() == pytest.approx(expected.item())

    def test_squared_hinge_is_one_vs_rest(self) -> None:
        scores, true = torch.tensor([[2.0, 0.5, -1.0]], dtype=torch.float64), torch.tensor([0])
        assert make("l2_svm")(scores, true).item() == 2.25
        assert F.multi_margin_loss(scores, true, p=2).item() == 0  # another loss
        assert make("l1_svm")(scores, true).item() == 1.5
        assert make("poly_hinge")(scores, true).item() == 1.5**3
        assert make("l2_svm", C=3.0)(scores, true).item() == 3 * 2.25
        scores.requires_grad_()
        (gradient,) = torch.autograd.grad(make("l2_svm")(scores, true), scores)
        assert gradient.tolist() == [[0, 3, 0]]  # -2 C t max(0, 1 - t z)

    def test_hinges_have_no_slope_beyond_the_margin(self) -> None:
        scores = torch.tensor([[1.0, -1.0, -2.0]], dtype=torch.float64, requires_grad=True)
        for name in ("l1_svm", "l2_svm", "poly_hinge"):
            (gradient,) = torch.autograd.grad(make(name)(scores, torch.tensor([0])), scores)
            assert gradient.tolist() == [[0, 0, 0]]

    def test_perceptron_learns_of_mistakes_only(self) -> None:
        scores = torch.tensor([[1.0, 3.0, 0.0], [0.0, 2.0, 1.0]], requires_grad=True)
        value = make("perceptron").float()(scores, torch.tensor([0, 1]))
        (gradient,) = torch.autograd.grad(value, scores)
        assert value.item() == pytest.approx(2 / 2)
        assert gradient.tolist() == [[-0.5, 0.5, 0], [0, 0, 0]]


class TestRegression:
    @pytest.mark.parametrize("delta", [0.5, 1.0, 2.0])
    def test_huber_is_torchs(self, delta: float) -> None:
        torch.manual_seed(0)
        outputs, targets = 3 * torch.randn(2, 20, 3, dtype=torch.float64)
        expected = F.huber_loss(outputs, targets, delta=delta)
        assert make("huber", delta=delta)(outputs, targets).item() == pytest.approx(
            expected.item()
        )

    def test_fixed_weights_add_up(self) -> None:
        outputs, targets = torch.tensor([[1.0, 2.0, 3.0]]).double(), torch.zeros(1, 3).double()
        assert make("weighted")(outputs, targets).item() == 1 * 1 + 2 * 4 + 0.5 * 9
        value = make("weighted", loss="l1")(outputs, targets).item()
        assert value == 1 * 1 + 2 * 2 + 0.5 * 3

    def test_uncertainty_learns_the_losses_scales(self) -> None:
        weighting = UncertaintyWeighting(2).double()
        losses = torch.tensor([0.01, 5.0], dtype=torch.float64)
        optimizer = torch.optim.LBFGS(weighting.parameters(), max_iter=100)

        def closure() -> Tensor:
            optimizer.zero_grad()
            value: Tensor = weighting(losses)
            value.backward()
            return value

        optimizer.step(closure)  # type: ignore[arg-type]
        assert torch.allclose(weighting.log_variance, losses.log(), atol=1e-4)
        assert weighting(losses).item() == pytest.approx((1 + losses.log()).sum().item() / 2)


SHAPES = (-math.inf, -2.0, 0.0, 1.0, 2.0, math.inf)
RHO = {
    1.0: (0.3934693403, 0.4, 0.4054651081, 0.4142135624, 0.5, 0.6487212707),
    3.0: (0.9888910035, 1.3846153846, 1.7047480922, 2.1622776602, 4.5, math.expm1(4.5)),
}


def rho(x: float, alpha: float, dtype: torch.dtype = torch.float64) -> Tensor:
    errors = torch.tensor(x, dtype=dtype, requires_grad=True)
    return general_loss(errors, torch.tensor(alpha, dtype=dtype), torch.ones((), dtype=dtype))


class TestRobust:
    @pytest.mark.parametrize("x", RHO)
    def test_values(self, x: float) -> None:
        for alpha, expected in zip(SHAPES, RHO[x], strict=True):
            assert rho(x, alpha).item() == pytest.approx(expected, rel=1e-8)
            assert rho(x, alpha, torch.float32).item() == pytest.approx(expected, rel=1e-5)

    def test_it_grows_with_alpha(self) -> None:
        values = [rho(1.7, alpha).item() for alpha in (-math.inf, *np.linspace(-6, 6, 61))]
        assert all(low < high for low, high in zip(values, values[1:], strict=False))

    @pytest.mark.parametrize("alpha", SHAPES)
    def test_its_derivative(self, alpha: float) -> None:
        errors = torch.tensor([-2.0, 0.3, 1.5], dtype=torch.float64, requires_grad=True)
        scale = 0.7
        z = (errors.detach() / scale) ** 2
        # x / c² (z / |a - 2| + 1)^(a/2 - 1), by its limits at 2 and infinity
        if math.isinf(alpha):
            factor = torch.exp(math.copysign(1, alpha) * z / 2)
        elif alpha == 2:
            factor = torch.ones(3)
        else:
            factor = (z / abs(alpha - 2) + 1) ** (alpha / 2 - 1)
        loss = general_loss(errors, torch.tensor(alpha), torch.tensor(scale))
        (gradient,) = torch.autograd.grad(loss.sum(), errors)
        expected = errors.detach() / scale**2 * factor
        assert torch.allclose(gradient, expected.double(), rtol=1e-6)

    @pytest.mark.parametrize(
        ("alpha", "expected"),
        [
            (0, math.pi * math.sqrt(2)),
            (0.5, 3.638993131),
            (1, 2 * math.e * k1(1)),
            (1.5, 2.965924889),
            (2, math.sqrt(2 * math.pi)),
            (4, 2.101960916),
            (math.inf, 2.024373468),
        ],
    )
    def test_partition(self, alpha: float, expected: float) -> None:
        assert partition(np.array(float(alpha))) == pytest.approx(expected, rel=3e-10)

    def test_the_spline_of_the_log_partition(self) -> None:
        alpha = np.linspace(0.003, 1.997, 2001)
        loss = AdaptiveRobust(1).double()
        found = loss.log_partition(torch.from_numpy(alpha)).numpy()
        assert np.abs(found - np.log(partition(alpha))).max() < 4e-6

    def test_adaptive_begins_at_alpha_1_and_scale_1(self) -> None:
        loss = AdaptiveRobust(3)
        assert torch.allclose(loss.alpha, torch.ones(3))
        assert torch.allclose(loss.scale, torch.ones(3))
        assert [p.shape for p in loss.parameters()] == [(3,), (3,)]

    @pytest.mark.parametrize(("outliers", "low", "high"), [(True, 0, 0.5), (False, 1.5, 2)])
    def test_it_learns_whether_there_are_outliers(
        self, outliers: bool, low: float, high: float
    ) -> None:
        slope, loss = fit_line(make("adaptive_robust"), outliers)
        assert slope == pytest.approx(2, abs=0.03)
        assert low < loss.alpha[0].item() < high

    def test_a_low_alpha_ignores_outliers(self) -> None:
        assert abs(fit_line(make("robust", alpha=2.0), True)[0] - 2) > 0.5
        for alpha in (1.0, 0.0, -2.0):
            slope, _ = fit_line(make("robust", alpha=alpha, scale=0.1), True)
            assert slope == pytest.approx(2, abs=0.15 if alpha == 1 else 0.03)


def fit_line(loss: Loss, outliers: bool) -> tuple[float, Any]:
    """Fit y = 2x with noise 0.1, and gross errors in 30 % of the rows; returns the slope."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, 400)
    y = 2 * x + 0.1 * rng.normal(size=400)
    if outliers:
        y = np.where(rng.uniform(size=400) < 0.3, y - 8 * x + rng.normal(size=400), y)
    x, y = (torch.from_numpy(part)[:, None] for part in (x, y))
    if isinstance(loss, AdaptiveRobust):
        loss = AdaptiveRobust(1).double()
    slope = nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = torch.optim.Adam([slope, *loss.parameters()], lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        loss(x * slope, y).backward()
        optimizer.step()
    return slope.item(), loss


USERS = """
import torch

def quartic(outputs, targets):
    return (outputs - targets).pow(4).mean()

def make_quartic():
    return quartic

def no_loss():
    return 4
"""


def test_a_users_loss(tmp_path: Path) -> None:
    (tmp_path / "user_losses.py").write_text(USERS)

    def built(name: str) -> Callable[..., Tensor]:
        return make_loss(f"user_losses.py:{name}", 3, folder=tmp_path)

    assert built("make_quartic")(torch.full((2, 1), 2.0), torch.zeros(2, 1)).item() == 16
    with pytest.raises(UserCodeError, match="^loss: .*no_loss must return a function"):
        built("no_loss")


def test_examples_in_docstrings() -> None:
    results = doctest.testmod(hpsearch.components.losses.base)
    assert (results.failed, results.attempted > 0) == (0, True)
