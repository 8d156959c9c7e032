"""Which values a tree of constants, ranges and choices may come to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hpsearch.spec import Choices, Range, Tree, Unreadable, join


def alternatives(tree: Tree, path: str) -> Iterator[tuple[str, Tree]]:
    """Yield what may stand at a place of a spec, choice by choice, with its path."""
    if isinstance(tree, Choices):
        for i, choice in enumerate(tree.choices):
            yield from alternatives(choice, join(join(path, "choices"), i))
    elif not isinstance(tree, Unreadable):
        yield path, tree


def samples(tree: Tree, path: str) -> list[tuple[str, Any]]:
    """Return plain values that a tree may come to, with their paths.

    The first holds the low end of each range and the first of each choice; each other differs
    from it in one place. Together they hold all ends and choices. Empty if a part is unreadable.

    >>> samples({"a": Range(low=1, high=3), "b": Choices(choices=("x", "y"))}, "space")
    [('space', {'a': 1, 'b': 'x'}), ('space', {'a': 3, 'b': 'x'}), ('space', {'a': 1, 'b': 'y'})]
    """
    if isinstance(tree, Range):
        return [(path, end if tree.is_integer else float(end)) for end in (tree.low, tree.high)]
    if isinstance(tree, Choices | Unreadable):
        return [
            each for place, choice in alternatives(tree, path) for each in samples(choice, place)
        ]
    if isinstance(tree, Mapping):
        keys = list(tree)
        rows = _one_by_one([samples(tree[key], path) for key in keys])
        return [(path, dict(zip(keys, row, strict=True))) for row in rows]
    if isinstance(tree, list | tuple):
        return [(path, row) for row in _one_by_one([samples(child, path) for child in tree])]
    return [(path, tree)]


def corners(tree: Tree) -> tuple[Any, Any]:
    """Return two plain values of a tree: all low ends and first choices, all high and last."""
    if isinstance(tree, Range):
        return tree.low, tree.high
    if isinstance(tree, Choices):
        return corners(tree.choices[0])[0], corners(tree.choices[-1])[1]
    if isinstance(tree, Mapping):
        pairs = {key: corners(child) for key, child in tree.items()}
        return {key: low for key, (low, _) in pairs.items()}, {
            k: high for k, (_, high) in pairs.items()
        }
    if isinstance(tree, list | tuple):
        children = [corners(child) for child in tree]
        return [low for low, _ in children], [high for _, high in children]
    return tree, tree


def choices_of(tree: Tree, path: str) -> list[tuple[str, tuple[Any, Any]]]:
    """Return the samples of a tree that differ by choices alone, with their paths: each with all
    ranges at their low ends, and at their high ones.

    >>> choices_of({"a": Range(low=1, high=3), "b": Choices(choices=("x", "y"))}, "space")[1]
    ('space', ({'a': 1, 'b': 'y'}, {'a': 3, 'b': 'y'}))
    """
    low, high = (samples(_with_ends(tree, end), path) for end in ("low", "high"))
    return [(place, (one, other)) for (place, one), (_, other) in zip(low, high, strict=True)]


def _with_ends(tree: Tree, end: str) -> Tree:
    if isinstance(tree, Range):
        found: Tree = getattr(tree, end)
        return found
    if isinstance(tree, Choices):
        choices = tuple(_with_ends(each, end) for each in tree.choices)
        return tree.model_copy(update={"choices": choices})
    if isinstance(tree, Mapping):
        return {key: _with_ends(each, end) for key, each in tree.items()}
    if isinstance(tree, list | tuple):
        return [_with_ends(each, end) for each in tree]
    return tree


def _one_by_one(columns: list[list[tuple[str, Any]]]) -> list[list[Any]]:
    """Return rows that hold every value of every column, each one value away from the first."""
    if not all(columns):
        return []
    first = [column[0][1] for column in columns]
    others = [
        [*first[:i], value, *first[i + 1 :]]
        for i, column in enumerate(columns)
        for _, value in column[1:]
    ]
    return [first, *others]
