"""Data sets of trees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Interval
from numpy.typing import NDArray

from hpsearch.registry import register

#: the features of a node, one of which is 1
KINDS = ("false", "true", "and", "or", "not")


@register("dataset", "logic_trees")
def logic_trees(
    seed: int,
    trees: Annotated[int, Ge(20)] = 2000,
    nodes: Annotated[int, Interval(ge=3, le=255)] = 9,
) -> Mapping[str, Any]:
    """Random logical expressions of at most so many nodes, as trees; learned is their value.

    A tree is (nodes, 6) as `tree_lstm` reads it: the number of a node's parent, then which of
    false, true, and, or, not it is. About half of the values are true.
    """
    rng = np.random.default_rng(seed)
    made = [_tree(rng, nodes) for _ in range(trees)]
    return {
        "train": (np.stack([x for x, _ in made]), np.array([value for _, value in made])),
        "classes": ["false", "true"],
        "features": ["parent", *KINDS],
        "standardize": False,
    }


def _tree(rng: np.random.Generator, nodes: int) -> tuple[NDArray[np.float32], int]:
    """Draw a tree and its value: subtrees are joined until one is left."""
    kinds: list[str] = []
    parents: list[int] = []
    values: list[bool] = []
    num_leaves = int(rng.integers(2, (nodes + 1) // 2 + 1))
    for _ in range(num_leaves):
        values.append(bool(rng.integers(2)))
        kinds.append("true" if values[-1] else "false")
        parents.append(-1)
    roots, spare = list(range(num_leaves)), nodes - 2 * num_leaves + 1
    while len(roots) > 1 or (spare > 0 and rng.integers(2)):
        is_not = spare > 0 and (len(roots) == 1 or rng.random() < 0.3)
        spare -= int(is_not)
        kind = "not" if is_not else ("and", "or")[rng.integers(2)]
        children = [roots.pop(rng.integers(len(roots))) for _ in range(1 if is_not else 2)]
        of_children = [values[child] for child in children]
        value = {"not": not of_children[0], "and": all(of_children), "or": any(of_children)}[kind]
        for child in children:
            parents[child] = len(kinds)
        roots.append(len(kinds))
        kinds.append(kind)
        parents.append(-1)
        values.append(value)
    return _as_rows(kinds, parents, nodes), int(values[-1])


def _as_rows(kinds: list[str], parents: list[int], nodes: int) -> NDArray[np.float32]:
    """Return a tree (nodes, 6), before which nodes fill up."""
    missing = nodes - len(kinds)
    rows = np.zeros((nodes, 1 + len(KINDS)), np.float32)
    rows[:missing, 0] = np.arange(missing)
    for number, (kind, parent) in enumerate(zip(kinds, parents, strict=True), start=missing):
        rows[number, 0] = parent + missing if parent >= 0 else -1
        rows[number, 1 + KINDS.index(kind)] = 1
    return rows
