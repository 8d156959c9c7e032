"""The code that pages show: Python compiles, and what looks like a spec, or a part of one, is."""

from __future__ import annotations

import ast
import re
import textwrap
from functools import cache
from typing import Any

import jsonschema
import pytest

from hpsearch.schema import json_schema
from hpsearch.spec import load_yaml
from tests.support.examples import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"^([ ]*)```(\w+)[^\n]*\n(.*?)^\1```", re.DOTALL | re.MULTILINE)


def blocks(language: str) -> list[Any]:
    """The blocks of code of a language, as parameters of a test."""
    found = []
    for path in PAGES:
        text = path.read_text()
        for match in _BLOCK.finditer(text):
            if match[2] == language:
                line = text.count("\n", 0, match.start()) + 1
                name = f"{path.relative_to(ROOT)}:{line}"
                found.append(pytest.param(textwrap.dedent(match[3]), id=name))
    return found


@cache
def schema() -> dict[str, Any]:
    return json_schema()


def validate(value: Any, part: dict[str, Any]) -> None:
    """Validate a value against a part of the schema; raises ValidationError."""
    whole = {"$defs": schema()["$defs"], **part}
    jsonschema.Draft202012Validator(whole).validate(value)


@pytest.mark.parametrize("block", blocks("python"))
def test_python_compiles(block: str) -> None:
    compile(block, "<a page>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("block", blocks("yaml"))
def test_specs_and_their_parts_have_their_shape(block: str) -> None:
    found = load_yaml(block)
    known = schema()["properties"]
    if not isinstance(found, dict) or not found.keys() <= known.keys():
        pytest.skip("neither a spec nor sections of one")
    if {"name", "objective"} <= found.keys():
        validate(found, schema())
        return
    for section, value in found.items():
        validate(value, known[section])


def test_a_mistake_in_a_page_would_be_found() -> None:
    value = {"name": "adam", "learning_rate": 0.1}
    with pytest.raises(jsonschema.ValidationError):
        validate(value, schema()["properties"]["optimizer"])
