"""What a component finds wrong, or a user's raises, is told at its place in the spec."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hpsearch.errors import SpecError
from hpsearch.spec import Choices, Draft, Range, draft_spec
from hpsearch.validation import check, check_draft, check_spec
from hpsearch.validation.diagnosis import diagnose
from tests.support.cli import hpsearch
from tests.support.specs import GOOD, changed
from tests.support.user_modules import user_module

CODE = """
import numpy as np

def raises(size: int = 1, **offered):
    raise ValueError(f"no luck with {size}")

def data():
    with open(__file__ + ".calls", "a") as calls:
        calls.write("x")
    return np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 2
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with user_module(tmp_path, "code_of_mine", CODE):
        yield tmp_path


def problems(raw: dict[str, Any], folder: Path = Path()) -> list[str]:
    with pytest.raises(SpecError) as caught:
        check(draft_spec(raw, folder))
    return [str(problem) for problem in caught.value.problems]


RAISES = "code_of_mine.py:raises"
SIZED = {"name": RAISES, "size": {"low": 2, "high": 5}}
TASK = {"name": "classification"}


@pytest.mark.parametrize(
    ("sections", "place"),
    [
        ({"model": RAISES}, "model"),
        ({"model": {"choices": ["mlp", RAISES]}}, "model.choices.1"),
        ({"dataset": "digits", "model": {"name": "rnn", "cell": RAISES}}, "model.cell"),
        ({"optimizer": {"choices": ["sgd", RAISES]}}, "optimizer.choices.1"),
        ({"initializer": RAISES}, "initializer"),
        ({"task": RAISES}, "task"),
        ({"task": {**TASK, "loss": RAISES}}, "task.loss"),
        ({"task": {**TASK, "metrics": ["f1", RAISES]}}, "task.metrics.1"),
        ({"regularizers": ["l2", RAISES]}, "regularizers.1"),
        ({"callbacks": [RAISES]}, "callbacks.0"),
        ({"calibration": RAISES}, "calibration"),
        ({"lr_schedule": RAISES}, "lr_schedule"),
        ({"augmentations": [RAISES]}, "augmentations.0"),
        ({"search": {"sampler": RAISES}}, "search.sampler"),
        ({"dataset": RAISES}, "dataset"),
    ],
)
def test_a_plain_error_of_a_users_component_is_told_at_its_place(
    sections: dict[str, Any], place: str, folder: Path
) -> None:
    (told,) = problems(changed(**sections), folder)
    assert told.startswith(f"{place}: ")
    assert "ValueError: no luck with 1" in told


def test_it_is_told_once_of_each_end_and_each_model(folder: Path) -> None:
    models = {"choices": ["mlp", {"name": "mlp", "hidden_sizes": [4]}]}
    (told,) = problems(changed(model=models, callbacks=[SIZED]), folder)
    assert told.startswith("callbacks.0: must build for examples of the shape (13,) (ValueError")


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        (
            {"model": {"choices": ["mlp", {"name": "mlp", "norm": "instance"}]}},
            "model.choices.1.norm: instance needs images",
        ),
        (
            {
                "model": {
                    "name": "mlp",
                    "norm": {"name": "weight", "learn_g": False, "data_init": True},
                }
            },
            "model.norm.data_init: data_init of weight sets g",
        ),
        (
            {"model": {"name": "mlp", "hidden_sizes": [3], "norm_position": "pre_norm_residual"}},
            "model.norm_position: pre_norm_residual needs a layer",
        ),
        (
            {"task": {**TASK, "metrics": ["f1", {"name": "top_k_accuracy", "k": 7}]}},
            "task.metrics.1.k: top_k_accuracy needs a k below the 3 classes, but got 7",
        ),
        (
            {"task": {"choices": [TASK, {**TASK, "loss": "mse"}]}},
            "task.choices.1.loss: must be for targets of classification, but mse is for",
        ),
        (
            {"dataset": "digits", "augmentations": [{"name": "crop", "padding": 9}]},
            "augmentations.0.padding: must be less than the image's height and width to be "
            "reflected (8x8), but got 9",
        ),
        (
            {"finetune": {"name": "subset", "classes": ["clas_0"]}},
            "finetune.classes: must be classes of the data set (class_0, class_1, class_2), but "
            "got 'clas_0'; did you mean 'class_0'",
        ),
        (
            {"finetune": {"name": "subset", "metric": "acuracy"}},
            "finetune.metric: must be a metric of every epoch (loss, accuracy), but got 'acuracy'",
        ),
        (
            {"dataset": {"name": "wine", "folds": 400}},
            "dataset.folds: must be at most 142 with 142 rows, but got 400",
        ),
        (
            {"momentum_schedule": "cyclical", "optimizer": {"choices": ["adam", "adagrad"]}},
            "optimizer.choices.1: must be an optimizer with momentum or betas where a schedule",
        ),
    ],
)
def test_what_a_component_finds_wrong_has_the_keyword_at_fault(
    sections: dict[str, Any], expected: str
) -> None:
    (told,) = problems(changed(**sections))
    assert told.startswith(expected)


class TestADraft:
    def test_stays_as_it_is(self) -> None:
        draft = draft_spec(changed(optimizer={"name": "sgd", "lr": "auto"}))
        before = copy.deepcopy(draft)
        spec, data = check_draft(draft)
        assert draft == before
        expected = Range(low=1e-4, high=1.0, log=True, prior=1e-3, confidence="low")
        assert spec.optimizer["lr"] == expected
        assert data is not None

    def test_of_a_checked_spec_is_checked_to_the_same(self) -> None:
        spec = check(draft_spec(changed(optimizer={"name": "sgd", "lr": "auto"})))
        assert Draft.of(spec).spec == spec
        assert check_spec(spec).spec == spec

    def test_of_a_spec_whose_parts_were_replaced_is_read_as_they_were_written(self) -> None:
        replaced = {"optimizer": "adam", "batch_size": {"choices": [8, 16]}}
        spec = check_spec(check(draft_spec(GOOD)).model_copy(update=replaced)).spec
        assert spec.optimizer == {"name": "adam"}
        assert spec.batch_size == Choices(choices=(8, 16))
        wrong = spec.model_copy(update={"batch_size": {"low": 3, "high": 1}})
        with pytest.raises(SpecError, match="^batch_size: low must be less than high"):
            check_spec(wrong)


def test_a_point_may_name_what_has_a_recommended_range() -> None:
    auto = changed(optimizer={"name": "sgd", "lr": "auto"})
    check(draft_spec({**auto, "search": {"points": [{"optimizer.lr": 0.5}]}}))
    (told,) = problems({**auto, "search": {"points": [{"optimizer.lr": 5}]}})
    assert told.startswith("search.points.0.optimizer.lr: must be from 0.0001 to 1, but got 5")


def test_a_trial_that_cannot_be_built_is_a_finding() -> None:
    channels = {"choices": [[4], [4, 4, 4, 4, 4]]}
    raw = changed(dataset="digits", model={"name": "cnn", "channels": channels})
    checked = check_draft(draft_spec({**raw, "checks": ["eval_mode"]}))
    assert checked.data is not None
    (_, fine), (end, broken) = diagnose(checked.spec, checked.data)
    assert fine.ok and not broken.ok
    assert (end, broken.severity) == ("high ends", "error")
    assert broken.message.startswith("model.channels: pooling by 2 after each convolution")


def test_a_diagnosis_reads_the_data_once(folder: Path) -> None:
    raw = changed(dataset="code_of_mine.py:data", model="mlp", checks=["eval_mode"])
    (folder / "s.yaml").write_text(yaml.safe_dump(raw))
    done = hpsearch("diagnose", "s.yaml", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "code_of_mine.py.calls").read_text() == "x"
