"""From the trees of a spec to Optuna's distributions and back to one configuration."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
    json_to_distribution,
)

from hpsearch.errors import Problem
from hpsearch.space import Parameter, PowersOfTwo, SearchSpace
from hpsearch.spec import Choices, Range, Scalar, load_spec, parse_tree
from tests.support.space import draw

EXAMPLES = sorted((Path(__file__).parents[2] / "search_spaces").glob("*.yaml"))


def space_of(**sections: Any) -> SearchSpace:
    problems: list[Problem] = []
    trees = {name: parse_tree(value, name, problems) for name, value in sections.items()}
    assert problems == []
    return SearchSpace.from_sections(trees)


def holds(tree: Any, value: Any) -> bool:
    """Whether a value is one that a tree may come to; written anew, from the words of a spec."""
    if isinstance(tree, Range):
        kind = int if tree.is_integer else float
        return type(value) is kind and tree.low <= value <= tree.high
    if isinstance(tree, Choices):
        return any(holds(choice, value) for choice in tree.choices)
    if isinstance(tree, dict):
        is_mapping = isinstance(value, dict) and tree.keys() == value.keys()
        return is_mapping and all(holds(tree[key], value[key]) for key in tree)
    if isinstance(tree, list):
        return isinstance(value, list) and len(tree) == len(value) and all(map(holds, tree, value))
    return type(tree) is type(value) and bool(tree == value)


CONDITIONAL = {
    "optimizer": {
        "choices": [
            {"name": "sgd", "lr": {"low": 1e-3, "high": 1.0, "log": True}},
            {"name": "adam", "lr": {"low": 1e-4, "high": 1e-1, "log": True}, "eps": 1e-8},
            {"name": "adam", "lr": 0.1},
        ]
    },
    "batch_size": {"choices": [32, 64]},
    "seed": 1,
}


class TestDistributions:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ({"low": 1, "high": 8}, IntDistribution(1, 8)),
            ({"low": 1, "high": 64, "log": True}, IntDistribution(1, 64, log=True)),
            ({"low": 16, "high": 128, "step": 16}, IntDistribution(16, 128, step=16)),
            ({"low": 16, "high": 128, "powers_of_two": True}, PowersOfTwo(16, 128)),
            ({"low": 0.0, "high": 1}, FloatDistribution(0.0, 1.0)),
            ({"low": 1e-4, "high": 1.0, "log": True}, FloatDistribution(1e-4, 1.0, log=True)),
            ({"low": 0.0, "high": 0.6, "step": 0.1}, FloatDistribution(0.0, 0.6, step=0.1)),
            ({"low": 1, "high": 3, "step": 0.5}, FloatDistribution(1.0, 3.0, step=0.5)),
            (
                {"choices": [None, 1, "a", [1, 2]]},
                CategoricalDistribution((None, 1, "a", "[1, 2]")),
            ),
        ],
    )
    def test_of_ranges_and_choices(self, value: Any, expected: Any) -> None:
        space = space_of(model={"x": value})
        assert space.distributions == {"model.x": expected}
        # what the record keeps
        kept = expected.whole if isinstance(expected, PowersOfTwo) else expected
        assert json_to_distribution(distribution_to_json(kept)) == kept

    def test_constants_are_no_parameters(self) -> None:
        assert space_of(model={"name": "mlp", "hidden_sizes": [128, 64]}).parameters == ()

    def test_items_of_lists_are_named_by_their_index(self) -> None:
        space = space_of(model={"sizes": [{"low": 1, "high": 2}, 3, {"low": 4, "high": 5}]})
        assert list(space.distributions) == ["model.sizes.0", "model.sizes.2"]

    def test_the_space_of_a_training_function_adds_no_prefix(self) -> None:
        space = space_of(space={"lr": {"low": 0.1, "high": 1.0}, "net": {"choices": [1, 2]}})
        assert list(space.distributions) == ["lr", "net"]
        assert space.resolve({"lr": 0.5, "net": 2}) == {"space": {"lr": 0.5, "net": 2}}


class TestConditions:
    def test_what_stands_in_a_choice_is_named_by_its_label(self) -> None:
        space = space_of(**CONDITIONAL)
        assert [(each.name, each.condition) for each in space.parameters] == [
            ("optimizer", ()),
            ("optimizer.sgd.lr", (("optimizer", "sgd"),)),
            ("optimizer.adam.lr", (("optimizer", "adam"),)),
            ("batch_size", ()),
        ]

    def test_only_what_was_chosen_is_active(self) -> None:
        space = space_of(**CONDITIONAL)
        assert [each.name for each in space.active({"optimizer": "adam#2", "batch_size": 32})] == [
            "optimizer",
            "batch_size",
        ]

    def test_the_same_name_in_two_choices_resolves_to_the_one_chosen(self) -> None:
        resolved = space_of(**CONDITIONAL).resolve({"optimizer": "adam#2", "batch_size": 64})
        assert resolved == {
            "optimizer": {"name": "adam", "lr": 0.1},
            "batch_size": 64,
            "seed": 1,
        }

    def test_conditions_nest(self) -> None:
        inner = {"name": "b", "x": {"choices": [{"name": "c", "y": {"low": 1, "high": 2}}, 0]}}
        space = space_of(model={"choices": ["a", inner]})
        deepest = space.parameters[-1]
        assert deepest.name == "model.b.x.c.y"
        assert deepest.condition == (("model", "b"), ("model.b.x", "c"))
        assert not deepest.is_active({"model": "b", "model.b.x": 0})
        params: dict[str, Scalar] = {"model": "b", "model.b.x": "c", "model.b.x.c.y": 2}
        assert space.resolve(params) == {"model": {"name": "b", "x": {"name": "c", "y": 2}}}

    def test_a_condition_tells_numbers_from_truth_values(self) -> None:
        parameter = Parameter("x", IntDistribution(1, 2), (("y", 1),))
        assert parameter.is_active({"y": 1})
        assert not parameter.is_active({"y": True})
        assert not parameter.is_active({})


class TestResolving:
    @pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
    def test_every_configuration_of_the_examples_is_one_of_its_spec(self, path: Path) -> None:
        space, rng = SearchSpace.of(load_spec(path)), random.Random(0)
        names = [parameter.name for parameter in space.parameters]
        assert len(set(names)) == len(names)
        for _ in range(100):
            params = draw(space, rng)
            assert [each.name for each in space.active(params)] == list(params)
            resolved = space.resolve(params)
            assert holds(dict(space.sections), resolved)
            assert json.loads(json.dumps(resolved)) == resolved

    def test_of_different_configurations_differ(self) -> None:
        space, rng = space_of(**CONDITIONAL), random.Random(0)
        drawn = [draw(space, rng) for _ in range(50)]
        configurations = {json.dumps(params, sort_keys=True) for params in drawn}
        resolved = {json.dumps(space.resolve(params)) for params in drawn}
        assert len(resolved) == len(configurations) > 20

    def test_needs_a_value_for_each_active_parameter(self) -> None:
        with pytest.raises(KeyError, match="batch_size"):
            space_of(**CONDITIONAL).resolve({"optimizer": "adam#2"})
