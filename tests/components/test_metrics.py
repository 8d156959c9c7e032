"""Metrics: hand-worked values, other libraries' values, and what every metric must be."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn_metrics
from torchmetrics.functional.classification import multiclass_calibration_error

from hpsearch import registry
from hpsearch.components.metrics import METRICS, Metric, Predictions

NAMES = registry.names("metric")
ROWS = 60


def make(name: str, num_classes: int = 3, counts: Any = (), **keywords: Any) -> Metric:
    metric: Metric = METRICS.build(
        {"name": name, **keywords}, output_size=num_classes, class_counts=counts
    )
    return metric


def score(name: str, seen: Predictions, **keywords: Any) -> float | None:
    (value,) = make(name, seen.outputs.shape[1], **keywords).measure(seen)
    return value


def forecasts(probabilities: list[float], classes: list[int]) -> Predictions:
    """Forecasts of the second of two classes."""
    second = np.array(probabilities)
    return Predictions(np.stack([1 - second, second], 1), np.eye(2)[classes])


def random(kind: str = "classification", num_classes: int = 3, seed: int = 0) -> Predictions:
    rng = np.random.default_rng(seed)
    outputs = rng.normal(size=(ROWS, num_classes))
    if kind == "regression":
        return Predictions(outputs, rng.normal(size=(ROWS, num_classes)), "regression")
    if kind == "multilabel":
        labels = (rng.uniform(size=(ROWS, num_classes)) > 0.6).astype(float)
        return Predictions(1 / (1 + np.exp(-outputs)), labels, "multilabel")
    probabilities = np.exp(outputs) / np.exp(outputs).sum(1, keepdims=True)
    return Predictions(probabilities, np.eye(num_classes)[np.arange(ROWS) % num_classes])


def keywords(name: str) -> dict[str, Any]:
    return {"k": 2} if name == "top_k_accuracy" else {}


@pytest.mark.parametrize("name", NAMES)
class TestEveryMetric:
    def test_it_has_names_for_finite_scores(self, name: str) -> None:
        metric = make(name, **keywords(name))
        for kind in metric.kinds:
            values = metric.measure(random(kind))
            assert len(values) == len(metric.names)
            assert all(isinstance(value, float) and math.isfinite(value) for value in values)

    def test_the_order_of_rows_is_nothing_to_it(self, name: str) -> None:
        metric = make(name, **keywords(name))
        for kind in metric.kinds:
            seen = random(kind)
            rows = np.random.default_rng(1).permutation(ROWS)
            turned = Predictions(seen.outputs[rows], seen.targets[rows], seen.kind)
            assert metric.measure(turned) == pytest.approx(metric.measure(seen))

    def test_sure_right_answers_are_no_worse(self, name: str) -> None:
        metric = make(name, **keywords(name))
        for kind in metric.kinds:
            seen = random(kind)
            best = metric.measure(Predictions(seen.targets, seen.targets, seen.kind))
            errors = [*(f"brier_{part}" for part in ("reliability", "uncertainty"))]
            errors += ["log_loss", "kl_to_labels", "brier", "ece", "adaptive_ece", "mce"]
            errors += ["mae", "rmse"]
            for each, first, other in zip(metric.names, best, metric.measure(seen), strict=True):
                assert first is not None and other is not None
                assert (first <= other) if each in errors else (first >= other)

    def test_certain_wrong_answers_have_a_score(self, name: str) -> None:
        metric = make(name, **keywords(name))
        if "classification" in metric.kinds:
            seen = random()
            wrong = Predictions(np.roll(seen.targets, 1, 1), seen.targets)
            values = metric.measure(wrong)
            assert all(value is not None and math.isfinite(value) for value in values)


class TestProbabilities:
    def test_brier(self) -> None:
        four = forecasts([0.9, 0.6, 0.3, 0.1], [1, 1, 0, 1])
        assert score("brier", four) == pytest.approx(0.2675)
        second = four.outputs[:, 1]
        assert sklearn_metrics.brier_score_loss(four.classes, second) == pytest.approx(0.2675)
        assert score("brier", forecasts([0.5] * 4, [0, 1, 1, 0])) == pytest.approx(0.25)
        ten = Predictions(np.full((5, 10), 0.1), np.eye(10)[:5])
        assert score("brier", ten) == pytest.approx(1 - 1 / 10)

    def test_brier_of_several_classes_is_scikit_learns(self) -> None:
        seen = random()
        expected = sklearn_metrics.brier_score_loss(seen.classes, seen.outputs, labels=range(3))
        assert score("brier", seen) == pytest.approx(expected)

    def test_a_constant_forecast_of_a_rare_class_scores_well(self) -> None:
        rare = forecasts([0.01] * 100, [1] + [0] * 99)
        assert score("brier", rare) == pytest.approx(0.0099)
        assert score("brier_skill", rare, counts=(99, 1)) == pytest.approx(0)
        assert score("brier_skill", rare) == pytest.approx(0)

    def test_skill_is_relative_to_the_training_rows(self) -> None:
        seen = random()
        prior = np.broadcast_to([0.5, 0.3, 0.2], seen.outputs.shape)
        reference = score("brier", Predictions(prior, seen.targets))
        brier = score("brier", seen)
        assert brier is not None and reference is not None
        skill = score("brier_skill", seen, counts=(50, 30, 20))
        assert skill == pytest.approx(1 - brier / reference)

    @pytest.mark.parametrize("num_classes", [2, 4])
    def test_the_parts_add_up_to_the_score(self, num_classes: int) -> None:
        rng = np.random.default_rng(0)
        levels = rng.dirichlet(np.ones(num_classes), 3)[rng.integers(3, size=ROWS)]
        seen = Predictions(levels, np.eye(num_classes)[rng.integers(num_classes, size=ROWS)])
        parts = make("brier_parts", num_classes, num_bins=1000).measure(seen)
        reliability, resolution, uncertainty = (part or 0.0 for part in parts)
        assert score("brier", seen) == pytest.approx(reliability - resolution + uncertainty)

    @pytest.mark.parametrize("num_classes", [2, 10])
    def test_log_loss(self, num_classes: int) -> None:
        targets = np.eye(num_classes)[np.arange(ROWS) % num_classes]
        uniform = Predictions(np.full_like(targets, 1 / num_classes), targets)
        assert score("log_loss", uniform) == pytest.approx(math.log(num_classes))
        seen = random(num_classes=num_classes)
        expected = sklearn_metrics.log_loss(seen.classes, seen.outputs)
        assert score("log_loss", seen) == pytest.approx(expected)

    def test_log_loss_of_the_prior_is_its_entropy(self) -> None:
        seen = forecasts([0.25] * 8, [0, 0, 0, 1] * 2)
        entropy = -0.25 * math.log(0.25) - 0.75 * math.log(0.75)
        assert score("log_loss", seen) == pytest.approx(entropy)

    def test_divergence_from_soft_labels(self) -> None:
        labels = np.array([[0.7, 0.2, 0.1]])
        logits = np.array([[2.0, 1.0, 0.1]])
        soft = Predictions(np.exp(logits) / np.exp(logits).sum(), labels)
        assert score("log_loss", soft) == pytest.approx(0.8070300163)
        assert score("kl_to_labels", soft) == pytest.approx(0.8070300163 - 0.8018185525)
        assert score("kl_to_labels", Predictions(labels, labels)) == pytest.approx(0)

    def test_calibration_error(self) -> None:
        four = forecasts([0.1, 0.2, 0.3, 0.4], [0, 1, 0, 1])  # confidence 0.9, 0.8, 0.7, 0.6
        assert score("ece", four, num_bins=10) == pytest.approx(0.45)
        assert score("mce", four, num_bins=10) == pytest.approx(0.8)
        assert score("adaptive_ece", four, num_bins=4) == pytest.approx(0.45)
        assert score("adaptive_ece", four, num_bins=2) == pytest.approx(0.25)

    @pytest.mark.parametrize(("name", "norm"), [("ece", "l1"), ("mce", "max")])
    def test_calibration_error_is_torchmetrics(self, name: str, norm: Any) -> None:
        seen = random(num_classes=5)
        outputs, classes = torch.from_numpy(seen.outputs), torch.from_numpy(seen.classes)
        expected = multiclass_calibration_error(outputs, classes, 5, n_bins=15, norm=norm)
        assert score(name, seen) == pytest.approx(expected.item(), rel=1e-5)


class TestRanking:
    def test_ties_count_half(self) -> None:
        seen = forecasts([0.1, 0.4, 0.4, 0.8], [0, 0, 1, 1])
        assert score("roc_auc", seen) == pytest.approx((1 + 1 + 1 + 0.5) / 4)

    def test_it_is_invariant_to_monotone_maps(self) -> None:
        seen = random(num_classes=2)
        mapped = forecasts((seen.outputs[:, 1] ** 3).tolist(), seen.classes.tolist())
        assert score("roc_auc", mapped) == pytest.approx(score("roc_auc", seen))

    @pytest.mark.parametrize("multi_class", ["ovr", "ovo"])
    def test_several_classes(self, multi_class: Any) -> None:
        seen = random()
        expected = sklearn_metrics.roc_auc_score(
            seen.classes, seen.outputs, multi_class=multi_class
        )
        assert score("roc_auc", seen, multi_class=multi_class) == pytest.approx(expected)

    @pytest.mark.parametrize("multi_class", ["ovr", "ovo"])
    def test_it_is_undefined_without_a_class(self, multi_class: Any) -> None:
        seen = random()
        rows = seen.classes != 1
        without = Predictions(seen.outputs[rows], seen.targets[rows])
        assert score("roc_auc", without, multi_class=multi_class) is None
        constant = forecasts([0.2, 0.3], [0, 0])
        assert score("roc_auc", constant, multi_class=multi_class) is None


class TestAnswers:
    def test_they_are_scikit_learns(self) -> None:
        seen = random()
        true, answers = seen.classes, seen.answers
        expected = {
            "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(true, answers),
            "mcc": sklearn_metrics.matthews_corrcoef(true, answers),
        }
        assert {name: score(name, seen) for name in expected} == pytest.approx(expected)
        for average in ("macro", "micro", "weighted"):
            f1 = sklearn_metrics.f1_score(true, answers, average=average)
            assert score("f1", seen, average=average) == pytest.approx(f1)
        top = sklearn_metrics.top_k_accuracy_score(true, seen.outputs, k=2)
        assert score("top_k_accuracy", seen, k=2) == pytest.approx(top)

    def test_a_class_without_rows_has_no_recall(self) -> None:
        seen = random()
        rows = seen.classes != 1
        without = Predictions(seen.outputs[rows], seen.targets[rows])
        first, none, third = make("recall_per_class").measure(without)
        assert none is None and first is not None and third is not None
        assert score("balanced_accuracy", without) == pytest.approx((first + third) / 2)
