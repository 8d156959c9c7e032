"""Lower layers know no paths of a spec: the code that builds a component adds its place."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpsearch.spec import SearchSpec

PACKAGE = Path(__file__).parents[2] / "hpsearch"
LOWER = ("components", "training", "samplers", "early_stopping")
FILES = sorted(path for folder in LOWER for path in (PACKAGE / folder).rglob("*.py"))
#: `search.trials`, also where the keyword is filled in; `dataset: ` at the start of a message
PLACE = re.compile(
    rf"(?<![\w.])({'|'.join(SearchSpec.model_fields)})\.([a-z_]|$)"
    rf"|^({'|'.join(SearchSpec.model_fields)}): "
    r"|\bthe spec\b(?!'s folder)"
)
#: names of files of others
ALLOWED = {"model.safetensors"}


def texts(tree: ast.AST) -> Iterator[str]:
    """Yield the texts of a module that may get into a message: all but docstrings."""
    statements = (node for node in ast.walk(tree) if isinstance(node, ast.Expr))
    docstrings = {id(node.value) for node in statements}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or id(node) in docstrings:
            continue
        if isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_message_names_a_place_of_the_spec(path: Path) -> None:
    found = {text for text in texts(ast.parse(path.read_text())) if PLACE.search(text)}
    assert found - ALLOWED == set()


@pytest.mark.parametrize(
    ("code", "is_found"),
    [
        ('raise DataError("dataset.path: must be a file")', True),
        ('raise DataError(f"dataset.{key}: must be a file")', True),
        ('raise DataError("model: cnn needs images")', True),
        ('hint = "name it in dataset.drop"', True),
        ('hint = "it comes from a section of the spec"', True),
        ('def f():\n    """As `dataset.drop` of a spec."""', False),
        ('raise DataError("must be a file of the data set.", keyword="path")', False),
        ('"a_model.weight"', False),
    ],
)
def test_such_a_place_is_found(code: str, is_found: bool) -> None:
    assert any(PLACE.search(text) for text in texts(ast.parse(code))) == is_found
