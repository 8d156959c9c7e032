"""Tasks: losses and metrics, against scikit-learn's."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    hamming_loss,
    log_loss,
    mean_absolute_error,
    mean_squared_error,
    r2_score,
)
from torch import Tensor, nn

from hpsearch import registry
from hpsearch.components import Data, epoch_metrics, load_data, task_for
from hpsearch.components.batch import Batch
from hpsearch.components.tasks import Task
from hpsearch.components.tasks.regression import regression
from hpsearch.errors import BadConfigurationError, DataError, SpecError
from hpsearch.spec import TrialConfig, draft_spec
from hpsearch.training import Trainer
from hpsearch.validation import check
from tests.support.specs import changed
from tests.support.trainers import goes_on_bit_for_bit


@pytest.fixture(scope="module")
def wine() -> Data:
    return load_data({"name": "wine"}, seed=0)


@pytest.fixture(scope="module")
def diabetes() -> Data:
    return load_data({"name": "diabetes"}, seed=0)


@pytest.fixture(scope="module")
def pairs() -> Data:
    return load_data({"name": "wine", "kind": "pairs"}, seed=0)


@pytest.fixture(scope="module")
def classes() -> Data:
    return load_data({"name": "wine", "kind": "metric_learning"}, seed=0)


def metrics(task: Task, outputs: Tensor, targets: Tensor) -> dict[str, float]:
    """Add up the totals of three unequal batches."""
    sizes = [5, 1, 44]
    batches = zip(outputs.split(sizes), Batch((), targets).split(sizes), strict=True)
    totals = torch.stack([task.totals(*batch) for batch in batches]).sum(0)
    return task.summary(totals.tolist())


def test_classification(wine: Data) -> None:
    torch.manual_seed(0)
    outputs, targets = torch.randn(50, 3), torch.randint(3, (50,))
    task = task_for(wine, {"name": "classification", "label_smoothing": 0.1})
    found = metrics(task, outputs, targets)
    # the loss that is reported has no smoothing
    assert found["loss"] == pytest.approx(log_loss(targets, outputs.double().softmax(1)), rel=1e-5)
    assert found["accuracy"] == accuracy_score(targets, outputs.argmax(1))


def test_label_smoothing_is_trained_on(wine: Data) -> None:
    torch.manual_seed(0)
    outputs, targets = torch.randn(50, 3), torch.randint(3, (50,))
    smooth = 0.3 / 3 + 0.7 * torch.nn.functional.one_hot(targets, 3)
    expected = -(smooth * outputs.log_softmax(1)).sum(1).mean()
    task = task_for(wine, {"name": "classification", "label_smoothing": 0.3})
    assert task.loss(outputs, Batch((), targets)).item() == pytest.approx(
        expected.item(), rel=1e-5
    )


@pytest.mark.parametrize("loss", ["mse", "l1"])
def test_regression_reports_the_squared_error_in_the_targets_units(
    diabetes: Data, loss: str
) -> None:
    torch.manual_seed(0)
    outputs, targets = torch.randn(50, 1), torch.randn(50, 1)
    section = {"name": "regression", "loss": loss, "metrics": ["mae", "rmse"]}
    task = task_for(diabetes, section)
    found = metrics(task, outputs, targets)
    scale = diabetes.y_scale
    raw_outputs, raw_targets = (
        values.numpy() * scale.std + scale.mean for values in (outputs, targets)
    )
    squared, absolute = (
        score(raw_targets, raw_outputs) for score in (mean_squared_error, mean_absolute_error)
    )
    assert found["loss"] == pytest.approx(squared, rel=1e-4)
    assert found["r2"] == pytest.approx(r2_score(raw_targets, raw_outputs), rel=1e-4)
    score = {"mse": mean_squared_error, "l1": mean_absolute_error}[loss]
    assert task.loss(outputs, Batch((), targets)).item() == pytest.approx(
        score(targets, outputs), rel=1e-5
    )
    assert found["criterion"] == pytest.approx(score(targets, outputs), rel=1e-5)
    expected = {"mae": absolute, "rmse": np.sqrt(squared)}
    assert task.measure(outputs, targets) == pytest.approx(expected, rel=1e-4)


def test_huber_is_squared_near_and_linear_far(diabetes: Data) -> None:
    task = task_for(diabetes, {"name": "regression", "loss": "huber"})
    outputs, targets = torch.tensor([[0.5], [3.0]]), torch.zeros(2, 1)
    assert task.loss(outputs[:1], Batch((), targets[:1])).item() == pytest.approx(0.125)
    assert task.loss(outputs[1:], Batch((), targets[1:])).item() == pytest.approx(2.5)


def test_several_targets_are_averaged() -> None:
    torch.manual_seed(0)
    outputs, targets = torch.randn(50, 3), torch.randn(50, 3)
    stds = np.array([1.0, 10.0, 0.1])
    found = metrics(regression(3, stds.tolist(), folder=None), outputs, targets)
    assert found["r2"] == pytest.approx(r2_score(targets, outputs), rel=1e-4)
    expected = mean_squared_error(targets.numpy() * stds, outputs.numpy() * stds)
    assert found["loss"] == pytest.approx(expected, rel=1e-4)


def test_targets_that_never_vary_score_0(diabetes: Data) -> None:
    assert metrics(task_for(diabetes), torch.randn(50, 1), torch.ones(50, 1))["r2"] == 0


def test_the_data_says_what_the_task_is(wine: Data, diabetes: Data) -> None:
    assert task_for(wine).metrics == ("loss", "accuracy")
    assert task_for(diabetes).metrics == ("loss", "r2")


@pytest.mark.parametrize("section", [{"name": "regression"}, {"name": "regression", "loss": "l1"}])
def test_a_task_for_other_targets(wine: Data, section: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="^name: regression needs .* are for classification"):
        task_for(wine, section)


def test_what_an_epoch_reports(diabetes: Data) -> None:
    assert epoch_metrics(task_for(diabetes)) == (
        *("train_loss", "train_r2", "val_loss", "val_r2"),
        *("lr", "grad_norm", "seconds"),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data whose targets are shares of classes, or labels."""
    path = tmp_path_factory.mktemp("data")
    digits, rng = load_digits(), np.random.default_rng(0)
    x, classes = digits.data[:400] / 16, digits.target[:400]
    labels = np.stack([classes % 2 == 0, classes > 4, np.isin(classes, [2, 3, 5, 7])], 1)
    shares = 0.8 * np.eye(10)[classes] + 0.2 * rng.dirichlet(np.ones(10), 400)
    np.savez(path / "labels.npz", x=x, y=labels)
    np.savez(path / "shares.npz", x=x, y=shares)
    np.savez(path / "one_target.npz", x=x, y=classes)
    return path


def from_file(folder: Path, name: str, kind: str) -> Data:
    return load_data({"name": "npz", "path": f"{name}.npz", "kind": kind}, seed=0, folder=folder)


@pytest.fixture(scope="module")
def labels(folder: Path) -> Data:
    return from_file(folder, "labels", "multilabel")


@pytest.fixture(scope="module")
def shares(folder: Path) -> Data:
    return from_file(folder, "shares", "classification")


class TestSoftTargets:
    def test_shares_of_classes_are_read(self, shares: Data) -> None:
        assert (shares.kind, shares.output_size) == ("classification", 10)
        assert shares.has_soft_targets
        assert sum(shares.class_counts) == pytest.approx(shares.num_train_rows, abs=5)

    def test_the_loss_is_the_cross_entropy_of_the_shares(self, shares: Data) -> None:
        torch.manual_seed(0)
        outputs, targets = torch.randn(50, 10), torch.randn(50, 10).softmax(1)
        found = metrics(task_for(shares), outputs, targets)
        expected = -(targets * outputs.log_softmax(1)).sum(1).mean()
        assert found["loss"] == pytest.approx(expected.item(), rel=1e-5)
        assert found["accuracy"] == accuracy_score(targets.argmax(1), outputs.argmax(1))

    def test_classes_may_become_shares_while_training(self, wine: Data) -> None:
        outputs, classes = torch.randn(50, 3), torch.randint(3, (50,))
        one_hot = nn.functional.one_hot(classes, 3).float()
        task = task_for(wine)
        assert metrics(task, outputs, one_hot) == pytest.approx(metrics(task, outputs, classes))

    @pytest.mark.parametrize(
        ("file", "kind", "message"),
        [
            ("labels", "classification", "must add up to 1 .* row .* take `kind: multilabel`"),
            ("one_target", "multilabel", r"multilabel needs targets of the shape \(rows, columns"),
        ],
    )
    def test_what_is_no_share(self, folder: Path, file: str, kind: str, message: str) -> None:
        with pytest.raises(DataError, match=message):
            from_file(folder, file, kind)

    def test_degrees_are_from_0_to_1(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "bad.npz", x=np.ones((9, 2)), y=np.full((9, 2), [1.5, -0.5]))
        with pytest.raises(DataError, match="must be from 0 to 1, but there are -0.5 to 1.5"):
            from_file(tmp_path, "bad", "classification")

    def test_soft_ce_is_for_nothing_else(self, wine: Data, shares: Data) -> None:
        section = {"name": "classification", "loss": "soft_ce"}
        assert task_for(shares, section).metrics == ("loss", "accuracy", "criterion")
        with pytest.raises(BadConfigurationError, match="soft_ce needs targets that are shares"):
            task_for(wine, section)


def test_multilabel(labels: Data) -> None:
    torch.manual_seed(0)
    outputs, targets = torch.randn(50, 3), (torch.rand(50, 3) > 0.6).float()
    found = metrics(task_for(labels), outputs, targets)
    true, answers = targets.numpy(), (outputs > 0).numpy()
    assert found == pytest.approx(
        {
            "loss": nn.functional.binary_cross_entropy_with_logits(outputs, targets).item(),
            "subset_accuracy": accuracy_score(true, answers),
            "hamming_loss": hamming_loss(true, answers),
            "f1_micro": f1_score(true, answers, average="micro"),
            "f1_macro": f1_score(true, answers, average="macro"),
        }
    )


class TestWhatFits:
    @pytest.mark.parametrize(
        ("section", "message"),
        [
            ({"loss": "mse"}, "^loss: must be for targets of classification, but mse is for"),
            ({"loss": "l2_svm", "head": "softmax"}, "^head: must be svm for this loss, but"),
            ({"head": "linear"}, "^head: must be softmax for this loss, but got 'linear'"),
            ({"metrics": ["mae"]}, "^metrics.0: must be for targets of classification, but mae"),
            ({"loss": "l1_svm", "metrics": ["ece"]}, "^metrics.0: ece needs probabilities"),
            ({"metrics": ["ece", {"name": "ece", "num_bins": 5}]}, "^metrics: .* 'ece' twice"),
            ({"loss": "brier", "label_smoothing": 0.1}, "^label_smoothing: must be set on"),
            (
                {"metrics": [{"name": "top_k_accuracy", "k": 3}]},
                "^metrics.0.k: top_k_accuracy needs a k below the 3 classes, but got 3",
            ),
        ],
    )
    def test_what_does_not(self, wine: Data, section: dict[str, Any], message: str) -> None:
        with pytest.raises(BadConfigurationError, match=message):
            task_for(wine, {"name": "classification", **section})

    @pytest.mark.parametrize(
        ("loss", "head"),
        [("cross_entropy", "Softmax"), ("l2_svm", "Svm"), ("soft_bce", "Sigmoid")],
    )
    def test_a_loss_has_a_head_of_its_own(self, wine: Data, loss: str, head: str) -> None:
        task = task_for(wine, {"name": "classification", "loss": loss})
        assert type(task.head).__name__ == head

    def test_each_choice_is_checked_before_the_search(self) -> None:
        choices = ["brier", "mse", "nll"]
        task = {"name": "classification", "loss": {"choices": choices}}
        (unknown,) = problems_of(task, "val_loss")
        assert unknown.startswith("task.loss.choices.2: must be one of adaptive_robust, brier")
        choices.pop()
        mismatch, objective = problems_of(task, "val_criterionn")
        assert mismatch.startswith("task.loss: must be for targets of classification, but mse")
        assert "but got 'val_criterionn'; did you mean 'val_criterion'" in objective

    def test_metrics_are_a_list(self) -> None:
        (problem,) = problems_of({"name": "classification", "metrics": "ece"}, "val_loss")
        assert problem.startswith("task.metrics: must be a list of components (metric)")

    @pytest.mark.parametrize("metric", ["val_roc_auc", "val_brier_resolution"])
    def test_an_objective_may_be_any_score(self, metric: str) -> None:
        task = {"name": "classification", "metrics": ["roc_auc", "brier_parts"]}
        assert problems_of(task, metric) == []


def problems_of(task: Any, metric: str) -> list[str]:
    try:
        check(draft_spec(changed(task=task, objective={"metric": metric})))
    except SpecError as error:
        return [str(problem) for problem in error.problems]
    return []


SECTIONS: dict[str, dict[str, Any]] = {"weighted": {"weights": [2.0]}}


@pytest.mark.parametrize("name", registry.names("loss"))
def test_training_goes_on_bit_for_bit(request: pytest.FixtureRequest, name: str) -> None:
    whole, first, second = (trainer_with(name, request) for _ in range(3))
    before = whole.evaluate("train")
    for metrics in goes_on_bit_for_bit(whole, first, second):
        assert tuple(metrics) == epoch_metrics(whole.task)
    after = whole.evaluate("train")
    for metric in before.keys() & {"train_criterion", "train_loss"}:
        assert after[metric] < before[metric]
    assert "train_loss" in before


def trainer_with(loss: str, request: pytest.FixtureRequest) -> Trainer:
    """A trainer on the first data set that the loss is for."""
    for data, task in (
        ("wine", "classification"),
        ("shares", "classification"),
        ("diabetes", "regression"),
        ("pairs", "pairs"),
        ("classes", "metric_learning"),
    ):
        mlp = {"name": "mlp", "hidden_sizes": [16], "dropout": 0.1}
        values = {
            "task": {"name": task, "loss": {"name": loss, **SECTIONS.get(loss, {})}},
            "model": {"name": "siamese", "encoder": mlp} if task == "pairs" else mlp,
            "optimizer": {"name": "adam", "lr": 0.01, "weight_decay": 0.01},
            "batch_size": 16,
        }
        with contextlib.suppress(BadConfigurationError):
            return Trainer(TrialConfig(0, 0, 4, values), request.getfixturevalue(data))
    raise AssertionError(f"no data set for {loss}")


def test_what_a_loss_learns_is_not_decayed(diabetes: Data) -> None:
    values = {
        "task": {"name": "regression", "loss": "adaptive_robust"},
        "model": {"name": "mlp", "hidden_sizes": []},
        "optimizer": {"name": "adamw", "lr": 0.1, "weight_decay": 1.0},
        "batch_size": 64,
    }
    trainer = Trainer(TrialConfig(0, 0, 4, values), diabetes)
    groups = trainer.optimizer.param_groups
    assert [group["weight_decay"] for group in groups] == [1.0, 0.0]
    assert [p.shape for p in groups[1]["params"]] == [(1,), (1,)]
    trainer.train_epoch()
    assert trainer.task.criterion.state_dict()["latent_scale"].item() != 0


def test_the_perceptron_learns_by_its_rule() -> None:
    values = {
        "task": {"name": "classification", "loss": "perceptron"},
        "model": {"name": "mlp", "hidden_sizes": []},
        "initializer": {"name": "zeros"},
        "optimizer": {"name": "perceptron_rule"},
        "batch_size": 1,
    }
    trainer = Trainer(TrialConfig(0, 0, 4, values), load_data({"name": "wine"}, seed=0))
    curve = [trainer.train_epoch() for _ in range(4)]
    last = curve[-1]
    assert last is not None and last["train_accuracy"] > 0.95
    # weights are sums of inputs, so the rows of each feature add up to nothing
    weight = next(p for p in trainer.model.parameters() if p.ndim == 2)
    assert torch.allclose(weight.sum(0), torch.zeros(13), atol=1e-4)
