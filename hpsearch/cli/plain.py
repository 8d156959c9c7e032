"""What commands print with `--json`: one JSON document to standard output, errors to the other.

The keys are documented in docs/commands.md and stay; new ones may come.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpsearch.errors import Problem, SpecError

if TYPE_CHECKING:
    from hpsearch.cli.searches import Listed, Searches
    from hpsearch.registry import Component


def print_json(value: Any) -> None:
    """Print plain values as a JSON document."""
    print(json.dumps(plain_value(value), indent=2, ensure_ascii=False))


def print_json_line(value: Any) -> None:
    """Print plain values as one line of JSON, at once."""
    print(json.dumps(plain_value(value), ensure_ascii=False), flush=True)


def print_search(searches: Searches, name: str) -> None:
    """Print how far a search is."""
    print_json(plain_search(searches.find(name)))


def plain_search(found: Listed) -> dict[str, Any]:
    """Return how far a search is."""
    return asdict(found)


def plain_error(error: Exception) -> dict[str, Any]:
    """Return an error: its type, its text, and each mistake of a spec."""
    found: dict[str, Any] = {"type": type(error).__name__, "message": str(error)}
    if isinstance(error, SpecError):
        found["problems"] = [_plain_problem(problem) for problem in error.problems]
    return {"error": found}


def plain_component(component: Component, keywords: list[Any]) -> dict[str, Any]:
    """Return a component and its keywords."""
    named = [asdict(keyword) for keyword in keywords]
    return {"name": component.name, "summary": component.summary, "keywords": named}


def wants_json() -> bool:
    """Whether the command line asks for JSON; words after `--` are those of a script."""
    words = sys.argv[1:]
    return "--json" in words[: words.index("--")] if "--" in words else "--json" in words


def _plain_problem(problem: Problem) -> dict[str, Any]:
    return {
        "place": problem.path,
        "rule": problem.rule,
        "value": problem.value if problem.has_value else None,
        "nearest": list(problem.nearest),
        "hint": problem.hint,
        "message": str(problem),
    }


def plain_value(value: Any) -> Any:
    """Return a value as JSON can hold it: numbers that it hasn't are null, all else is text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain_value(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain_value(each) for each in value]
    return str(value) if isinstance(value, Path) else repr(value)
