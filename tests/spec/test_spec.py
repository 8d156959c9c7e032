"""What a user may write in a spec, and what is said of what they may not."""

from __future__ import annotations

import copy
import doctest
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import hpsearch.errors
import hpsearch.spec.trees
import hpsearch.spec.units
from hpsearch.errors import Problem, SpecError, nearest_names
from hpsearch.spec import (
    Choices,
    Draft,
    EarlyStopping,
    Objective,
    Range,
    SearchSpec,
    apply_override,
    draft_spec,
    load_spec,
    parse_duration,
    parse_tree,
    to_plain,
)

EXAMPLES = sorted((Path(__file__).parents[2] / "search_spaces").glob("*.yaml"))
MINIMAL: dict[str, Any] = {"name": "x", "objective": {"metric": "val_loss"}}
FULL: dict[str, Any] = {
    "name": "full-1.0_b",
    "objective": {"metric": "val_loss", "direction": "minimize"},
    "dataset": {"name": "digits", "val_fraction": 0.25},
    "task": {"name": "classification", "label_smoothing": {"low": 0.0, "high": 0.2}},
    "model": {
        "name": "mlp",
        "hidden_sizes": [{"low": 8, "high": 64, "log": True}, {"choices": [16, 32]}],
        "activation": {"choices": ["relu", "tanh"]},
    },
    "initializer": {"choices": [{"name": "he_normal"}, {"name": "orthogonal", "gain": 1.5}]},
    "optimizer": {
        "choices": [
            {"name": "sgd", "lr": {"low": 1e-4, "high": 1.0, "log": True}, "momentum": 0.9},
            {"name": "adam", "lr": {"low": 1e-5, "high": 1e-1, "log": True}},
        ]
    },
    "batch_size": {"low": 16, "high": 128, "step": 16},
    "accumulate": 2,
    "gradient_clip": {"choices": [None, 1.0]},
    "precision": "bf16",
    "compile": True,
    "fuse": 8,
    "loader": {
        "num_workers": 2,
        "prefetch_factor": 3,
        "persistent_workers": False,
        "pin_memory": True,
    },
    "search": {
        "trials": 7,
        "epochs": 100,
        "time_limit": 5400.0,
        "trial_time_limit": 600.0,
        "seed": 3,
        "sampler": {"name": "tpe", "some_option": None},
        "early_stopping": {
            "max_epochs": 9,
            "name": "hyperband",
            "grace_period": 2,
            "reduction_factor": 4,
        },
        "max_concurrent": 2,
        "stop_after_failures": 4,
        "dry_epoch": False,
        "points": [{"batch_size": 32}],
        "warm_start": ["earlier"],
        "max_retries": 2,
        "checkpoint_every": 5,
        "keep_checkpoints": 3,
        "disk_quota": 20_000_000_000,
    },
    "resources": {"cpu": 2, "gpu": 0.5, "reuse": "never", "nodes": 1},
    "storage": "postgresql://server/searches",
    "tracking_uri": "http://server:5000",
}


def spec_of(raw: dict[str, Any]) -> SearchSpec:
    draft = draft_spec(raw)
    assert draft.spec is not None, [str(problem) for problem in draft.problems]
    return draft.spec


def texts(draft: Draft) -> list[str]:
    return [str(problem) for problem in draft.problems]


def with_value(path: str, value: Any) -> dict[str, Any]:
    """A good spec with one value replaced."""
    raw = copy.deepcopy(FULL)
    *parents, last = path.split(".")
    node: Any = raw
    for key in parents:
        node = node[int(key) if isinstance(node, list) else key]
    node[int(last) if isinstance(node, list) else last] = value
    return raw


@pytest.mark.parametrize("module", [hpsearch.errors, hpsearch.spec.trees, hpsearch.spec.units])
def test_the_examples_in_docstrings(module: Any) -> None:
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0


class TestShape:
    def test_defaults(self) -> None:
        spec = spec_of(MINIMAL)
        assert spec.objective.direction == "maximize"
        assert spec.search.trials == 32
        assert spec.search.sampler == {"name": "auto"}
        assert spec.search.early_stopping == EarlyStopping(name="asha", max_epochs=27)
        assert spec.max_epochs == 27

    def test_a_full_spec_is_read_and_written_back_unchanged(self) -> None:
        assert spec_of(FULL).to_dict() == FULL

    def test_a_spec_is_frozen(self) -> None:
        with pytest.raises(ValueError, match="frozen"):
            spec_of(FULL).search.trials = 3  # type: ignore[misc]

    def test_a_component_may_be_its_name_alone(self) -> None:
        spec = spec_of({**MINIMAL, "model": "mlp", "optimizer": {"choices": ["sgd", "adam"]}})
        assert spec.model == {"name": "mlp"}
        assert spec.optimizer == Choices(choices=({"name": "sgd"}, {"name": "adam"}))

    def test_python_users_may_write_models_too(self) -> None:
        spec = SearchSpec(
            name="x",
            objective=Objective(metric="val_loss"),
            model={"name": "mlp", "dropout": Range(low=0.0, high=0.5)},
        )
        assert spec.model["dropout"] == Range(low=0.0, high=0.5)
        with pytest.raises(SpecError, match="^model.dropout: low must be less than high"):
            SearchSpec(
                name="x",
                objective=Objective(metric="val_loss"),
                model={"name": "mlp", "dropout": {"low": 0.5, "high": 0.0}},
            )

    @pytest.mark.parametrize(
        ("settings", "expected"),
        [
            ({"max_epochs": 9}, EarlyStopping(max_epochs=9)),
            ("asha", EarlyStopping()),
            ("none", EarlyStopping(name="none")),
            ({"name": "rules.py:Mine", "at": None}, EarlyStopping(name="rules.py:Mine", at=None)),
        ],
    )
    def test_early_stopping(self, settings: Any, expected: Any) -> None:
        spec = spec_of({**MINIMAL, "search": {"early_stopping": settings}})
        assert spec.search.early_stopping == expected
        assert spec_of(spec.to_dict()) == spec  # a null stays

    def test_a_training_function_has_no_built_in_sections(self) -> None:
        spec = spec_of({**MINIMAL, "trainable": "train.py:train", "space": {"lr": 0.1}})
        assert spec.trial_sections == {"space": {"lr": 0.1}}
        assert set(spec.to_dict()).isdisjoint(["model", "batch_size", "initializer"])

    def test_the_spec_of_one_trial_has_nothing_to_search(self) -> None:
        spec = spec_of(FULL)
        values = {"model": {"name": "mlp"}, "batch_size": 32}
        again = spec_of(spec.with_values(values).to_dict())
        assert (again.model, again.batch_size) == ({"name": "mlp"}, 32)
        assert (again.search.trials, again.max_epochs) == (1, spec.max_epochs)


class TestProblems:
    @pytest.mark.parametrize(
        ("path", "value", "expected"),
        [
            ("name", "a b", "name: must match pattern"),
            ("objective", "val_loss", "objective: must be a mapping, but got 'val_loss'"),
            ("objective", {}, "objective.metric: must be given"),
            ("objective.direction", "up", "objective.direction: must be 'maximize' or 'minimize'"),
            (
                "objective.metrik",
                "a",
                "objective.metrik: must be a known key, but got 'metrik'; did you mean 'metric'?",
            ),
            (
                "modell",
                {},
                "modell: must be a known key, but got 'modell'; did you mean 'model'?",
            ),
            ("folder", "/tmp", "folder: must be a known key, but got 'folder'"),
            ("precision", "fp8", "precision: must be 'fp32', 'bf16' or 'fp16', but got 'fp8'"),
            ("compile", "yes", "compile: must be true or false, but got 'yes'"),
            ("fuse", 0, "fuse: must be auto, off or a number from 1 to 100,000, but got 0"),
            ("fuse", "on", "fuse: must be auto, off or a number from 1 to 100,000, but got 'on'"),
            ("search", [], "search: must be a mapping, but got []"),
            ("search.trials", 0, "search.trials: must be greater than or equal to 1, but got 0"),
            ("search.trials", "8", "search.trials: must be an integer, but got '8'"),
            ("search.trials", True, "search.trials: must be an integer, but got True"),
            ("search.trials", 10**7, "search.trials: must be less than or equal to 1000000"),
            ("search.seed", 2**63, "search.seed: must be less than 9223372036854775808"),
            ("search.time_limit", float("inf"), "search.time_limit: must be a finite number"),
            ("search.gpu_hours", float("inf"), "search.gpu_hours: must be a finite number"),
            ("search.disk_quota", "9999999TB", "search.disk_quota: must be less than or equal"),
            ("resources.gpu", float("nan"), "resources.gpu: must be"),
            (
                "search.early_stopping.max_epochs",
                10**10,
                "search.early_stopping.max_epochs: must be less than or equal to 10000000",
            ),
            ("search.seed", -1, "search.seed: must be greater than or equal to 0, but got -1"),
            ("search.time_limit", "2x", "search.time_limit: must be seconds or a text such as"),
            ("search.time_limit", 0, "search.time_limit: must be greater than 0, but got 0"),
            (
                "search.early_stopping.max_epochs",
                0,
                "search.early_stopping.max_epochs: must be greater than or equal to 1, but got 0",
            ),
            ("resources.cpu", 0, "resources.cpu: must be greater than or equal to 1, but got 0"),
            (
                "resources.gpus",
                1,
                "resources.gpus: must be a known key, but got 'gpus'; did you mean 'gpu'?",
            ),
            (
                "search.ensemble",
                {"tpo": 3},
                "search.ensemble.tpo: must be a known key, but got 'tpo'; did you mean 'top'?",
            ),
        ],
    )
    def test_of_settings(self, path: str, value: Any, expected: str) -> None:
        draft = draft_spec(with_value(path, value))
        assert draft.spec is None
        assert len(draft.problems) == 1
        assert texts(draft)[0].startswith(expected)

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ({"low": 2, "high": 1}, ": low must be less than high, but got {'low': 2, 'high': 1}"),
            ({"low": 1, "high": 1}, ": low must be less than high"),
            ({"low": 0.0, "high": 1.0, "log": True}, ": a log range must have low > 0"),
            ({"low": 1}, ".high: must be a finite number, but got None"),
            ({"low": 0.0, "high": float("inf")}, ".high: must be a finite number, but got inf"),
            ({"low": "a", "high": True}, ".low: must be a finite number, but got 'a'"),
            ({"low": 1, "high": 2, "log": "yes"}, ".log: must be true or false, but got 'yes'"),
            (
                {"low": 1, "high": 2, "stepp": 1},
                ".stepp: must be a key of a range, but got 'stepp'; did you mean 'step'?",
            ),
            (
                {"low": 1, "high": 9, "log": True, "step": 2},
                ": log and step exclude each other",
            ),
            ({"low": 1, "high": 9, "step": 0}, ": step must be > 0 and at most high - low"),
            ({"low": 1, "high": 9, "step": 9}, ": step must be > 0 and at most high - low"),
            ({"low": 0.0, "high": 1.0, "step": 0.3}, ": step must divide high - low"),
            (
                {"low": 8, "high": 64, "powers_of_two": 1},
                ".powers_of_two: must be true or false, but got 1",
            ),
            (
                {"low": 8, "high": 64, "powers_of_two": True, "step": 8},
                ": step and powers_of_two exclude each other",
            ),
            (
                {"low": 10, "high": 100, "powers_of_two": True},
                ": with powers_of_two both ends must be whole powers of two (it holds 16, 32, 64)",
            ),
            (
                {"low": 8, "high": 100.0, "powers_of_two": True},
                ": with powers_of_two both ends must be whole powers of two (it holds 8, 16, 32,",
            ),
            (
                {"low": 17, "high": 31, "powers_of_two": True},
                ": with powers_of_two both ends must be whole powers of two (it holds none), but",
            ),
            (
                {"low": -3.5, "high": 0.5, "powers_of_two": True},
                ": with powers_of_two both ends must be whole powers of two (it holds none), but",
            ),
            ({"choices": []}, ".choices: must be a list of values, but got []"),
            ({"choices": 3}, ".choices: must be a list of values, but got 3"),
            ({"choices": [1, 2, 1]}, ".choices: must differ from each other, but got 1"),
            ({"choices": [1, True]}, ".choices: must differ from each other, but got True"),
            ({"choices": [1, 2], "low": 3}, ".low: must not stand beside choices, but got 'low'"),
            (
                {"choices": [1, {"low": 3, "high": 2}]},
                ".choices.1: low must be less than high, but got {'low': 3, 'high': 2}",
            ),
            ([1, {"low": 3, "high": 2}], ".1: low must be less than high"),
            ({"deeper": {"low": 3, "high": 2}}, ".deeper: low must be less than high"),
            ({1: 2}, ": keys must be texts, but got [1]"),
            (yaml.safe_load("2020-01-01"), ": must be a number, text, list or mapping"),
        ],
    )
    def test_of_ranges_and_choices(self, value: Any, expected: str) -> None:
        draft = draft_spec(with_value("optimizer.choices.0.momentum", value))
        assert draft.spec is None
        assert texts(draft)[0].startswith("optimizer.choices.0.momentum" + expected)

    def test_all_are_told_at_once(self) -> None:
        raw = with_value("search.trials", 0)
        raw["optimizer"]["choices"][1]["lr"] = {"low": 2, "high": 1}
        raw["batch_size"] = {"choices": []}
        raw["modell"] = {}
        del raw["name"]
        assert {problem.path for problem in draft_spec(raw).problems} == {
            "search.trials",
            "optimizer.choices.1.lr",
            "batch_size.choices",
            "modell",
            "name",
        }

    def test_nearest_names_are_best_first(self) -> None:
        assert (
            nearest_names("val_acuracy", ["train_accuracy", "val_accuracy"])[0] == "val_accuracy"
        )
        assert nearest_names("zzz", ["train_accuracy"]) == ()


class TestTrees:
    @pytest.mark.parametrize(
        "value",
        [
            3,
            None,
            "text",
            [1, [2, {"a": None}]],
            {"low": 1, "high": 8},
            {"low": 1e-4, "high": 1.0, "log": True},
            {"low": 0.0, "high": 0.6, "step": 0.1},
            {"choices": [None, 1, "a", [1, 2], {"name": "b", "c": {"low": 0.0, "high": 1.0}}]},
        ],
    )
    def test_plain_values_come_back(self, value: Any) -> None:
        problems: list[Problem] = []
        assert to_plain(parse_tree(value, "x", problems)) == value
        assert problems == []

    def test_a_range_holds_integers_only_if_both_ends_do(self) -> None:
        assert Range(low=1, high=8).is_integer
        assert not Range(low=1, high=8.0).is_integer

    def test_labels_tell_choices_apart(self) -> None:
        sgd, other = {"name": "sgd", "lr": 0.1}, {"name": "sgd", "lr": 0.2}
        choices = Choices(choices=(None, 64, [128, 64], sgd, other))
        assert choices.labels == (None, 64, "[128, 64]", "sgd", "sgd#2")

    def test_lists_of_components_with_ranges_have_their_names(self) -> None:
        stage = {"name": "train", "epochs": Range(low=1, high=5)}
        constant = [{"name": "train", "epochs": 2}]
        choices = Choices(choices=(None, [stage], [stage, stage], constant))
        labels = (None, "train", "train, train", "[{name: train, epochs: 2}]")
        assert choices.labels == labels

    def test_labels_tell_many_choices_of_one_name_apart(self) -> None:
        choices = Choices(choices=tuple({"name": "sgd", "lr": lr} for lr in (0.1, 0.2, 0.3)))
        assert choices.labels == ("sgd", "sgd#2", "sgd#3")

    @pytest.mark.parametrize(
        ("value", "rule"),
        [
            ({"low": 0, "high": 10**20}, "ends must lie within ±9007199254740992"),
            ({"low": 1e-300, "high": 1e300, "step": 1e-300}, "at most 1,000,000,000 values"),
        ],
    )
    def test_ranges_that_no_sampler_can_take(self, value: Any, rule: str) -> None:
        problems: list[Problem] = []
        parse_tree(value, "x", problems)
        assert rule in str(problems)


class TestFiles:
    @pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
    def test_examples_come_back_from_their_resolved_text(self, path: Path, tmp_path: Path) -> None:
        spec = load_spec(path)
        resolved = tmp_path / "spec.yaml"
        resolved.write_text(spec.to_yaml())
        assert load_spec(resolved).to_dict() == spec.to_dict()

    def test_the_folder_is_the_files(self, tmp_path: Path) -> None:
        path = tmp_path / "spec.yaml"
        path.write_text(json.dumps(MINIMAL))
        assert load_spec(path).folder == str(tmp_path)

    @pytest.mark.parametrize("text", ["1e-4", "1E-4", "1.e-4", ".1e-3", "+1e-4", "1.0e-4"])
    def test_exponents_are_numbers(self, text: str, tmp_path: Path) -> None:
        path = tmp_path / "spec.yaml"
        path.write_text(f"{{name: x, objective: {{metric: m}}, space: {{lr: {text}}}}}")
        assert load_spec(path).space == {"lr": 1e-4}

    @pytest.mark.parametrize("text", ["1e", "e4", "1e-4x", "1-e4"])
    def test_what_only_looks_like_a_number_is_a_text(self, text: str, tmp_path: Path) -> None:
        path = tmp_path / "spec.yaml"
        path.write_text(f"{{name: x, objective: {{metric: m}}, space: {{lr: {text}}}}}")
        assert load_spec(path).space == {"lr": text}

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("- a\n", "must be a mapping of sections"),
            ("a: [1", "must be YAML"),
            ("a: 1\nb:\n  c: 1\n  c: 2\n", "the key 'c' comes twice in the mapping at line 3"),
        ],
    )
    def test_unreadable_files(self, text: str, expected: str, tmp_path: Path) -> None:
        path = tmp_path / "spec.yaml"
        path.write_text(text)
        with pytest.raises(SpecError, match=expected):
            load_spec(path)

    def test_missing_files(self, tmp_path: Path) -> None:
        with pytest.raises(SpecError, match="none.yaml: must be a readable file"):
            load_spec(tmp_path / "none.yaml")


class TestOverrides:
    @pytest.mark.parametrize(
        ("override", "path", "expected"),
        [
            ("search.trials=8", ("search", "trials"), 8),
            ("name=other", ("name",), "other"),
            ("model.hidden_sizes=[64, 64]", ("model", "hidden_sizes"), [64, 64]),
            ("model.hidden_sizes.1=7", ("model", "hidden_sizes", 1), 7),
            ("optimizer.choices.1.lr=1e-3", ("optimizer", "choices", 1, "lr"), 1e-3),
            ("model.dropout={low: 0.0, high: 0.5}", ("model", "dropout", "high"), 0.5),
            ("model.note=a=b", ("model", "note"), "a=b"),
            ("new.section=1", ("new", "section"), 1),
        ],
    )
    def test_replace_one_value(self, override: str, path: tuple[Any, ...], expected: Any) -> None:
        node: Any = copy.deepcopy(FULL)
        apply_override(node, override)
        for key in path:
            node = node[key]
        assert node == expected

    def test_reach_into_a_component_given_by_its_name(self) -> None:
        raw: dict[str, Any] = {"model": "mlp", "task": None, "optimizer": {"choices": ["sgd"]}}
        apply_override(raw, "model.dropout=0.1")
        apply_override(raw, "task.name=regression")
        apply_override(raw, "optimizer.choices.0.lr=0.1")
        assert raw == {
            "model": {"name": "mlp", "dropout": 0.1},
            "task": {"name": "regression"},
            "optimizer": {"choices": [{"name": "sgd", "lr": 0.1}]},
        }

    @pytest.mark.parametrize(
        ("override", "expected"),
        [
            ("search.trials", "--set: must be path=value, but got 'search.trials'"),
            ("=3", "--set: must be path=value, but got '=3'"),
            ("search.trials.x=3", "--set: search.trials.x must lead through mappings and lists"),
            ("search.trials.x.y=3", "--set: search.trials.x must lead through mappings and lists"),
            ("optimizer.choices.9=3", "--set: optimizer.choices.9 must lead through"),
            ("optimizer.choices.9.lr=3", "--set: optimizer.choices.9 must lead through"),
            ("model.hidden_sizes=[64", "--set: model.hidden_sizes must be given as YAML"),
        ],
    )
    def test_that_lead_nowhere(self, override: str, expected: str) -> None:
        with pytest.raises(SpecError) as caught:
            apply_override(copy.deepcopy(FULL), override)
        assert str(caught.value).startswith(expected)

    def test_are_applied_to_files(self) -> None:
        spec = load_spec(EXAMPLES[0], ["search.trials=3", "search.early_stopping.max_epochs=4"])
        assert (spec.search.trials, spec.max_epochs) == (3, 4)


def test_a_budget_is_extended_within_the_limits_alone() -> None:
    spec = draft_spec(FULL).spec
    assert spec is not None
    with pytest.raises(SpecError, match="search.trials: must be less than or equal to 1000000"):
        spec.extended(trials=1_000_000)


class TestDurations:
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [("45s", 45), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("1d", 86400), ("1.5h", 5400)],
    )
    def test_in_words(self, text: str, seconds: float) -> None:
        assert parse_duration(text) == seconds

    @pytest.mark.parametrize("text", ["", "h", "3", "3 weeks", "-3s", "1h 30"])
    def test_that_say_nothing(self, text: str) -> None:
        with pytest.raises(ValueError, match="must be seconds or a text"):
            parse_duration(text)
