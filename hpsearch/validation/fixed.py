"""Whether what all trials of a search share is a constant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hpsearch.errors import Problem
from hpsearch.registry import ComponentOf
from hpsearch.spec import Choices, Range, Tree, join, to_plain

RULE = "must be a constant, the same for all trials"


def fixed_problems(of: ComponentOf, tree: Tree, path: str) -> list[Problem]:
    """Return a problem for each range and each choice where a section must be a constant."""
    rule = f"{RULE}; its keywords may be searched" if of.fixed == "name" else RULE
    if of.fixed == "nothing":
        return []
    if of.fixed == "name" and isinstance(tree, Mapping):
        path, tree = join(path, "name"), tree.get("name")
    return [Problem(place, rule, to_plain(found)) for place, found in _searched(tree, path)]


def _searched(tree: Tree, path: str) -> Iterator[tuple[str, Tree]]:
    if isinstance(tree, Range | Choices):
        yield path, tree
    elif isinstance(tree, Mapping):
        for key, child in tree.items():
            yield from _searched(child, join(path, key))
    elif isinstance(tree, list | tuple):
        for i, child in enumerate(tree):
            yield from _searched(child, join(path, i))
