"""The default configuration: priors, then what components would do, then the middle."""

from __future__ import annotations

from typing import Any

from hpsearch.spec import draft_spec
from hpsearch.validation import check
from hpsearch.validation.defaults import default_configuration
from tests.support.specs import changed

FIXED = {"model": "mlp", "batch_size": 32}
LR = {"low": 1e-4, "high": 1.0, "log": True}


def default_of(**sections: Any) -> dict[str, Any]:
    draft = draft_spec(changed(**{**FIXED, **sections}))
    assert draft.spec is not None, draft.problems
    found: dict[str, Any] = default_configuration(draft.spec)
    return found


def test_a_prior_comes_first_then_the_default_of_the_keyword() -> None:
    sgd = {"name": "sgd", "lr": LR, "momentum": {"low": 0.0, "high": 0.99, "prior": 0.9}}
    optimizer = {"choices": ["adam", sgd], "prior": "sgd"}
    assert default_of(optimizer=optimizer) == {
        "optimizer": "sgd",
        "optimizer.sgd.lr": 1e-3,
        "optimizer.sgd.momentum": 0.9,
    }


def test_a_section_has_a_default_too() -> None:
    found = default_of(
        optimizer={"name": "adam", "lr": {"low": 1e-5, "high": 1e-1, "log": True}},
        initializer={"choices": ["he_normal", "torch_default"]},
        batch_size={"choices": [16, 64]},
        lr_schedule={"choices": ["cosine", None]},
    )
    assert found == {
        "initializer": "torch_default",
        "optimizer.lr": 1e-3,
        "lr_schedule": None,
        "batch_size": 64,
    }


def test_components_in_components_and_in_lists() -> None:
    dropout = {"low": 0.0, "high": 0.6}
    l2 = {"name": "l2", "strength": {"low": 1e-6, "high": 1.0, "log": True}}
    found = default_of(
        model={"name": "mlp", "hidden_sizes": [{"low": 8, "high": 72}], "dropout": dropout},
        regularizers=[l2],
    )
    assert found["model.dropout"] == 0.0
    assert found["model.hidden_sizes.0"] == 40  # nothing is known but the range
    assert found["regularizers.0.strength"] > 1e-6


def test_what_lies_outside_of_a_range_is_no_default() -> None:
    within = default_of(optimizer={"name": "sgd", "lr": {"low": 0.0, "high": 1.0}})
    assert within == {"optimizer.lr": 1e-3}
    outside = default_of(optimizer={"name": "sgd", "lr": {"low": 0.5, "high": 1.0}})
    assert outside == {"optimizer.lr": 0.75}


def test_of_code_of_the_users_the_middle() -> None:
    space = {
        "lr": {"low": 1e-4, "high": 1.0, "log": True},
        "width": {"choices": [64, 32, None]},
        "depth": {"low": 1, "high": 9, "prior": 2},
    }
    raw = {
        "name": "a",
        "objective": {"metric": "loss"},
        "trainable": "train.py:train",
        "space": space,
    }
    spec = draft_spec(raw).spec
    assert spec is not None
    found = default_configuration(spec)
    assert found == {"lr": found["lr"], "width": 64, "depth": 2}
    assert abs(float(str(found["lr"])) - 1e-2) < 1e-9


def test_auto_has_its_usual_value() -> None:
    optimizer = {"name": "sgd", "lr": "auto", "weight_decay": "auto"}
    spec = check(draft_spec(changed(**FIXED, optimizer=optimizer)))
    assert default_configuration(spec) == {"optimizer.lr": 1e-3, "optimizer.weight_decay": 1e-4}
