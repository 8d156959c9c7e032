"""Metrics that users ask for of tasks with many answers a row: each counts by itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from sklearn.metrics import matthews_corrcoef, mean_absolute_error, top_k_accuracy_score

from hpsearch.components import Data, load_data, task_for
from hpsearch.components.batch import IGNORED
from hpsearch.components.tasks.undefined import undefined_scores
from hpsearch.errors import BadConfigurationError
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer
from tests.support.effects import DATA, SECTIONS, data_of


def trained(data: Data, **sections: Any) -> tuple[Trainer, dict[str, float]]:
    trainer = Trainer(TrialConfig(0, 0, 1, {**SECTIONS, **sections}), data)
    return trainer, trainer.train_epoch() or {}


def test_each_pixel_that_counts_is_a_row() -> None:
    task = task_for(data_of("masks"), {"name": "segmentation", "metrics": ["mcc", "ece"]})
    torch.manual_seed(0)
    classes = task.head(torch.zeros(1, data_of("masks").output_size, 1, 1)).shape[1]
    outputs, targets = torch.randn(5, classes, 4, 4), torch.randint(classes, (5, 4, 4))
    targets[0] = IGNORED
    counts = targets != IGNORED
    expected = matthews_corrcoef(targets[counts], outputs.argmax(1)[counts])
    assert task.measure(outputs, targets)["mcc"] == pytest.approx(expected)


def test_each_token_that_counts_is_a_row() -> None:
    """The last stretch of a text is shorter than others."""
    data = load_data({**DATA["tokens"], "characters": 603}, seed=0)
    metric = {"name": "top_k_accuracy", "k": 2}
    trainer, metrics = trained(
        data,
        model={"name": "rnn", "hidden_size": 6},
        task={"name": "language_model", "metrics": [metric]},
    )
    assert data.val is not None and data.val.mask is not None  # type: ignore[union-attr]
    outputs, targets = trainer.predict("val")
    counts = targets != IGNORED
    assert (~counts).sum() > 0
    expected = top_k_accuracy_score(targets[counts], outputs[counts], k=2, labels=range(3))
    assert metrics["val_top_2_accuracy"] == pytest.approx(expected)


def test_each_series_at_each_horizon_is_a_target() -> None:
    data = data_of("series")
    metric = "tests.support.effects:greatest_error"
    trainer, metrics = trained(data, task={"name": "forecasting", "metrics": [metric]})
    outputs, targets = trainer.predict("val")
    actual, std = targets[:, 0].flatten(1), float(data.y_scale.std.ravel()[0])
    worst = float((outputs - actual).abs().max()) * std
    assert metrics["val_greatest_error"] == pytest.approx(worst, rel=1e-5)
    mae = mean_absolute_error(actual, outputs) * std
    assert metrics["val_mae"] == pytest.approx(mae, rel=1e-5)


def test_what_a_task_reports_anyway_is_refused() -> None:
    with pytest.raises(BadConfigurationError, match="must not name mae, which forecasting"):
        task_for(data_of("series"), {"name": "forecasting", "metrics": ["mae"]})


@pytest.mark.parametrize(
    ("data", "task", "metric"),
    [
        ("masks", "segmentation", "roc_auc"),
        ("tokens", "language_model", "balanced_accuracy"),
        ("series", "forecasting", "tests.support.effects:greatest_error"),
    ],
)
def test_they_are_defined(data: str, task: str, metric: str) -> None:
    made = task_for(data_of(data), {"name": task, "metrics": [metric]})
    assert undefined_scores(made, data_of(data)) == {}
