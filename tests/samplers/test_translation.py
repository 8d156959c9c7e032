"""Values of one search in the parameters of another."""

from __future__ import annotations

from typing import Any

import pytest

from hpsearch.samplers.translation import MisfitError, Translator
from hpsearch.spec import Scalar
from tests.support.sampling import MIXED, PLANE, sampler_of, space_of


def params_of(
    translator: Translator, values: dict[str, Any], exact: bool
) -> dict[str, Scalar] | None:
    try:
        return translator.translate(values, exact).params
    except MisfitError:
        return None


@pytest.mark.parametrize(
    ("values", "tree", "expected"),
    [
        ({"x": 0.5, "y": 1.0}, PLANE, {"x": 0.5, "y": 1.0}),
        ({"x": 0.5, "y": 1.1}, PLANE, None),
        ({"x": 0.5}, PLANE, None),
        ({"x": 0.5, "y": 1}, PLANE, {"x": 0.5, "y": 1.0}),
        ({"x": 0.5, "y": True}, PLANE, None),
        ({"x": 0.5, "y": 0.0, "z": 3}, PLANE, {"x": 0.5, "y": 0.0}),
        ({"x": 0.5, "y": 7}, {"x": PLANE["x"], "y": 3}, {"x": 0.5}),
        ({"n": 3}, {"n": {"low": 1, "high": 5}}, {"n": 3}),
        ({"n": 3.0}, {"n": {"low": 1, "high": 5}}, None),
        ({"n": 4}, {"n": {"low": 1, "high": 5, "step": 2}}, None),
        ({"p": 0.3}, {"p": {"low": 0.1, "high": 0.5, "step": 0.1}}, {"p": 0.3}),
        ({"n": 32}, {"n": {"choices": [32, 64]}}, {"n": 32}),
        ({"n": 48}, {"n": {"choices": [32, 64]}}, None),
        ({"n": 32}, {"n": {"low": 8, "high": 64, "powers_of_two": True}}, {"n": 32}),
        ({"n": 48}, {"n": {"low": 8, "high": 64, "powers_of_two": True}}, None),
        ({"n": [1, 2]}, {"n": {"choices": [[1], [1, 2]]}}, {"n": "[1, 2]"}),
        ({"n": [1, 7]}, {"n": [1, {"low": 2, "high": 9}]}, {"n.1": 7}),
        ({"n": [7]}, {"n": [1, {"low": 2, "high": 9}]}, None),
        ({"n": 7}, {"n": [1, {"low": 2, "high": 9}]}, None),
        ({"o": {"name": "sgd", "lr": 1}}, {"o": {"name": "sgd", "lr": PLANE["x"]}}, "o.lr"),
        ({"o": {"name": "adam", "lr": 1}}, {"o": {"name": "sgd", "lr": PLANE["x"]}}, None),
        (
            {"o": {"name": "sgd", "lr": 1.0}},
            {"o": {"choices": ["adam", {"name": "sgd", "lr": PLANE["x"], "momentum": 0.9}]}},
            {"o": "sgd", "o.sgd.lr": 1.0},
        ),
        (
            {"o": {"name": "sgd", "nesterov": True, "lr": 1.0}},
            {
                "o": {
                    "choices": [
                        {"name": "sgd", "nesterov": False, "lr": PLANE["x"]},
                        {"name": "sgd", "nesterov": True, "lr": PLANE["x"]},
                    ]
                }
            },
            {"o": "sgd#2", "o.sgd#2.lr": 1.0},
        ),
    ],
)
def test_goes_by_values(
    values: dict[str, Any], tree: dict[str, Any], expected: dict[str, Scalar] | None
) -> None:
    found = params_of(Translator(space_of(tree)), {"space": values}, exact=False)
    assert found == ({expected: 1.0} if isinstance(expected, str) else expected)


@pytest.mark.parametrize(
    ("values", "is_same"),
    [
        ({"x": 0.5, "o": {"name": "sgd", "lr": 0.1}}, True),
        ({"x": 0.5, "o": {"name": "sgd", "lr": 0.2}}, False),
        ({"x": 0.5, "o": {"name": "sgd", "lr": 0.1, "momentum": 0.9}}, False),
        ({"x": 0.5, "o": {"name": "sgd"}}, False),
        ({"x": 0.5, "o": {"name": "sgd", "lr": 0.1}, "z": 1}, False),
    ],
)
def test_exact_means_the_same_trial(values: dict[str, Any], is_same: bool) -> None:
    translator = Translator(
        space_of({"x": PLANE["x"], "o": {"choices": [{"name": "sgd", "lr": 0.1}]}})
    )
    found = params_of(translator, {"space": values}, exact=True)
    assert found == ({"x": 0.5, "o": "sgd"} if is_same else None)
    if found is not None:
        space = space_of({"x": PLANE["x"], "o": {"choices": [{"name": "sgd", "lr": 0.1}]}})
        assert space.resolve(found) == {"space": values}


def test_gives_back_every_trial_of_the_same_space() -> None:
    space, source = space_of(MIXED), sampler_of("random", MIXED)
    for number in range(30):
        params = source.suggest(number, []) or {}
        found = params_of(Translator(space), space.resolve(params), exact=True)
        assert found == params and list(found) == list(params)


@pytest.mark.parametrize(
    ("values", "misfit"),
    [
        ({}, "x has no value"),
        ({"x": 7.0}, "x must be from 0 to 1"),
        ({"x": 0.5, "o": {"name": "adam"}}, "o is another component"),
        (
            {"x": 0.5, "o": {"name": "sgd", "lr": 0.5}, "c": "d"},
            "c has a value that is none of the choices",
        ),
    ],
)
def test_says_what_doesn_t_fit(values: dict[str, Any], misfit: str) -> None:
    lr = {"low": 0.1, "high": 1.0, "log": True}
    tree = {"x": PLANE["x"], "o": {"name": "sgd", "lr": lr}, "c": {"choices": ["a", "b"]}}
    with pytest.raises(MisfitError) as caught:
        Translator(space_of(tree)).translate({"space": values}, exact=False)
    assert str(caught.value) == misfit
