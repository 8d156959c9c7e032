"""Components in lists, and metrics that components watch."""

from __future__ import annotations

from typing import Any

import pytest

from hpsearch.errors import SpecError
from hpsearch.spec import draft_spec
from hpsearch.validation import check
from tests.support.specs import GOOD


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        (
            {"callbacks": [{"name": "early_stopping", "metric": "val_los"}]},
            "callbacks.0.metric: must be a metric that every trial reports (train_loss, ",
        ),
        (
            {"callbacks": {"choices": [[], [{"name": "early_stopping", "metric": "seconds"}]]}},
            "callbacks.choices.1.0.metric: must be a metric that every trial reports (train_loss,",
        ),
        (
            {"lr_schedule": {"name": "plateau", "metric": {"choices": ["val_loss", "val_acc"]}}},
            "lr_schedule.metric.choices.1: must be a metric that every trial reports (train_loss",
        ),
        (
            {"lr_schedule": {"name": "warmup", "then": {"name": "plateau", "metric": "val_f1"}}},
            "lr_schedule.then.metric: must be a metric that every trial reports (train_loss, ",
        ),
        ({"augmentations": ["flip"]}, "augmentations.0: flip needs images of the shape"),
        (
            {"augmentations": {"choices": [[], ["shift"], ["gaussian_noise"]]}},
            "augmentations.choices.1.0: shift needs images of the shape",
        ),
        (
            {"augmentations": ["numpy:abort_mission"]},
            "augmentations.0.name: numpy:abort_mission: can't",
        ),
        (
            {"augmentations": [{"name": "numpy:full", "shape": "x", "fill_value": 1}]},
            "augmentations.0: must build for examples of the shape (13,) (TypeError",
        ),
    ],
)
def test_what_a_block_cannot_do_is_told_at_its_place(sections: Any, expected: str) -> None:
    with pytest.raises(SpecError) as caught:
        check(draft_spec({**GOOD, "model": {"choices": ["mlp", {**GOOD["model"]}]}, **sections}))
    (problem,) = caught.value.problems
    assert str(problem).startswith(expected)


def test_a_misspelt_metric_is_told_with_the_close_one() -> None:
    with pytest.raises(SpecError, match="but got 'val_acuracy'; did you mean 'val_accuracy'"):
        check(draft_spec({**GOOD, "lr_schedule": {"name": "plateau", "metric": "val_acuracy"}}))


def test_a_metric_that_the_task_adds_may_be_watched() -> None:
    task = {"name": "classification", "metrics": ["f1"]}
    schedule = {"name": "plateau", "metric": "val_f1_macro"}
    check(draft_spec({**GOOD, "task": task, "lr_schedule": schedule}))
