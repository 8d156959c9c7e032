"""Tests wait for what happens, not for time to pass."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
#: the one place that polls
POLLING = Path("support/polling.py")


def sleeps(source: str) -> Iterator[int]:
    """Yield the lines that sleep; `sleep(0)` only lets other tasks run."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            lets_run = [ast.unparse(argument) for argument in node.args] == ["0"]
            if name == "sleep" and not lets_run:
                yield node.lineno


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("import time\ntime.sleep(0.3)", [2]),
        ("from time import sleep\nsleep(1)", [2]),
        ("await asyncio.sleep(0)\nawait asyncio.sleep(0.1)", [2]),
        ("CODE = 'time.sleep(600)'  # of another process", []),
    ],
)
def test_sleeps_are_found(source: str, lines: list[int]) -> None:
    assert list(sleeps(source)) == lines


def test_no_test_sleeps() -> None:
    found = [
        f"{path}:{line}"
        for path in (file.relative_to(TESTS) for file in TESTS.rglob("*.py"))
        if path != POLLING
        for line in sleeps((TESTS / path).read_text())
    ]
    assert found == []
