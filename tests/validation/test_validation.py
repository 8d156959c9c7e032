"""The check of meaning: each rule, and all broken rules at once."""

from __future__ import annotations

import doctest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hpsearch.validation.samples
from hpsearch import registry
from hpsearch.spec import draft_spec, load_spec
from hpsearch.validation import check, check_spec, load_checked_spec
from tests.support.problems import USER_CODE, problems_of
from tests.support.specs import GOOD, changed
from tests.support.user_modules import user_module

EXAMPLES = sorted((Path(__file__).parents[2] / "search_spaces").glob("*.yaml"))
FUNCTION: dict[str, Any] = {
    "name": "mine",
    "objective": {"metric": "anything"},
    "trainable": "code.py:train",
    "space": {"lr": {"low": 0.1, "high": 1.0}},
}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with user_module(tmp_path, "code_of_user", USER_CODE):
        yield tmp_path


class TestGoodSpecs:
    @pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
    def test_examples(self, path: Path) -> None:
        needed = Path("/usr/share/datasets/fashion-mnist")
        if path.name.startswith("fashion_mnist") and not needed.is_dir():
            pytest.skip("Fashion-MNIST is not installed: apt-get install dataset-fashion-mnist")
        checked = load_checked_spec(path)
        # only `auto` is replaced, also that of a recipe, and that once
        if not any(word in path.read_text() for word in ("auto", "recipe")):
            assert checked == load_spec(path)
        assert check_spec(checked)[0] == checked

    def test_give_the_data_that_was_loaded_to_check_them(self) -> None:
        spec = check(draft_spec(GOOD))
        data = check_spec(spec)[1]
        assert data is not None
        assert (data.kind, data.input_shape, data.output_size) == ("classification", (13,), 3)

    def test_the_seed_of_the_search_splits_the_data(self) -> None:
        loaded = []
        for seed in (0, 0, 1):
            data = check_spec(check(draft_spec(changed(search={"seed": seed}))))[1]
            assert data is not None
            loaded.append(data.train.x)  # type: ignore[union-attr]
        assert np.array_equal(loaded[0], loaded[1])
        assert not np.array_equal(loaded[0], loaded[2])

    def test_checking_leaves_torchs_generator_alone(self) -> None:
        torch.manual_seed(3)
        before = torch.get_rng_state()
        check(draft_spec(GOOD))
        assert torch.equal(torch.get_rng_state(), before)

    def test_of_a_training_function_have_no_data(self, folder: Path) -> None:
        raw = {**FUNCTION, "trainable": "code_of_user.py:train"}
        assert check_spec(check(draft_spec(raw, folder)))[1] is None

    @pytest.mark.parametrize(
        "sections",
        [
            {"model": {"name": "code.py:net", "width": {"low": 1, "high": 9}}},
            {"optimizer": {"name": "code.py:adam_of_mine", "lr": {"low": 0.1, "high": 1.0}}},
            {"dataset": {"name": "code.py:data", "rows": 80}},
            {"dataset": {"name": "wine", "folds": 3}},
            {"optimizer": {"name": {"choices": ["sgd", "adam"]}, "lr": 0.1}},
            {"gradient_clip": {"choices": [None, 1.0, {"low": 0.1, "high": 10.0}]}},
            {"model": {"name": "mlp", "hidden_sizes": {"choices": [[], [8], [8, 8]]}}},
            {"model": {"name": "mlp", "hidden_sizes": [{"low": 4, "high": 8}, 4]}},
            {"objective": {"metric": "train_loss", "direction": "minimize"}},
        ],
    )
    def test_of_many_forms(self, sections: dict[str, Any], folder: Path) -> None:
        assert problems_of(changed(**sections), folder) == []

    @pytest.mark.parametrize("name", ["train", "Whole"])
    def test_functions_and_classes(self, name: str, folder: Path) -> None:
        assert problems_of({**FUNCTION, "trainable": f"code.py:{name}"}, folder) == []

    def test_where_some_configurations_fail_trials_may_tell(self, folder: Path) -> None:
        for model in (
            {"name": "code.py:moody", "width": {"low": 8, "high": 64}},
            {"name": "code.py:net", "depth": {"low": 1, "high": 5}},
        ):
            assert problems_of(changed(model=model), folder) == []


class TestComponents:
    @pytest.mark.parametrize(
        ("sections", "expected"),
        [
            (
                {"model": "mlpp"},
                f"model.name: must be one of {', '.join(registry.names('model'))}, or yours as "
                "module:factory, but got 'mlpp'; did you mean 'mlp' or 'gmlp'?",
            ),
            ({"model": {"hidden_sizes": [3]}}, "model.name: must be given"),
            ({"model": 3}, "model: must be the name of a component (model), but got 3"),
            ({"model": {"name": 3}}, "model.name: must be a text, but got 3"),
            ({"model": {"name": {"low": 1, "high": 2}}}, "model.name: must be a text, but got"),
            (
                {"model": {"choices": ["mlp", "cmn"]}},
                "model.choices.1.name: must be one of ",
            ),
            (
                {"optimizer": {"name": {"choices": ["sgd", "adma"]}}},
                "optimizer.name.choices.1: must be one of ",
            ),
            (
                {"optimizer": {"name": "sgd", "momentumm": 0.9}},
                "optimizer.momentumm: must be a keyword of optimizer sgd "
                "(decay_biases, lr, momentum, dampening, weight_decay), but got 'momentumm'; "
                "did you mean 'momentum'?",
            ),
            (
                {"optimizer": {"name": {"choices": ["sgd", "adam"]}, "momentum": 0.9}},
                "optimizer.momentum: must be a keyword of optimizer adam",
            ),
            (
                {"initializer": {"name": "he_normal", "gain": 2}},
                "initializer.gain: must be a keyword of initializer he_normal (first, output, ",
            ),
            (
                {"model": {"name": "mlp", "output_size": 3}},
                "model.output_size: must not be given: model mlp gets it from hpsearch",
            ),
            (
                {"dataset": {"name": "csv", "path": "x"}},
                "dataset.target: must be given for dataset csv",
            ),
            (
                {"model": "code.py:required"},
                "model.width: must be given for model code_of_user.py:",
            ),
            (
                {"optimizer": {"name": "sgd", "lr": [0.001, 0.01]}},
                "optimizer.lr: must be a number, but got [0.001, 0.01]; "
                "several values: {choices: [0.001, 0.01]}",
            ),
        ],
    )
    def test_names_and_keywords(
        self, sections: dict[str, Any], expected: str, folder: Path
    ) -> None:
        found = problems_of(changed(**sections), folder)
        assert found[0].startswith(expected)
        assert len(found) == 1

    @pytest.mark.parametrize(
        ("keywords", "expected"),
        [
            ({"dropout": 1.0}, "model.dropout: must be less than 1, but got 1.0"),
            ({"dropout": "high"}, "model.dropout: must be one of alpha, "),
            ({"dropout": True}, "model.dropout: must be a number, but got True"),
            ({"dropout": None}, "model.dropout: must be the name of a component (dropout)"),
            (
                {"dropout": {"low": -0.5, "high": 0.5}},
                "model.dropout: must be greater than or equal to 0, but got -0.5",
            ),
            (
                {"dropout": {"low": 0.5, "high": 2.0}},
                "model.dropout: must be less than 1, but got 2.0",
            ),
            (
                {"dropout": {"choices": [0.1, "off"]}},
                "model.dropout.choices.1: must be one of alpha, ",
            ),
            (
                {"dropout": {"choices": [0.1, {"low": 0.5, "high": 1.5}]}},
                "model.dropout.choices.1: must be less than 1, but got 1.5",
            ),
            ({"hidden_sizes": 64}, "model.hidden_sizes: must be "),
            (
                {"hidden_sizes": [64, 0]},
                "model.hidden_sizes.1: must be greater than or equal to 1",
            ),
            (
                {"hidden_sizes": [64, {"low": 1.5, "high": 8}]},
                "model.hidden_sizes.1: must be an integer, but got 1.5",
            ),
            (
                {"hidden_sizes": {"choices": [[64], [8, "a"]]}},
                "model.hidden_sizes.choices.1.1: must be an integer, but got 'a'",
            ),
            ({"activation": "rellu"}, "model.activation: must be one of "),
            (
                {"activation": {"choices": ["relu", {"name": "leaky_relu", "slope": 1}]}},
                "model.activation.choices.1.slope: must be a keyword of activation leaky_relu",
            ),
        ],
    )
    def test_values(self, keywords: dict[str, Any], expected: str) -> None:
        found = problems_of(changed(model={"name": "mlp", **keywords}))
        assert found[0].startswith(expected)
        assert len(found) == 1

    def test_values_of_the_users_own_components(self, folder: Path) -> None:
        section = {"name": "code.py:net", "width": {"low": 1.5, "high": 4.0}, "depth": "x"}
        assert problems_of(changed(model=section), folder) == [
            "model.width: must be an integer, but got 1.5",
            "model.depth: must be an integer, but got 'x'",
        ]

    def test_choices_of_a_literal_are_named(self) -> None:
        loss = {"name": "cross_entropy", "class_weights": "balance"}
        assert problems_of(changed(task={"name": "classification", "loss": loss})) == [
            "task.loss.class_weights: must be 'none' or 'balanced', but got 'balance'; "
            "did you mean 'balanced'?"
        ]

    @pytest.mark.parametrize("section", ["dataset", "model", "optimizer"])
    def test_that_are_needed(self, section: str) -> None:
        raw = {key: value for key, value in GOOD.items() if key != section}
        expected = f"{section}: must be given (or trainable or command, for your own code)"
        assert expected in problems_of(raw)

    def test_the_documented_examples_of_samples(self) -> None:
        results = doctest.testmod(hpsearch.validation.samples)
        assert (results.attempted, results.failed) == (2, 0)


class TestTrials:
    @pytest.mark.parametrize(
        ("sections", "expected"),
        [
            ({"batch_size": 143}, "batch_size: must be at most the number of training rows (11"),
            (
                {"batch_size": {"choices": [16, 500]}},
                "batch_size.choices.1: must be at most the number of training rows (11",
            ),
            ({"batch_size": {"low": 1, "high": 999}}, "batch_size: must be at most"),
            (
                {"batch_size": 0},
                "batch_size: must be greater than or equal to 1 or 'full', but got 0",
            ),
            (
                {"batch_size": 0.5},
                "batch_size: must be an integer or 'full', but got 0.5",
            ),
            ({"gradient_clip": 0}, "gradient_clip: must be greater than 0, but got 0"),
            (
                {"optimizer": {"choices": ["adam", "lbfgs"]}, "finetune": "low_lr"},
                "optimizer.choices.1.name: lbfgs has one learning rate",
            ),
            (
                {"optimizer": "lbfgs", "finetune": "partial"},
                "optimizer.name: lbfgs has one learning rate",
            ),
            (
                {
                    "dataset": {"name": "wine", "train_rows": 60, "folds": 2},
                    "finetune": "subset",
                    "batch_size": 32,
                },
                "batch_size: must be at least 1 and at most the 30 training rows, but got 32",
            ),
            (
                {"dataset": {"name": "wine", "val_fraction": {"low": 0.1, "high": 0.2}}},
                "dataset.val_fraction: must be a constant, the same for all trials",
            ),
            (
                {"dataset": {"choices": ["wine", "digits"]}},
                "dataset: must be a constant, the same for all trials",
            ),
            (
                {"dataset": {"name": "csv", "path": "none.csv", "target": "y"}},
                "dataset.path: must be a file",
            ),
            (
                {"dataset": {"name": "fashion_mnist", "data_dir": "nowhere"}},
                "dataset: fashion_mnist needs ",
            ),
            ({"dataset": {"name": "wine", "folds": 1000}}, "dataset.folds: must be at most"),
            ({"model": "cnn"}, "model: cnn needs images of the shape (channels, height, width)"),
            (
                {"dataset": "digits", "model": {"name": "cnn", "channels": [1, 2, 3, 4]}},
                "model.channels: pooling by 2 after each convolution must leave at least 1x1",
            ),
            ({"task": "regression"}, "task.name: regression needs targets for regression"),
            (
                {"objective": {"metric": "val_acuracy"}},
                "objective.metric: must be a metric that every trial reports (train_loss, "
                "train_accuracy, val_loss, val_accuracy, lr, grad_norm, seconds, latency_ms, "
                "parameters, peak_memory_mb), but got 'val_acuracy'; did you mean 'val_accuracy'",
            ),
            ({"objective": {"metric": "val_r2"}}, "objective.metric: must be a metric that every"),
            ({"space": {"lr": 1}}, "space: must be given with trainable or command only"),
        ],
    )
    def test_that_cannot_work(self, sections: dict[str, Any], expected: str) -> None:
        found = problems_of(changed(**sections))
        assert found[0].startswith(expected)
        assert len(found) == 1

    @pytest.mark.parametrize(
        ("section", "name", "expected"),
        [
            ("model", "nowhere.py:net", "model.name: nowhere.py:net: can't be imported: FileNot"),
            ("model", "code.py:nett", "model.name: code_of_user.py:nett: can't be imported: Attr"),
            ("model", "code.py:no_net", "model.name: code_of_user.py:no_net must return a torch."),
            ("model", "code.py:wrong_shape", "model.name: code_of_user.py:wrong_shape must give "),
            (
                "model",
                "code.py:broken",
                "model: must build for examples of the shape (13,) "
                "(RuntimeError: no luck), but got {'name': 'code_of_user.py:broken'}",
            ),
            ("dataset", "code.py:net", "dataset.input_shape: must be given for dataset code_of"),
            ("dataset", "nowhere:data", "dataset.name: nowhere:data: can't be imported: Module"),
        ],
    )
    def test_of_code_that_cannot_work(
        self, section: str, name: str, expected: str, folder: Path
    ) -> None:
        assert problems_of(changed(**{section: name}), folder)[0].startswith(expected)

    def test_of_a_file_that_stands_for_another_module_in_workers(self, folder: Path) -> None:
        (folder / "this.py").write_text(USER_CODE)
        expected = (
            "this.py:net: can't be imported: ImportError: an installed module is named 'this', "
            "and workers may have loaded it: rename this.py"
        )
        assert problems_of(changed(model="this.py:net"), folder) == [f"model.name: {expected}"]
        function = {**FUNCTION, "trainable": "this.py:train"}
        assert problems_of(function, folder) == [
            f"trainable: {expected.replace('this.py:net', 'this.py:train')}"
        ]

    def test_without_data_any_task_may_be_meant(self) -> None:
        missing = {"name": "csv", "path": "none.csv", "target": "y"}
        raw = changed(dataset=missing, objective={"metric": "val_r2"})
        assert len(problems_of(raw)) == 1
        raw = changed(dataset=missing, objective={"metric": "val_r2"}, task="classification")
        assert [text.partition(":")[0] for text in problems_of(raw)] == [
            "dataset.path",
            "objective.metric",
        ]


class TestTrainingFunctions:
    @pytest.mark.parametrize(
        ("sections", "expected"),
        [
            ({"model": "mlp"}, "model: must not be given with trainable, which does this itself"),
            ({"batch_size": 32}, "batch_size: must not be given with trainable"),
            ({"precision": "bf16"}, "precision: must not be given with trainable"),
            ({"compile": True}, "compile: must not be given with trainable"),
            ({"trainable": "train"}, "trainable: must be module:function, file.py:function or"),
            ({"trainable": "code.py:nix"}, "trainable: code_of_user.py:nix: can't be imported"),
            (
                {"trainable": "code.py:wrong_arguments"},
                "trainable: must take the arguments config and trial, and no other without a "
                "default, but got 'code_of_user.py:wrong_arguments(parameters)'",
            ),
            (
                {"trainable": "code.py:Half"},
                "trainable: must have the methods train_epoch, state_dict, load_state_dict, "
                "but got 'code_of_user.py:Half without state_dict, load_state_dict'",
            ),
            (
                {"space": {"a.b": 1}},
                "space.a.b: a hyperparameter's name must be made of letters",
            ),
            ({"space": {"": 1}}, "space.: a hyperparameter's name must be made of"),
            (
                {"space": {"a": {"choices": [1, {"b%": 1}]}}},
                "space.a.choices.1.b%: a hyperparameter's name must be made of",
            ),
            ({"space": [1]}, "space: must map the names of hyperparameters to values"),
            ({"space": {"low": 1, "high": 2}}, "space: must map the names of hyperparameters"),
            ({"trainable": 3}, "trainable: must be a text, but got 3"),
        ],
    )
    def test_that_cannot_work(self, sections: dict[str, Any], expected: str, folder: Path) -> None:
        found = problems_of({**FUNCTION, **sections}, folder)
        assert found[0].startswith(expected)
        assert len(found) == 1


class TestAllAtOnce:
    def test_mistakes_of_shape_and_of_meaning(self) -> None:
        raw = {
            "name": "wrong",
            "objektive": {},
            "objective": {"metric": "val_acuracy"},
            "dataset": "wine",
            "model": "mlpp",
            "optimizer": {
                "choices": [
                    {"name": "sgd", "lr": {"low": 1.0, "high": 0.1}, "momentumm": 0.5},
                    {"name": "adam", "lr": -1},
                ]
            },
            "batch_size": {"choices": [32, 5000]},
            "search": {"trials": 0, "sampler": "tppe", "early_stopping": {"grace_period": 99}},
        }
        assert [text.partition(":")[0] for text in problems_of(raw)] == [
            "optimizer.choices.0.lr",
            "search.trials",
            "objektive",
            "model.name",
            "optimizer.choices.0.momentumm",
            "optimizer.choices.1.lr",
            "batch_size.choices.1",
            "objective.metric",
            "search.sampler.name",
            "search.early_stopping.grace_period",
        ]

    def test_of_a_training_function(self, folder: Path) -> None:
        raw = {**FUNCTION, "trainable": "code.py:nix", "modell": 1, "space": {"a.b": 1}}
        assert [text.partition(":")[0] for text in problems_of(raw, folder)] == [
            "modell",
            "trainable",
            "space.a.b",
        ]
