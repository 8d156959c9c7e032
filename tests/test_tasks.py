"""Tasks: losses and metrics, against scikit-learn's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    accuracy_score,
    log_loss,
    mean_absolute_error,
    mean_squared_error,
    r2_score,
)
from torch import Tensor

from hpsearch.components import Data, epoch_metrics, load_data, task_for
from hpsearch.components.tasks import Regression, Task
from hpsearch.errors import DataError


@pytest.fixture(scope="module")
def wine() -> Data:
    return load_data({"name": "wine"}, seed=0)


@pytest.fixture(scope="module")
def diabetes() -> Data:
    return load_data({"name": "diabetes"}, seed=0)


def metrics(task: Task, outputs: Tensor, targets: Tensor) -> dict[str, float]:
    """Add up the totals of three unequal batches."""
    batches = zip(*(torch.split(part, [5, 1, 44]) for part in (outputs, targets)), strict=True)
    totals = torch.stack([task.totals(*batch) for batch in batches]).sum(0)
    return task.summary(totals.tolist(), len(targets))


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
    assert task.loss(outputs, targets).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("loss", ["mse", "l1"])
def test_regression_reports_in_the_targets_units(diabetes: Data, loss: str) -> None:
    torch.manual_seed(0)
    outputs, targets = torch.randn(50, 1), torch.randn(50, 1)
    task = task_for(diabetes, {"name": "regression", "loss": loss})
    found = metrics(task, outputs, targets)
    scale = diabetes.y_scale
    raw_outputs, raw_targets = (
        values.numpy() * scale.std + scale.mean for values in (outputs, targets)
    )
    score = {"mse": mean_squared_error, "l1": mean_absolute_error}[loss]
    assert found["loss"] == pytest.approx(score(raw_targets, raw_outputs), rel=1e-4)
    assert found["r2"] == pytest.approx(r2_score(raw_targets, raw_outputs), rel=1e-4)
    assert task.loss(outputs, targets).item() == pytest.approx(score(targets, outputs), rel=1e-5)


def test_huber_is_squared_near_and_linear_far(diabetes: Data) -> None:
    task = task_for(diabetes, {"name": "regression", "loss": "huber"})
    outputs, targets = torch.tensor([[0.5], [3.0]]), torch.zeros(2, 1)
    assert task.loss(outputs[:1], targets[:1]).item() == pytest.approx(0.125)
    assert task.loss(outputs[1:], targets[1:]).item() == pytest.approx(2.5)


def test_several_targets_are_averaged() -> None:
    torch.manual_seed(0)
    outputs, targets = torch.randn(50, 3), torch.randn(50, 3)
    stds = np.array([1.0, 10.0, 0.1])
    found = metrics(Regression("mse", stds.tolist()), outputs, targets)
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
    with pytest.raises(DataError, match="task.name: regression needs .* are for classification"):
        task_for(wine, section)


def test_what_an_epoch_reports(diabetes: Data) -> None:
    assert epoch_metrics(task_for(diabetes)) == (
        *("train_loss", "train_r2", "val_loss", "val_r2"),
        *("lr", "grad_norm", "seconds"),
    )
