"""The JSON schema accepts the specs that are valid, and refuses what it can tell is not."""

from __future__ import annotations

import copy
import doctest
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import hpsearch.schema
from hpsearch import registry
from hpsearch.schema import json_schema
from hpsearch.spec import load_spec, read_draft

EXAMPLES = sorted((Path(__file__).parents[2] / "search_spaces").glob("*.yaml"))


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


TABLE = {
    "drop": "auto",
    "features": ["a", "b"],
    "separator": ";",
    "header": False,
    "encoding": "cp1252",
    "decimal": ",",
    "thousands": ".",
    "na_values": ["?"],
    "dates": {"b": "%d.%m.%Y"},
    "categories": ["a"],
    "kind": "regression",
}


def example() -> dict[str, Any]:
    path = next(path for path in EXAMPLES if path.name == "digits_mlp.yaml")
    return load_spec(path).to_dict()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_are_valid(path: Path, validator: Draft202012Validator) -> None:
    written = read_draft(path).raw
    assert [error.message for error in validator.iter_errors(written)] == []
    resolved = json.loads(json.dumps(load_spec(path).to_dict()))
    assert [error.message for error in validator.iter_errors(resolved)] == []


@pytest.mark.parametrize(
    "change",
    [
        lambda spec: spec.update(modell={}),
        lambda spec: spec.update(folder="/"),
        lambda spec: spec.pop("name"),
        lambda spec: spec.pop("model"),
        lambda spec: spec["objective"].update(direction="up"),
        lambda spec: spec.update(model="mlpp"),
        lambda spec: spec["model"].update(dropuot=0.1),
        lambda spec: spec["model"].update(dropout="high"),
        lambda spec: spec["model"].update(dropout={"low": 0.1}),
        lambda spec: spec["model"].update(dropout={"choices": []}),
        lambda spec: spec["model"].update(hidden_sizes=[0]),
        lambda spec: spec["model"].update(hidden_sizes=[{"low": 1, "hihg": 3}]),
        lambda spec: spec["model"].update(activation="rellu"),
        lambda spec: spec["optimizer"]["choices"][0].update(momentumm=0.1),
        lambda spec: spec["optimizer"]["choices"].append("adamm"),
        lambda spec: spec.update(dataset={"choices": ["digits", "wine"]}),
        lambda spec: spec["dataset"].update(val_fraction={"low": 0.1, "high": 0.2}),
        lambda spec: spec.update(
            dataset={"name": "csv", "path": "t", "target": "y", "decimal": ";"}
        ),
        lambda spec: spec.update(
            dataset={"name": "csv", "path": "t", "target": "y", "drop": "automatic"}
        ),
        lambda spec: spec.update(dataset={"name": "csv", "path": "x.csv"}),
        lambda spec: spec.update(batch_size=0),
        lambda spec: spec["search"].update(trials=0),
        lambda spec: spec["search"].update(sampler="tppe"),
        lambda spec: spec["search"].update(time_limit="2 weeks"),
        lambda spec: spec["search"].update(disk_quota="2 disks"),
        lambda spec: spec["search"].update(early_stopping={"grace_perid": 1}),
        lambda spec: spec["search"].update(early_stopping={"name": "none", "grace_period": 1}),
    ],
)
def test_mistakes_are_refused(
    change: Callable[[dict[str, Any]], Any], validator: Draft202012Validator
) -> None:
    spec = example()
    assert validator.is_valid(spec)
    broken = copy.deepcopy(spec)
    change(broken)
    assert not validator.is_valid(broken)


@pytest.mark.parametrize(
    "change",
    [
        lambda spec: spec.update(model="mlp"),
        lambda spec: spec.update(model={"name": "file.py:factory", "anything": 1}),
        lambda spec: spec.update(model={"name": {"choices": ["mlp", "cnn"]}}),
        lambda spec: spec["model"].update(hidden_sizes=[8, {"low": 1, "high": 3}]),
        lambda spec: spec["model"].update(activation="package.module:factory"),
        lambda spec: spec.update(gradient_clip={"choices": [None, 1.0]}),
        lambda spec: spec["search"].update(early_stopping="none", time_limit="1h30m"),
        lambda spec: spec["search"].update(early_stopping={"max_epochs": 3}, sampler="random"),
        lambda spec: spec["search"].update(disk_quota="1.5 GB", trial_time_limit="30m"),
        lambda spec: spec["search"].update(warm_start="auto"),
        lambda spec: spec["search"].update(warm_start="portfolio"),
        lambda spec: spec["search"].update(warm_start=["an-earlier-search", "portfolio"]),
        lambda spec: spec.update(dataset={"name": "csv", "path": "t", "target": "y", **TABLE}),
        lambda spec: spec.update(
            dataset={
                "name": "parquet",
                "path": "t",
                "target": ["y"],
                "drop": ["a"],
                "dates": ["b"],
            }
        ),
    ],
)
def test_short_forms_are_valid(
    change: Callable[[dict[str, Any]], Any], validator: Draft202012Validator
) -> None:
    spec = example()
    change(spec)
    assert [error.message for error in validator.iter_errors(spec)] == []


def test_every_component_and_keyword_is_offered_with_what_it_is() -> None:
    definitions = json_schema()["$defs"]
    for family in registry.INJECTED:
        options = {option.get("title"): option for option in definitions[family]["anyOf"]}
        for name in registry.names(family):
            component, option = registry.get(family, name), options[f"{family} {name}"]
            assert option["properties"].keys() == {"name", *component.keywords}
            assert option["description"] == component.summary != ""


def test_the_example_in_the_docstring() -> None:
    results = doctest.testmod(hpsearch.schema)
    assert (results.attempted, results.failed) == (1, 0)
