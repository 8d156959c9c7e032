"""Errors say the place, the rule, the value, close names and what to do."""

from __future__ import annotations

import doctest
import inspect
import pickle
import re

import pytest

import hpsearch.errors
from hpsearch.errors import (
    BadConfigurationError,
    ComponentError,
    DataError,
    Problem,
    UserCodeError,
    place_of,
    placed,
)


def test_the_documented_examples() -> None:
    results = doctest.testmod(hpsearch.errors)
    assert (results.attempted, results.failed) == (3, 0)


def test_a_problem_has_each_part_that_is_known() -> None:
    assert str(Problem("", "must be given")) == "must be given"
    assert str(Problem("a.b", "must be given", None)) == "a.b: must be given, but got None"
    whole = Problem("a.b", "must be c", "d", ("c", "cc"), "set e")
    assert str(whole) == "a.b: must be c, but got 'd'; did you mean 'c' or 'cc'?; set e"


@pytest.mark.parametrize("kind", [BadConfigurationError, DataError, UserCodeError])
def test_a_component_names_its_keyword_and_its_builders_the_rest(
    kind: type[ComponentError],
) -> None:
    with pytest.raises(kind) as caught, placed("model"), placed("dropout", "choices", 0):
        raise kind("must be less than 1", 3, keyword="rate")
    text = "model.dropout.choices.0.rate: must be less than 1, but got 3"
    assert str(caught.value) == text
    assert place_of(caught.value) == "model.dropout.choices.0.rate"
    assert str(pickle.loads(pickle.dumps(caught.value))) == text


def test_without_a_value_none_is_told_in_another_process_either() -> None:
    assert str(pickle.loads(pickle.dumps(DataError("must be a file")))) == "must be a file"


def test_users_raise_them_as_any_other_error() -> None:
    with pytest.raises(BadConfigurationError) as caught, placed("model"):
        raise BadConfigurationError("too wide")
    assert str(caught.value) == "model: too wide"
    with pytest.raises(BadConfigurationError) as caught:
        raise BadConfigurationError
    assert str(caught.value) == ""


def test_any_other_error_keeps_its_words_and_has_a_place() -> None:
    raised = pytest.raises(ValueError, match="^too wide$")
    with raised as caught, placed("callbacks", 1), placed("then"):
        raise ValueError("too wide")
    assert place_of(caught.value) == "callbacks.1.then"
    assert place_of(ValueError("elsewhere")) == ""


def drawn() -> dict[str, str]:
    """Each error of the tree, and the one above it."""
    path: list[str] = []
    above = {}
    for line in (hpsearch.errors.__doc__ or "").splitlines():
        if (found := re.match(r"([│├└─ ]*)(\w+Error)\b", line)) is not None:
            del path[len(found[1]) // 4 :]
            above[found[2]] = path[-1] if path else "Exception"
            path.append(found[2])
    return above


def test_the_tree_holds_all_errors_and_no_others() -> None:
    classes = inspect.getmembers(hpsearch.errors, inspect.isclass)
    defined = {
        name: each.__bases__[0].__name__
        for name, each in classes
        if issubclass(each, Exception) and each.__module__ == hpsearch.errors.__name__
    }
    assert drawn() == defined
