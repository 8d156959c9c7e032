"""Priors in a spec: what they may be, and what becomes of them."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

import hpsearch.components
import hpsearch.training  # noqa: F401  # both register what they have
from hpsearch import Choice, Float, Int, registry
from hpsearch.errors import Problem
from hpsearch.schema import json_schema
from hpsearch.space import Prior, SearchSpace
from hpsearch.spec import parse_tree, to_plain

LOG: dict[str, Any] = {"low": 1e-5, "high": 0.1, "log": True}
SGD: dict[str, Any] = {"name": "sgd", "lr": {**LOG, "prior": 0.01, "confidence": "high"}}


def priors_of(tree: dict[str, Any]) -> dict[str, Prior | None]:
    problems: list[Problem] = []
    space = SearchSpace.from_sections({"space": parse_tree(tree, "", problems)})
    assert problems == []
    return {parameter.name: parameter.prior for parameter in space.parameters}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({**LOG, "prior": 3e-4}, Prior(3e-4, "medium")),
        ({"low": 0.0, "high": 1.0, "prior": 1}, Prior(1.0, "medium")),
        ({"low": 1, "high": 9, "step": 2, "prior": 3, "confidence": "low"}, Prior(3, "low")),
        ({"low": 8, "high": 64, "powers_of_two": True, "prior": 32}, Prior(32, "medium")),
        ({"choices": [32, 64], "prior": 64, "confidence": "high"}, Prior(64, "high")),
        ({"choices": [True, 1.5, None], "prior": None}, Prior(None, "medium")),
        ({"choices": [[64], [64, 32]], "prior": [64, 32]}, Prior("[64, 32]", "medium")),
        ({"choices": [SGD, {"name": "adam"}], "prior": "adam"}, Prior("adam", "medium")),
        ({"choices": ["a", "b"]}, None),
        (LOG, None),
    ],
)
def test_belong_to_ranges_and_choices_and_are_written_back(value: Any, expected: Any) -> None:
    prior = priors_of({"x": value})["x"]
    assert prior == expected
    assert prior is None or type(prior.value) is type(expected.value)
    plain = to_plain(parse_tree(value, "x", []))
    assert parse_tree(plain, "x", []) == parse_tree(value, "x", [])


def test_stand_inside_choices_too() -> None:
    found = priors_of({"optimizer": {"choices": [SGD, "adam"], "prior": "sgd"}})
    assert found == {"optimizer": Prior("sgd", "medium"), "optimizer.sgd.lr": Prior(0.01, "high")}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({**LOG, "prior": 0.2}, "x.prior: must be from 1e-05 to 0.1, but got 0.2"),
        ({**LOG, "prior": "1e-3"}, "x.prior: must be a number, but got '1e-3'"),
        ({**LOG, "prior": None}, "x.prior: must be a number, but got None"),
        ({"low": 1, "high": 9, "prior": 2.0}, "x.prior: must be an integer, but got 2.0"),
        (
            {"low": 8, "high": 64, "powers_of_two": True, "prior": 48},
            "x.prior: must be a power of two, but got 48",
        ),
        (
            {"low": 1, "high": 9, "step": 2, "prior": 4},
            "x.prior: must be 1 plus a multiple of 2, but got 4",
        ),
        (
            {**LOG, "prior": 0.01, "confidence": "hihg"},
            "x.confidence: must be low, medium or high, but got 'hihg'; did you mean 'high'?",
        ),
        ({**LOG, "confidence": "high"}, "x.confidence: must be given with a prior only"),
        ({**LOG, "piror": 0.01}, "x.piror: must be a key of a range, but got 'piror'; did you"),
        (
            {"choices": ["sgd", "adam"], "prior": "adma"},
            "x.prior: must be one of 'sgd', 'adam', but got 'adma'; did you mean 'adam'?",
        ),
        ({"choices": [1, 2], "prior": True}, "x.prior: must be one of 1, 2, but got True"),
        ({"choices": ["a"], "prior": "a"}, "x.prior: must be left out where there is one choice"),
        ({"choices": ["a", "b"], "confidence": "low"}, "x.confidence: must be given with a prior"),
    ],
)
def test_what_they_may_not_be(value: Any, expected: str) -> None:
    problems: list[Problem] = []
    parse_tree(value, "x", problems)
    assert len(problems) == 1 and str(problems[0]).startswith(expected)


def test_in_python() -> None:
    space = {
        "lr": Float(1e-5, 1e-1, log=True, prior=3e-4, confidence="high"),
        "depth": Int(1, 8, prior=3),
        "width": Choice([32, None], prior=None),
    }
    assert priors_of(space) == {
        "lr": Prior(3e-4, "high"),
        "depth": Prior(3, "medium"),
        "width": Prior(None, "medium"),
    }


def test_editors_know_them() -> None:
    spec = {
        "name": "a",
        "objective": {"metric": "val_loss", "direction": "minimize"},
        "dataset": "digits",
        "model": "mlp",
        "optimizer": {"choices": [SGD, "adam"], "prior": "adam", "confidence": "low"},
    }
    validator = Draft202012Validator(json_schema())
    assert validator.is_valid(spec)
    spec["optimizer"] = {"name": "sgd", "lr": {**LOG, "prior": 0.01, "confidence": "hihg"}}
    assert not validator.is_valid(spec)


def test_every_recommended_range_has_one() -> None:
    for family in registry.families():
        for name in registry.names(family):
            component = registry.get(family, name)
            for key, recommended in component.recommended.items():
                plain = recommended.to_dict(component.keywords[key].default)
                assert {"prior", "confidence"} <= plain.keys(), (family, name, key)
                problems: list[Problem] = []
                parse_tree(plain, key, problems)
                assert problems == []
