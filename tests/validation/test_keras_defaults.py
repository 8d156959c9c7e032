"""`defaults: keras`: what isn't given is as in Keras, and written out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hpsearch import registry
from hpsearch.catalogue import families
from hpsearch.errors import SpecError
from hpsearch.registry import KerasDefault
from hpsearch.spec import draft_spec, load_spec
from hpsearch.validation import check, check_spec
from hpsearch.validation.defaults import default_configuration

#: the constructors of Keras 3.15.1, and the names of their arguments here
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"lr": 0.01},
    "rmsprop": {"lr": 0.001, "alpha": 0.9, "eps": 1e-7},
    "adam": {"lr": 0.001, "beta1": 0.9, "beta2": 0.999, "eps": 1e-7},
    "amsgrad": {"lr": 0.001, "beta1": 0.9, "beta2": 0.999, "eps": 1e-7},
    "adamw": {"lr": 0.001, "weight_decay": 0.004, "beta1": 0.9, "beta2": 0.999, "eps": 1e-7},
    "adagrad": {"lr": 0.001, "initial_accumulator_value": 0.1, "eps": 1e-7},
    "adadelta": {"lr": 0.001, "rho": 0.95, "eps": 1e-7},
    "adamax": {"lr": 0.001, "beta1": 0.9, "beta2": 0.999, "eps": 1e-7},
    "nadam": {"lr": 0.001, "beta1": 0.9, "beta2": 0.999, "eps": 1e-7, "momentum_decay": 1.0},
    "adafactor": {"lr": 0.001, "beta2_decay": -0.8, "d": 1.0},
}
OTHERS: dict[tuple[str, str], dict[str, Any]] = {
    ("norm", "batch"): {"momentum": 1 - 0.99, "eps": 1e-3},
    ("norm", "layer"): {"eps": 1e-3},
    ("norm", "group"): {"groups": 32, "eps": 1e-3},
    ("norm", "rms"): {"eps": 1e-6},
    ("activation", "leaky_relu"): {"negative_slope": 0.3},
    ("activation", "prelu"): {"init": 0.0},
    ("activation", "elu"): {"alpha": 1.0},
    ("initializer", "he_normal"): {"truncated": True},
    ("initializer", "lecun_normal"): {"truncated": True},
    ("initializer", "xavier_normal"): {"truncated": True},
    ("initializer", "normal"): {"std": 0.05},
    ("initializer", "uniform"): {"bound": 0.05},
    ("initializer", "orthogonal"): {"gain": 1.0},
    ("regularizer", "l1"): {"strength": 0.01},
    ("regularizer", "l2"): {"strength": 0.01},
    ("constraint", "max_norm"): {"c": 2.0},
    ("loss", "huber"): {"delta": 1.0},
    ("weight_averaging", "ema"): {"decay": 0.99, "warmup": False},
    # its patience of 0 ends a fit as 1 does, at the first epoch that isn't better
    ("callback", "early_stopping"): {"patience": 1, "min_delta": 0.0, "restore_best": False},
    # its patience of 10 counts from one epoch earlier
    ("lr_schedule", "plateau"): {"factor": 0.1, "patience": 10 - 1},
}
KERAS = {**{("optimizer", name): each for name, each in OPTIMIZERS.items()}, **OTHERS}


def spec_of(**sections: Any) -> dict[str, Any]:
    return {
        "name": "small",
        "objective": {"metric": "val_accuracy", "direction": "maximize"},
        "defaults": "keras",
        "dataset": "wine",
        "model": {"name": "mlp", "hidden_sizes": [4]},
        "optimizer": "adam",
        "search": {"trials": 1, "early_stopping": {"name": "none", "max_epochs": 1}},
        **sections,
    }


@pytest.mark.parametrize(("family", "name"), KERAS)
def test_defaults_are_those_of_keras(family: str, name: str) -> None:
    for key, expected in KERAS[family, name].items():
        parameter = registry.get(family, name).keywords[key]
        mark = registry.marked(parameter, KerasDefault)
        assert (parameter.default if mark is None else mark.value) == pytest.approx(expected)


def test_none_is_marked_that_is_not_in_the_table_or_the_same() -> None:
    for family in families():
        for name in registry.names(family):
            for key, parameter in registry.get(family, name).own_keywords.items():
                if (mark := registry.marked(parameter, KerasDefault)) is not None:
                    base = KERAS.get((family, name), {"lr": 0.01})  # momentum is SGD's too
                    assert key in base and mark.value != parameter.default


def test_what_is_not_given_is_written_out(tmp_path: Path) -> None:
    raw = spec_of(
        model={
            "name": "mlp",
            "hidden_sizes": [4],
            "norm": {"choices": ["batch", {"name": "layer", "eps": 1e-5}, "none"]},
            "activation": "prelu",
        },
        optimizer={
            "choices": [
                "rmsprop",
                {"name": "adam", "lr": {"low": 1e-4, "high": 0.1, "log": True}, "eps": 1e-4},
            ]
        },
        regularizers=["l2"],
    )
    spec = check(draft_spec(raw))
    plain = spec.to_dict()
    assert plain["initializer"] == {"name": "keras_default"} and plain["batch_size"] == 32
    assert plain["model"]["norm"]["choices"] == [
        {"name": "batch", "momentum": 0.01, "eps": 0.001},
        {"name": "layer", "eps": 1e-5},
        "none",
    ]
    assert plain["model"]["activation"] == {"name": "prelu", "init": 0.0}
    assert plain["regularizers"] == [{"name": "l2", "strength": 0.01}]
    rmsprop, adam = plain["optimizer"]["choices"]
    assert rmsprop == {"name": "rmsprop", "lr": 0.001, "alpha": 0.9, "eps": 1e-7}
    assert adam["eps"] == 1e-4 and isinstance(adam["lr"], dict)
    assert plain["defaults"] == "keras"
    (tmp_path / "spec.yaml").write_text(spec.to_yaml())
    again = check_spec(load_spec(tmp_path / "spec.yaml")).spec
    assert again.to_dict() == plain


def test_given_sections_stay() -> None:
    spec = check(draft_spec(spec_of(initializer="he_normal", batch_size=16)))
    assert spec.initializer == {"name": "he_normal", "truncated": True}
    assert spec.batch_size == 16


def test_components_that_are_defaults_of_others_get_theirs_too() -> None:
    model = {"name": "resnet", "widths": [4], "depths": [1]}
    spec = check(draft_spec(spec_of(dataset="digits", model=model)))
    assert spec.model["norm"] == {"name": "batch", "momentum": 0.01, "eps": 0.001}


def test_the_default_configuration_has_them() -> None:
    lr = {"low": 1e-4, "high": 1.0, "log": True}
    spec = check(
        draft_spec(
            spec_of(
                optimizer={"name": "sgd", "lr": lr},
                batch_size={"choices": [16, 32, 64]},
                search={"trials": 2, "early_stopping": {"max_epochs": 1}},
            )
        )
    )
    assert default_configuration(spec) == {"optimizer.lr": 0.01, "batch_size": 32}
    assert default_configuration(spec.model_copy(update={"defaults": None})) == {
        "optimizer.lr": 0.001,
        "batch_size": 64,
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"defaults": "torch"}, "defaults: must be 'keras', but got 'torch'"),
        (
            {"model": None, "optimizer": None, "dataset": None, "trainable": "train.py:train"},
            "defaults: must be given with a model only: Keras has no other defaults for your own",
        ),
    ],
)
def test_mistakes(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    raw = {key: value for key, value in spec_of(**change).items() if value is not None}
    if "trainable" in raw:
        (tmp_path / "train.py").write_text("def train(trial):\n    trial.report(val_accuracy=1)\n")
        raw["space"] = {"x": {"low": 0.0, "high": 1.0}}
    with pytest.raises(SpecError) as caught:
        check(draft_spec(raw, tmp_path))
    assert [str(each)[: len(message)] for each in caught.value.problems] == [message]
