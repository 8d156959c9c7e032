"""Whether the best trials of a search have a mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hpsearch.spec import draft_spec
from hpsearch.validation import check
from tests.support.problems import problems_of
from tests.support.specs import changed

DIGITS = {"name": "digits", "train_rows": 100, "val_rows": 40}
AUTOENCODER = {"name": "autoencoder", "hidden_sizes": [8], "code_size": 2}
OWN = "def train(config, trial):\n    yield {'val_accuracy': 1.0}\n"


def found(folder: Path, search: dict[str, Any] | None = None, **sections: Any) -> list[str]:
    search = {"early_stopping": {"max_epochs": 2}, "ensemble": {"top": 3}, **(search or {})}
    return problems_of(changed(search=search, **sections), folder)


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"dataset": {"name": "wine", "folds": 3}},
        {"search": {"sampler": "pbt", "trials": 40, "early_stopping": {"max_epochs": 6}}},
        {"search": {"final": {"top": 2, "seeds": 2}}},
        {"task": {"name": "classification", "loss": {"choices": ["cross_entropy", "soft_bce"]}}},
        {"model": {"choices": [{"name": "mlp", "hidden_sizes": [4]}, {"name": "snn"}]}},
    ],
)
def test_predictions_have_a_mean(tmp_path: Path, sections: dict[str, Any]) -> None:
    assert found(tmp_path, **sections) == []


@pytest.mark.parametrize(
    ("sections", "problem"),
    [
        (
            {"dataset": DIGITS, "task": "metric_learning", "metric": "val_recall_at_1"},
            "search.ensemble: must not be given with metric_learning: its outputs are embeddings, "
            "and those of models that were trained apart have no mean",
        ),
        (
            {"task": {"name": "classification", "loss": {"choices": ["cross_entropy", "l2_svm"]}}},
            "search.ensemble: must give trials of an ensemble predictions of one meaning, but "
            "their heads are softmax, svm: choose one loss and head, or losses with probabilities",
        ),
        (
            {
                "dataset": {"name": "diabetes"},
                "task": "reconstruction",
                "model": {"choices": [AUTOENCODER, {**AUTOENCODER, "variational": True}]},
                "metric": "val_loss",
            },
            "search.ensemble: must not be given for a model that gives several tensors: they have "
            "no mean",
        ),
        (
            {"search": {"trials": 1}},
            "search.ensemble: must be given with two trials at least (search.trials)",
        ),
        (
            {"metric": "train_accuracy"},
            "search.ensemble: must be given with an objective of the task on validation rows, not "
            "train_accuracy; such as val_accuracy",
        ),
    ],
)
def test_what_has_none(tmp_path: Path, sections: dict[str, Any], problem: str) -> None:
    sections = dict(sections)
    metric = sections.pop("metric", "val_accuracy")
    assert found(tmp_path, objective={"metric": metric}, **sections) == [problem]


def test_of_several_objectives_none_is_the_best(tmp_path: Path) -> None:
    spec = changed(
        objectives=[{"metric": "val_accuracy"}, {"metric": "parameters", "direction": "minimize"}],
        search={"ensemble": {"top": 3}},
    )
    del spec["objective"]
    rule = "search.ensemble: must not be given with several objectives: the trials of the mean are"
    assert [each.startswith(rule) for each in problems_of(spec, tmp_path)] == [True]


def test_own_training_code_leaves_no_model(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(OWN)
    raw = {
        "name": "own",
        "objective": {"metric": "val_accuracy"},
        "trainable": "train.py:train",
        "space": {"lr": {"low": 0.1, "high": 1.0}},
        "search": {"ensemble": {"top": 3}},
    }
    with pytest.raises(Exception, match="search.ensemble: must be given with dataset, model and"):
        check(draft_spec(raw, tmp_path))
