"""`auto` and `{}` stand for the range that a component recommends."""

from __future__ import annotations

from typing import Any

import pytest

from hpsearch.errors import SpecError
from hpsearch.spec import Choices, Range, draft_spec
from hpsearch.validation import check
from tests.support.specs import changed

RATE = Range(low=1e-4, high=1.0, log=True, prior=1e-3, confidence="low")


def checked(**sections: Any) -> Any:
    return check(draft_spec(changed(**sections)))


@pytest.mark.parametrize("asked", ["auto", {}])
def test_a_keyword_gets_its_range(asked: Any) -> None:
    spec = checked(optimizer={"name": "sgd", "lr": asked, "momentum": 0.5})
    assert spec.optimizer == {"name": "sgd", "lr": RATE, "momentum": 0.5}


def test_each_choice_gets_its_own() -> None:
    spec = checked(optimizer={"choices": [{"name": "sgd", "lr": "auto"}, "adam"]})
    assert spec.optimizer == Choices(choices=({"name": "sgd", "lr": RATE}, {"name": "adam"}))


def test_components_in_lists_and_in_keywords() -> None:
    spec = checked(
        regularizers=["l2", {"name": "l1", "strength": {}}],
        gradient_clip="auto",
        batch_size="auto",
        dataset="digits",
    )
    strength = Range(low=1e-6, high=1e-2, log=True, prior=1e-4, confidence="low")
    assert spec.regularizers == [{"name": "l2"}, {"name": "l1", "strength": strength}]
    clip = Range(low=0.1, high=10.0, log=True, prior=1.0, confidence="low")
    assert spec.gradient_clip == {"name": "norm", "max_norm": clip}
    assert spec.batch_size == Range(low=16, high=256, log=True, prior=64, confidence="low")


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({"model": {"name": "mlp", "hidden_sizes": ["auto"]}}, "model.hidden_sizes.0"),
        ({"regularizers": "l1"}, "regularizers: must be a list of components"),
        ({"regularizers": ["l3"]}, "regularizers.0.name: must be one of "),
        ({"last_batch": "keepp"}, "last_batch: must be 'keep', 'drop', 'pad' or 'wrap'"),
        ({"gradient_noise": -1.0}, "gradient_noise: must be greater than or equal to 0"),
    ],
)
def test_where_nothing_is_recommended(sections: dict[str, Any], expected: str) -> None:
    with pytest.raises(SpecError) as caught:
        checked(**sections)
    assert any(str(each).startswith(expected) for each in caught.value.problems)


def test_points_and_samplers_see_the_range() -> None:
    optimizer = {"name": "sgd", "lr": "auto"}
    points = [{"optimizer.lr": 0.25}]
    spec = checked(optimizer=optimizer, search={"points": points})
    assert spec.search.points == tuple(points)
    with pytest.raises(SpecError, match="optimizer.lr"):  # a grid needs steps
        checked(optimizer=optimizer, search={"sampler": "grid"})


OBJECTIVE = {"metric": "val_loss", "direction": "minimize"}
DIGITS: dict[str, Any] = {"dataset": {"name": "digits", "train_rows": 100}}


@pytest.mark.parametrize("asked", ["auto", {"low": 1, "high": 4}])
def test_values_that_do_not_divide_the_images_are_refused(asked: Any) -> None:
    rule = r"patch_size: must hold only values that fit 8x8 images \({choices: \[1, 2, 4"
    with pytest.raises(SpecError, match=rule):
        checked(**DIGITS, model={"name": "gmlp", "patch_size": asked})
    nested = {"choices": ["mlp", {"name": "unet", "depth": "auto"}]}
    with pytest.raises(SpecError, match=r"choices\.1\.depth: must .* \({choices: \[1, 2, 3\]}\)"):
        checked(**DIGITS, model=nested, task="reconstruction", objective=OBJECTIVE)


def test_values_that_all_divide_the_images_are_taken() -> None:
    model = {"name": "gmlp", "patch_size": {"low": 1, "high": 2}, "layers": 1}
    assert checked(**DIGITS, model=model)
    assert checked(model={"name": "gmlp", "patch_size": "auto", "layers": 1})  # no images


@pytest.mark.parametrize(
    ("optimizer", "said"),
    [
        (
            {"name": "sgd", "dampening": "auto"},
            "optimizer.dampening: must be a number, but got 'auto'; auto has no recommended range "
            "here; sgd has them for: lr, momentum, weight_decay",
        ),
        (
            {"name": "sgd", "dampening": {}},
            "optimizer.dampening: must be a number, but got {}; {} has no recommended range here; "
            "sgd has them for: lr, momentum, weight_decay",
        ),
        (
            {"name": {"choices": ["sgd", "adam"]}, "lr": "auto"},
            "optimizer.lr: must be a number, but got 'auto'; auto stands for one range, but those "
            "of the components differ: write it",
        ),
        (
            {"name": "sgd", "momentum": {"choices": [0.5, "auto"]}},
            "optimizer.momentum.choices.1: must be a number, but got 'auto'; auto stands for a "
            "range, in place of choices",
        ),
        ({"name": "sgd", "lr": "fast"}, "optimizer.lr: must be a number, but got 'fast'"),
    ],
)
def test_why_no_range_took_its_place(optimizer: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError) as caught:
        checked(optimizer=optimizer)
    assert said in [str(problem) for problem in caught.value.problems]
