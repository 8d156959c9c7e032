"""What other tools and Python mean is no constant: an error shows how a spec says it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from hpsearch.errors import SpecError
from hpsearch.spec import draft_spec, dump_yaml, load_yaml
from hpsearch.spec.other_tools import hint_of
from hpsearch.validation import check, check_spec
from tests.support.specs import changed, make_spec

RANGE = {"low": 1, "high": 2}
_FORM = "write a range as {low: 0.1, high: 1.0}, several values as {choices: [a, b]}"


@pytest.mark.parametrize(
    ("value", "ours"),
    [
        ({"values": [16, 32]}, "{choices: [16, 32]}"),
        ({"min": 0.1, "max": 1.0}, "{low: 0.1, high: 1.0}"),
        ({"min": 1, "max": 8, "distribution": "int_uniform"}, "{low: 1, high: 8}"),
        ({"min": 0, "max": 1, "distribution": "uniform"}, "{low: 0.0, high: 1.0}"),
        (
            {"min": 0.0001, "max": 0.1, "distribution": "log_uniform_values"},
            "{low: 0.0001, high: 0.1, log: true}",
        ),
        ({"value": 3}, "3"),
        ({"grid_search": ["sgd", "adam"]}, "{choices: [sgd, adam]}"),
        ("tune.loguniform(1e-4, 1e-1)", "{low: 0.0001, high: 0.1, log: true}"),
        ("tune.randint(1, 9)", "{low: 1, high: 8}"),
        ("tune.quniform(0, 1, 0.1)", "{low: 0.0, high: 1.0, step: 0.1}"),
        ('trial.suggest_float("lr", 1e-3, 1, log=True)', "{low: 0.001, high: 1.0, log: true}"),
        (
            {"parameterType": "double", "feasibleSpace": {"min": "0", "max": "1"}},
            "{low: 0.0, high: 1.0}",
        ),
        (
            {"parameterType": "int", "feasibleSpace": {"min": "2", "max": "5"}},
            "{low: 2, high: 5}",
        ),
        (
            {"parameterType": "categorical", "feasibleSpace": {"list": ["a", "b"]}},
            "{choices: [a, b]}",
        ),
        ({"_type": "choice", "_value": [1, 2]}, "{choices: [1, 2]}"),
        ({"type": "range", "bounds": [0.1, 1.0]}, "{low: 0.1, high: 1.0}"),
    ],
)
def test_the_right_form_of_other_tools_values(value: Any, ours: str) -> None:
    assert hint_of(value) == f"write {ours}"


@pytest.mark.parametrize("value", ["relu", "choice", 3, {}, {"a": 1}, {"value": {"units": 3}}])
def test_what_no_other_tool_means(value: Any) -> None:
    assert hint_of(value) == ""


def problems(space: dict[str, Any]) -> list[str]:
    raw = {
        "name": "s",
        "objective": {"metric": "score"},
        "trainable": f"{__name__}:train",
        "space": {"other": {"low": 0, "high": 1}, **space},
    }
    try:
        check(draft_spec(raw))
    except SpecError as error:
        return [str(each) for each in error.problems]
    return []


def train(config: Any, trial: Any) -> Any:
    yield {"score": 1.0}


class TestSpace:
    @pytest.mark.parametrize(
        ("space", "path"),
        [
            ({"lr": {"min": 0.1, "max": 1.0}}, "space.lr"),
            ({"lr": "loguniform(0.1, 1)"}, "space.lr"),
            ({"model": {"width": {"values": [1, 2]}, "depth": 3}}, "space.model.width"),
            ({"model": {"width": {"values": [1, 2]}, "depth": RANGE}}, "space.model.width"),
            ({"net": {"choices": [{"lr": {"min": 1, "max": 2}}]}}, "space.net.choices.0.lr"),
            ({"layers": [{"values": [1, 2]}]}, "space.layers.0"),
        ],
    )
    def test_other_tools_words_are_no_constants(self, space: dict[str, Any], path: str) -> None:
        found = problems(space)
        assert len(found) == 1
        assert found[0].startswith(f"{path}: must be a value, a range or choices")
        assert "write {" in found[0]

    @pytest.mark.parametrize(
        ("space", "path"),
        [
            ({"lr": "auto"}, "space.lr"),
            ({"sgd": {"lr": "auto", "momentum": RANGE}}, "space.sgd.lr"),
            ({"sgd": {"choices": [{"lr": "auto"}, {"lr": 0.1}]}}, "space.sgd.choices.0.lr"),
        ],
    )
    def test_a_range_that_nothing_recommends(self, space: dict[str, Any], path: str) -> None:
        (found,) = problems(space)
        assert found.startswith(f"{path}: must be a value, a range or choices, but got 'auto'")
        assert f"recommends, and code of yours has none: {_FORM}, the text auto as" in found
        assert problems({"device": {"choices": ["auto"]}, "layers": ["auto", 3]}) == []

    def test_a_mapping_in_which_nothing_is_searched_shows_the_form(self) -> None:
        (found,) = problems({"model": {"width": 3}})
        assert found.startswith("space.model: must be a value, a range or choices; a mapping is")
        assert found.endswith(f"{_FORM}, a constant mapping as one choice")

    @pytest.mark.parametrize(
        "space",
        [
            {"model": {"width": RANGE, "depth": 3}},
            {"model": {"choices": [{"width": 1}, {"width": 2, "clip": {"by": "norm"}}]}},
            {"layers": [1, {"units": 3}]},
            {"value": RANGE, "policy": {"value": RANGE}},
        ],
    )
    def test_groups_and_constants_stay(self, space: dict[str, Any]) -> None:
        assert problems(space) == []


def plain_net(input_shape: Any, output_size: int, width=8, sizes=None, **more: Any) -> Any:  # type: ignore[no-untyped-def]  # noqa: E501
    from torch import nn

    return nn.Linear(input_shape[0], output_size)


class TestComponents:
    @pytest.mark.parametrize(
        ("sections", "rule"),
        [
            ({"batch_size": {"values": [16, 32]}}, "batch_size: must be an integer"),
            ({"optimizer": {"values": ["sgd", "adam"]}}, "optimizer: must be a component"),
            (
                {"model": {"name": "mlp", "dropout": {"min": 0.1, "max": 0.5}}},
                "model.dropout: must be a component",
            ),
            (
                {"model": {"name": f"{__name__}:plain_net", "width": {"from": 1, "to": 5}}},
                "model.width: must be a value",
            ),
            (
                {"model": {"name": f"{__name__}:plain_net", "width": {"a": 1}}},
                "model.width: must be a value",
            ),
            (
                {"model": {"name": f"{__name__}:plain_net", "any": {"values": [1, 2]}}},
                "model.any: must be a value",
            ),
        ],
    )
    def test_other_tools_words_show_the_form(self, sections: dict[str, Any], rule: str) -> None:
        with pytest.raises(SpecError) as raised:
            check(draft_spec(changed(**sections)))
        (problem,) = raised.value.problems
        assert str(problem).startswith(rule)
        assert "; write " in str(problem)

    def test_a_mapping_where_one_is_wanted_stays(self) -> None:
        check(draft_spec(changed(model={"name": f"{__name__}:plain_net", "sizes": {"a": 1}})))


class TestPythonInYaml:
    @pytest.mark.parametrize(
        ("text", "form"),
        [
            ("a: {choices: [None, 1.0]}", "write null"),
            ("a: None", "write null"),
            ("a: (1, 2)", "write a list"),
            ("a: {choices: [(1, 2), (3, 4)]}", "write a list"),
            ("a: (relu, tanh)", "write a list"),
        ],
    )
    def test_is_refused(self, text: str, form: str) -> None:
        with pytest.raises(yaml.YAMLError, match=f"line 1: .*{form}.*quote it"):
            load_yaml(text)

    def test_quoted_texts_stay_in_both_directions(self) -> None:
        value = {"a": ["None", "(1, 2)", "1e-4", None], "b": "(?P<loss>[0-9]+), (x)"}
        assert load_yaml(dump_yaml(value)) == value
        assert load_yaml("a: 'None'") == {"a": "None"}


class TestNothingToSearch:
    def test_is_refused_without_a_word_of_consent(self) -> None:
        fixed = changed(
            model={"name": "mlp", "hidden_sizes": [4]}, optimizer="adam", batch_size=32
        )
        with pytest.raises(
            SpecError, match="^search.trials: must be 1 when the spec searches nothing"
        ):
            check(draft_spec(fixed))
        check(draft_spec({**fixed, "search": {"trials": 1}}))

    def test_an_earlier_search_may_be_resumed(self) -> None:
        spec = make_spec(trainable=f"{__name__}:train", space={})
        check_spec(spec, is_new=False)
        with pytest.raises(SpecError, match="search.trials"):
            check_spec(spec)
