"""What is learned from targets, and who has to say so where they can be read in two ways."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hpsearch.components import Arrays, load_data
from hpsearch.components.tasks import (
    kinds,
)
from hpsearch.components.tasks.kinds import KindDecision, Statement, decide_kind
from hpsearch.errors import DataError, SpecError
from hpsearch.validation import check_spec
from tests.support.datasets import user_factory
from tests.support.specs import checked

RNG = np.random.default_rng(0)
AGES = RNG.integers(17, 76, 600)
STARS = RNG.integers(1, 6, 200)
COUNTS = RNG.poisson(1.5, 500)


@pytest.mark.parametrize(
    ("targets", "kind", "reason"),
    [
        (np.array(["a", "b"] * 5), "classification", "the targets are texts"),
        (np.array(["a", "b"] * 5, object), "classification", "the targets are texts"),
        (np.array([True, False] * 5), "classification", "truth values"),
        (np.array([0, 1] * 5), "classification", "the targets are 0 and 1 only"),
        (np.array([-1, 1] * 5), "classification", "the targets are -1 and 1 only"),
        (np.array([1, 2] * 5, np.uint8), "classification", "the targets are 1 and 2 only"),
        (np.array([0, 1] * 5, object), "classification", "the targets are 0 and 1 only"),
        (np.arange(100) % 10, "classification", "whole numbers from 0 to 9 without a gap"),
        (RNG.normal(size=50), "regression", "numbers with fractions"),
        (np.array([1.5, 2.5, 3.0] * 9, object), "regression", "numbers with fractions"),
        (RNG.integers(1, 10**6, 500) * 1.0, "regression", "different numbers"),
        (RNG.random((50, 2)), "regression", "2 columns of numbers"),
        (RNG.random((50, 3)) > 0.5, "multilabel", "3 truth values a row"),
    ],
)
def test_what_is_certain_is_decided_with_its_reason(targets: Any, kind: str, reason: str) -> None:
    decision = decide_kind(targets)
    assert (decision.kind, decision.doubt) == (kind, "")
    assert reason in decision.reason


DOUBTFUL = {
    "ages": AGES,
    "ages as real numbers": AGES * 1.0,
    "stars": STARS,
    "stars as real numbers": STARS * 1.0,
    "labels as real numbers": STARS % 2 * 1.0,
    "counts": COUNTS,
    "many class numbers": np.arange(2600) % 26,
    "ids": np.arange(200),
    "two measures": STARS % 2 / 2,
    "objects": STARS.astype(object),
}


@pytest.mark.parametrize("name", DOUBTFUL)
def test_what_can_be_meant_in_two_ways_names_both(name: str) -> None:
    targets = DOUBTFUL[name]
    decision = decide_kind(targets)
    assert decision.readings == ("classification", "regression")
    count, least, most = len(np.unique(targets)), min(targets), max(targets)
    assert f"classification into {count} classes ({least}" in decision.doubt
    assert f"regression of numbers from {least:g} to {most:g}" in decision.doubt
    with pytest.raises(DataError, match="^kind: must be given") as raised:
        decision.require("the target 'y'")
    assert "the target 'y' can be read in two ways: classification into" in str(raised.value)
    for kind in decision.readings:
        settled = decision.settled(Statement(kind, "the task is for it"))
        assert (settled.kind, settled.doubt) == (kind, "")
        assert settled.reason.startswith("the task is for it, and ")


def test_columns_that_can_be_meant_in_two_ways() -> None:
    labels = RNG.integers(0, 2, (60, 3)) * 1.0
    assert decide_kind(labels).readings == ("multilabel", "regression")
    shares = RNG.dirichlet(np.ones(3), 60)
    assert decide_kind(shares).readings == ("classification", "regression")


def test_a_statement_changes_nothing_that_is_certain() -> None:
    said = Statement("regression", "the task is for regression")
    certain = decide_kind(np.array(["a", "b"] * 5))
    assert certain.settled(said) == certain
    assert decide_kind(AGES).settled(None) == decide_kind(AGES)
    assert decide_kind(AGES).settled(Statement("multilabel", "no")) == decide_kind(AGES)


@pytest.mark.parametrize(
    "targets",
    [
        np.array([0.0, 1.0, np.nan]),
        np.array(["a", None, "b"], object),
        np.array([1, pd.NA, 2], object),
        np.array([1.0, float("nan"), "b"], object),
        np.array([[0.0, 1.0], [np.nan, 0.0]]),
    ],
)
def test_every_row_needs_a_target(targets: Any) -> None:
    with pytest.raises(DataError, match=r"every row must have a target, but 1 of \d have none"):
        decide_kind(targets)


def write(folder: Path, targets: Any) -> None:
    x = np.random.default_rng(1).normal(size=(len(targets), 2))
    table = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": targets})
    table.to_csv(folder / "t.csv", index=False)


@pytest.mark.parametrize("name", ["ages", "stars", "stars as real numbers"])
def test_a_spec_of_doubtful_targets_must_say_what_is_meant(tmp_path: Path, name: str) -> None:
    write(tmp_path, DOUBTFUL[name])
    with pytest.raises(SpecError, match="dataset.kind: must be given") as raised:
        checked(tmp_path, "val_loss")
    assert "the target 'y' can be read in two ways" in str(raised.value)
    for sections, kind in [
        ({"dataset": {"kind": "regression"}}, "regression"),
        ({"dataset": {"kind": "classification"}}, "classification"),
        ({"task": {"name": "regression"}}, "regression"),
        ({"task": {"choices": ["classification", {"name": "classification", "loss": "brier"}]}},
         "classification"),
    ]:  # fmt: skip
        _, data = check_spec(checked(tmp_path, "val_loss", **sections))
        assert data is not None and data.kind == kind
        assert data.kind_reason


@pytest.mark.parametrize(
    ("metric", "kind"), [("val_r2", "regression"), ("val_accuracy", "classification")]
)
def test_an_objective_of_one_kind_says_what_is_meant(
    tmp_path: Path, metric: str, kind: str
) -> None:
    write(tmp_path, STARS)
    _, data = check_spec(checked(tmp_path, metric))
    assert data is not None
    assert data.kind == kind
    assert data.kind_reason.startswith(f"only {kind} reports the objective {metric}, and ")


@pytest.mark.parametrize(
    ("metric", "targets", "cause"),
    [
        ("val_r2", ["a", "b"] * 50, "is one of regression, but the data is for classification, "
         "because the targets are texts"),
        ("val_accuracy", np.arange(100) / 7, "is one of associative_memory or "
         "classification or language_model or pairs or segmentation or sequence_generation or "
         "sequence_labelling, but the data is for regression, because the targets are numbers "
         "with fractions"),
    ],
)  # fmt: skip
def test_an_objective_that_the_targets_do_not_have_is_refused_with_the_cause(
    tmp_path: Path, metric: str, targets: Any, cause: str
) -> None:
    write(tmp_path, targets)
    with pytest.raises(SpecError, match="objective.metric: must be a metric") as raised:
        checked(tmp_path, metric)
    assert f"{metric} {cause} (dataset.kind sets" in str(raised.value)


def test_a_task_that_the_targets_are_not_for_is_refused_with_the_cause(tmp_path: Path) -> None:
    write(tmp_path, np.arange(100) / 7)
    with pytest.raises(SpecError, match="for regression, because the targets are num"):
        checked(tmp_path, "val_loss", task={"name": "classification"})


class TestDatasets:
    def load(self, folder: Path, targets: str, **options: Any) -> Any:
        body = f"d = torch.utils.data.TensorDataset(torch.rand(60, 4), {targets}); "
        name = user_factory(folder, body + "return {'train': d, 'val': d}")
        return load_data({"name": name, **options}, seed=0, folder=folder)

    @pytest.mark.parametrize(
        ("targets", "kind"),
        [
            ("torch.arange(60) % 5 + 1", "classification"),
            ("torch.rand(60)", "regression"),
            ("torch.rand(60, 3) > 0.5", "multilabel"),
        ],
    )
    def test_what_is_certain(self, tmp_path: Path, targets: str, kind: str) -> None:
        assert self.load(tmp_path, targets).kind == kind

    def test_real_numbers_without_fractions_are_in_doubt(self, tmp_path: Path) -> None:
        targets = "torch.arange(60) % 2 * 1.0"
        with pytest.raises(DataError, match="^kind: must be given"):
            self.load(tmp_path, targets)
        data = self.load(tmp_path, targets, kind="classification")
        assert (data.output_size, int(data.train[1][1])) == (2, 1)
        assert not data.train[1][1].is_floating_point()
        assert self.load(tmp_path, targets, kind="regression").kind == "regression"


class TestFactories:
    def test_a_data_set_may_say_its_kind_itself(self, tmp_path: Path) -> None:
        body = "return {'train': (np.random.rand(60, 2), np.arange(60) % 6), 'kind': 'regression'}"
        name = user_factory(tmp_path, body)
        data = load_data({"name": name}, seed=0, folder=tmp_path)
        assert (data.kind, data.kind_reason) == ("regression", "the data set states it")
        over = load_data({"name": name, "kind": "classification"}, seed=0, folder=tmp_path)
        assert over.kind == "classification"

    def test_names_of_classes_are_a_word_for_classes(self, tmp_path: Path) -> None:
        body = (
            "return {'train': (np.random.rand(60, 2), np.arange(60) % 3 * 1.0), "
            "'classes': ['a', 'b', 'c']}"
        )
        data = load_data({"name": user_factory(tmp_path, body)}, seed=0, folder=tmp_path)
        assert (data.kind, data.class_names) == ("classification", ("a", "b", "c"))

    def test_classes_of_real_numbers_are_named_as_whole_ones(self, tmp_path: Path) -> None:
        body = "return np.random.rand(60, 2), np.arange(60) % 2 * 1.0"
        section = {"name": user_factory(tmp_path, body), "kind": "classification"}
        assert load_data(section, seed=0, folder=tmp_path).class_names == ("0", "1")

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ("return np.random.rand(9, 2), np.full(9, 2.5)", "at least two classes"),
            ("return dict(train=(np.random.rand(9, 2), np.full(9, 2.5)), kind='regression')",
             "targets must differ, but all are 2.5"),
            ("return np.random.rand(9, 2), [f'name {i}' for i in range(9)]",
             r"each of 9 rows has a class of its own \(name 0, "),
        ],
    )  # fmt: skip
    def test_targets_that_teach_nothing(self, tmp_path: Path, body: str, message: str) -> None:
        with pytest.raises(DataError, match=message):
            load_data({"name": user_factory(tmp_path, body)}, seed=0, folder=tmp_path)


@pytest.mark.parametrize("name", ["digits", "wine", "breast_cancer", "diabetes"])
def test_bundled_sets_say_their_kind_themselves(name: str) -> None:
    data = load_data({"name": name}, seed=0)
    assert data.kind_reason == "the data set states it" or name == "digits"
    assert isinstance(data.train, Arrays)


def test_docstrings() -> None:
    assert doctest.testmod(kinds).failed == 0
    assert KindDecision("regression", "so").doubt == ""
