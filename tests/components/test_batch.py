"""Batches as trees: what holds for tensors, pairs of views, and masks alike."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.func import vmap

from hpsearch.components.batch import Batch, in_float32, joined, versions

X, Y = torch.arange(12.0).view(6, 2), torch.arange(6)
BATCHES = [
    Batch(X, Y),
    Batch(X, Y, Y[:, None] > torch.tensor([1, 2, 3])),
    Batch((X, {"second": X + 1}), [Y, Y * 2]),
]


def equal(one: Any, other: Any) -> bool:
    leaves = (torch.utils._pytree.tree_leaves(each) for each in (one, other))
    return all(torch.equal(*pair) for pair in zip(*leaves, strict=True))


@pytest.mark.parametrize("batch", BATCHES)
def test_parts_add_up(batch: Batch) -> None:
    parts = list(batch.split([1, 3, 2]))
    assert [len(part) for part in parts] == [1, 3, 2]
    assert all((part.mask is None) == (batch.mask is None) for part in parts)
    assert equal(joined(parts), batch)
    assert [len(part) for part in batch.divided(4)] == [2, 2, 1, 1]  # as tensor_split


@pytest.mark.parametrize("batch", BATCHES)
def test_a_batch_is_a_tree_to_vmap(batch: Batch) -> None:
    lanes = batch.map(lambda tensor: torch.stack([tensor, tensor + tensor]))
    found = vmap(lambda lane: lane.map(lambda tensor: tensor.sum(0)))(lanes)
    assert equal(found.map(lambda t: t[0]), batch.map(lambda t: t.sum(0)))


def test_it_unpacks_as_inputs_and_targets() -> None:
    x, y = BATCHES[1]
    assert x is X and y is Y
    assert len(BATCHES[1].without_inputs()) == 6


def test_no_loss_is_computed_in_half_precision() -> None:
    tree = (X.bfloat16(), {"same": X, "double": X.double(), "ids": Y})
    found = in_float32(tree)
    assert found[0].dtype == torch.float32 and found[1]["double"].dtype == torch.float64
    assert found[1]["same"] is X and found[1]["ids"] is Y


def test_versions_tell_of_changes_in_place() -> None:
    tree = (torch.zeros(2), [torch.zeros(2)])
    before = versions(tree)
    tree[1][0].add_(1)
    assert versions(tree) != before
