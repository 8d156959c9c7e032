"""Calibrations, the exported model, and what stands beside its scores."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss, mean_squared_error
from torch import Tensor

from hpsearch import registry
from hpsearch.analysis import SearchReport
from hpsearch.components import Data, load_data, task_for
from hpsearch.components.calibration import Calibration
from hpsearch.components.tasks.baselines import baseline_scores
from hpsearch.components.tasks.heads import Head
from hpsearch.errors import BadConfigurationError
from hpsearch.record import Outcome, Record
from hpsearch.spec import TrialConfig
from hpsearch.training import CrossValidation, Trainer, calibrate, export_model, make_trainer
from tests.support.records import add, make_spec

NAMES = registry.names("calibration")


def build(family: str, name: str, **offered: Any) -> Any:
    return registry.get(family, name).build({}, **offered)


def fitted(name: str, outputs: Tensor, targets: Tensor, head: str = "softmax") -> Calibration:
    calibration: Calibration = build("calibration", name, kind="classification")
    calibration.fit(build("head", head, kind="classification"), outputs, targets)
    return calibration


def overconfident(
    num_classes: int, num_rows: int = 20_000, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Logits three times those by which the classes were drawn."""
    torch.manual_seed(seed)
    logits = 2 * torch.randn(num_rows, num_classes)
    return 3 * logits, torch.multinomial(logits.softmax(1), 1)[:, 0]


def nll(calibration: Calibration, outputs: Tensor, targets: Tensor) -> float:
    return torch.nn.functional.cross_entropy(calibration(outputs), targets).item()


@pytest.mark.parametrize("num_classes", [2, 4])
@pytest.mark.parametrize("name", NAMES)
class TestEveryCalibration:
    def test_it_mends_overconfidence(self, name: str, num_classes: int) -> None:
        calibration = fitted(name, *overconfident(num_classes))
        outputs, targets = overconfident(num_classes, seed=1)
        right = torch.nn.functional.cross_entropy(outputs / 3, targets).item()
        wrong = torch.nn.functional.cross_entropy(outputs, targets).item()
        assert nll(calibration, outputs, targets) < right + 0.15 * (wrong - right)

    def test_it_gives_finite_logits(self, name: str, num_classes: int) -> None:
        calibration = fitted(name, *overconfident(num_classes, 200))
        extreme = 1e4 * torch.eye(num_classes)
        assert calibration(extreme).isfinite().all()
        assert calibration(torch.zeros(3, num_classes)).isfinite().all()

    def test_it_takes_shares_of_classes(self, name: str, num_classes: int) -> None:
        outputs, targets = overconfident(num_classes, 500)
        shares = torch.nn.functional.one_hot(targets, num_classes).float()
        hard, soft = (fitted(name, outputs, each) for each in (targets, shares))
        assert torch.allclose(hard(outputs), soft(outputs), atol=1e-5)

    @pytest.mark.parametrize("head", ["softmax", "sigmoid", "svm"])
    def test_its_answers_are_as_good(self, name: str, num_classes: int, head: str) -> None:
        outputs, targets = overconfident(num_classes, 2000)
        answers = fitted(name, outputs, targets, head)(outputs).argmax(1)
        before = (outputs.argmax(1) == targets).float().mean()
        if head != "sigmoid":  # whose probabilities these are not
            assert (answers == targets).float().mean() > before - 0.01
        if name == "temperature":
            assert torch.equal(answers, outputs.argmax(1))

    def test_it_survives_a_class_without_rows(self, name: str, num_classes: int) -> None:
        outputs, targets = overconfident(num_classes, 300)
        calibration = fitted(name, outputs, targets.clamp_max(num_classes - 2))
        assert calibration(outputs).isfinite().all()


def test_the_temperature_is_recovered() -> None:
    calibration = fitted("temperature", *overconfident(10))
    assert calibration.fitted["temperature"] == pytest.approx(3, abs=0.06)


@pytest.mark.parametrize("name", NAMES)
def test_answers_that_are_all_right_are_not_infinitely_sure(name: str) -> None:
    outputs = 10 * torch.eye(3).repeat(10, 1)
    probabilities = fitted(name, outputs, torch.arange(30) % 3)(outputs[:1]).softmax(1)
    assert 0.9 < probabilities[0, 0] < 0.9999


def test_vector_scaling_recovers_scales_and_shifts() -> None:
    torch.manual_seed(0)
    logits = 2 * torch.randn(20_000, 3)
    targets = torch.multinomial((logits * torch.tensor([1.0, 0.5, 2.0])).softmax(1), 1)[:, 0]
    shifted = logits + torch.tensor([0.0, 1.0, -1.0])
    calibration: Any = fitted("vector", shifted, targets)
    weight, bias = calibration.weight, calibration.bias
    assert torch.allclose(weight, torch.tensor([1.0, 0.5, 2.0]), atol=0.1)
    offsets = bias + weight * torch.tensor([0.0, 1.0, -1.0])
    assert torch.allclose(offsets - offsets[0], torch.zeros(3), atol=0.1)


def test_platts_is_a_logistic_regression() -> None:
    outputs, targets = overconfident(2, 5000)
    calibration: Any = fitted("platt", outputs, targets, "svm")
    margin = outputs.diff(dim=1).numpy()
    expected = LogisticRegression(C=np.inf).fit(margin, targets.numpy())
    # Platt's targets aren't quite 0 and 1
    assert calibration.slope.item() == pytest.approx(expected.coef_.item(), rel=0.02)
    probabilities = expected.predict_proba(margin)
    assert np.abs(calibration(outputs).softmax(1).numpy() - probabilities).max() < 0.01


def test_isotonic_is_scikit_learns() -> None:
    outputs, targets = overconfident(2, 2000)
    calibration = fitted("isotonic", outputs, targets)
    margin = outputs.diff(dim=1)[:, 0].double().numpy()
    curve = IsotonicRegression(out_of_bounds="clip").fit(margin, targets.numpy())
    rows = len(targets)  # and one more, of either class
    new = torch.linspace(-40, 40, 999)
    probabilities = calibration(torch.stack([torch.zeros(999), new], 1)).softmax(1)[:, 1]
    expected = (rows * curve.predict(new.double().numpy()) + 0.5) / (rows + 1)
    assert np.abs(probabilities.numpy() - expected).max() < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_what_has_no_classes_cannot_be_calibrated(name: str) -> None:
    with pytest.raises(BadConfigurationError, match="calibration: needs .* are for regression"):
        trainer(load_data({"name": "diabetes"}, seed=0), calibration={"name": name})


class TestHeads:
    @pytest.mark.parametrize("name", registry.names("head"))
    def test_outputs_of_forecasts(self, name: str) -> None:
        for kind in build("head", name, kind="classification").kinds:
            head: Head = build("head", name, kind=kind)
            forecasts = torch.tensor([[0.2, 0.7, 0.1], [0.6, 0.1, 0.3]])
            outputs = head.inverse(forecasts)
            assert torch.equal(outputs.argmax(1), forecasts.argmax(1))
            if head.gives_probabilities or kind == "regression":
                assert torch.allclose(head(outputs), forecasts)
            assert torch.equal((outputs > 0), forecasts > 0.5) or name in ("softmax", "linear")

    @pytest.mark.parametrize("name", ["softmax", "sigmoid"])
    def test_probabilities_are_the_softmax_of_logits(self, name: str) -> None:
        head: Head = build("head", name, kind="classification")
        outputs = 3 * torch.randn(20, 4)
        probabilities = head(outputs)
        assert torch.allclose(probabilities.sum(1), torch.ones(20))
        assert torch.allclose(head.logits(outputs).softmax(1), probabilities)

    def test_margins_of_softmax_are_log_odds(self) -> None:
        head: Head = build("head", "softmax", kind="classification")
        outputs = torch.randn(20, 4)
        expected = outputs.softmax(1).logit()
        assert torch.allclose(head.margins(outputs), expected, atol=1e-5)
        assert head.margins(1e4 * torch.eye(3)).isfinite().all()


def trainer(data: Data, **values: Any) -> Any:
    values = {
        "model": {"name": "mlp", "hidden_sizes": [32]},
        "optimizer": {"name": "adam", "lr": 0.01},
        "batch_size": 16,
        **values,
    }
    return make_trainer(TrialConfig(0, 0, 4, values), data)


def trained(data: Data, num_epochs: int = 3, **values: Any) -> Any:
    made = trainer(data, **values)
    for _ in range(num_epochs):
        made.train_epoch()
    return made


@pytest.fixture(scope="module")
def wine() -> Data:
    return load_data({"name": "wine"}, seed=0)


@pytest.fixture(scope="module")
def diabetes() -> Data:
    return load_data({"name": "diabetes"}, seed=0)


def raw_test_rows(data: Data) -> Tensor:
    split: Any = data.test
    return torch.from_numpy(data.as_raw(split.x))


class TestPredictor:
    def test_it_answers_with_probabilities(self, wine: Data) -> None:
        made = trained(wine)
        model, x = export_model(made), raw_test_rows(wine)
        probabilities = model.predict_proba(x)
        assert torch.allclose(probabilities, model(x).softmax(1))
        expected = made.evaluate("test")["test_accuracy"]
        right = (model.predict(x).numpy() == wine.test.y).mean()  # type: ignore[union-attr]
        assert right == pytest.approx(expected)

    def test_numbers_and_scores_have_no_probabilities(self, wine: Data, diabetes: Data) -> None:
        task = {"name": "classification", "loss": "l2_svm"}
        for data, values in ((diabetes, {}), (wine, {"task": task})):
            model, x = export_model(trainer(data, **values)), raw_test_rows(data)
            with pytest.raises(ValueError, match="this model gives no probabilities"):
                model.predict_proba(x)
            assert len(model.predict(x)) == len(x)

    @pytest.mark.parametrize("name", NAMES)
    def test_it_is_calibrated(self, wine: Data, name: str) -> None:
        task = {"name": "classification", "loss": "l2_svm"}
        made = trained(wine, task=task, calibration={"name": name})
        calibrated = calibrate(made, [made])
        assert calibrated is not None
        model = pickle.loads(pickle.dumps(export_model(made, calibrated.calibration)))
        probabilities = model.predict_proba(raw_test_rows(wine)).detach().double().numpy()
        probabilities /= probabilities.sum(1, keepdims=True)  # float32 has seven digits
        scores = calibrated.report["after"]["scores"]
        classes = wine.test.y  # type: ignore[union-attr]
        assert scores["log_loss"] == pytest.approx(log_loss(classes, probabilities), rel=1e-3)
        assert scores["accuracy"] == accuracy_score(classes, probabilities.argmax(1))
        assert calibrated.report["rows"] == len(wine.val)  # type: ignore[arg-type]

    def test_folds_calibrate_on_rows_they_have_not_seen(self) -> None:
        data = load_data({"name": "wine", "folds": 3}, seed=0)
        folds = trained(data, calibration={"name": "temperature"})
        assert isinstance(folds, CrossValidation)
        whole = Trainer(folds.trainers[0].config, data.merged())
        calibrated = calibrate(whole, folds.trainers)
        assert calibrated is not None
        assert calibrated.report["rows"] == len(data.train)  # type: ignore[arg-type]


class TestBaselines:
    def test_of_classes(self, wine: Data) -> None:
        found = baseline_scores(task_for(wine), wine)
        train, test = wine.train, wine.test
        for name, strategy in (
            ("prior", "prior"),
            ("majority", "most_frequent"),
            ("uniform", "uniform"),
        ):
            dummy = DummyClassifier(strategy=strategy).fit(train.x, train.y)  # type: ignore[union-attr]
            probabilities = dummy.predict_proba(test.x)  # type: ignore[union-attr]
            classes = test.y  # type: ignore[union-attr]
            if name == "majority":
                assert "test_loss" not in found[name]  # a wrong certainty costs infinitely much
            else:
                loss = log_loss(classes, probabilities)
                assert found[name]["test_loss"] == pytest.approx(loss, rel=1e-5)
            accuracy = accuracy_score(classes, probabilities.argmax(1))
            assert found[name]["test_accuracy"] == pytest.approx(accuracy)

    def test_of_numbers(self, diabetes: Data) -> None:
        found = baseline_scores(task_for(diabetes), diabetes)
        train, test = diabetes.train, diabetes.test
        std = diabetes.y_scale.std
        for name in ("mean", "median"):
            dummy = DummyRegressor(strategy=name).fit(train.x, train.y)  # type: ignore[union-attr]
            predicted = dummy.predict(test.x).reshape(-1, 1)  # type: ignore[union-attr]
            expected = mean_squared_error(test.y * std, predicted * std)  # type: ignore[union-attr]
            assert found[name]["test_loss"] == pytest.approx(expected, rel=1e-5)

    @pytest.mark.parametrize("loss", ["cross_entropy", "soft_bce", "l2_svm", "brier"])
    def test_they_have_a_tasks_scores(self, wine: Data, loss: str) -> None:
        metrics = ["roc_auc", "balanced_accuracy"]
        task = task_for(wine, {"name": "classification", "loss": loss, "metrics": metrics})
        found = baseline_scores(task, wine)
        for name in ("prior", "majority", "uniform"):
            assert found[name]["val_roc_auc"] == pytest.approx(0.5)
            assert found[name]["val_balanced_accuracy"] == pytest.approx(1 / 3)


def test_the_report_tells_of_both(tmp_path: Path, wine: Data) -> None:
    made = trained(wine, calibration={"name": "temperature"})
    calibrated = calibrate(made, [made])
    assert calibrated is not None
    record = Record.create(tmp_path / "record.journal", make_spec())
    add(record, [0.5] * 9, Outcome.COMPLETED)
    assert "## Baselines" not in SearchReport(record).to_markdown()
    baselines = baseline_scores(made.task, wine)
    record.set_result(
        test_metrics=made.evaluate("test"), baselines=baselines, calibration=calibrated.report
    )
    report = SearchReport(Record.open(tmp_path / "record.journal", "demo"))
    report.record.trials = record.trials
    text = report.to_markdown()
    assert "| metric | trial 0 | prior | majority | uniform |" in text
    majority, own = baselines["majority"]["test_accuracy"], made.evaluate("test")["test_accuracy"]
    assert re.search(rf"\| `test_accuracy` \| {own:.4g} \| .* \| {majority:.4g} \|", text)
    assert "calibrated by `temperature`, fitted on" in text
    figure = report.figures["reliability"]
    assert [trace.name for trace in figure.data] == ["calibrated", "before", "after"]
    assert 'data-figure="reliability"' in report.to_html()
