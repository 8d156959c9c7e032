"""`Batch`: what a task learns from at a time, as a tree of tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

#: a tensor, or a tuple, list or dict of trees
Tree = Any

#: a class number that stands for no target, as in torch's cross entropy
IGNORED = -100


@dataclass(frozen=True)
class Batch:
    """Examples whose tensors all have the rows as their first axis.

    A model gets `inputs`; its task compares what it gives with `targets`. `mask`, bool (rows,
    steps), says which steps of a sequence count; None: all. Inputs and targets may be trees, such
    as two views of each example. A batch unpacks as (inputs, targets), and is a tree itself, to
    torch.func too.
    """

    inputs: Tree
    targets: Tree
    mask: Tensor | None = None

    def __len__(self) -> int:
        return len(self._first)

    def __iter__(self) -> Iterator[Tree]:
        yield self.inputs
        yield self.targets

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self._first.device

    def map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        """Return the batch of what a function makes of each tensor."""
        mask = None if self.mask is None else function(self.mask)
        return Batch(map_tree(function, self.inputs), map_tree(function, self.targets), mask)

    def without_inputs(self) -> Batch:
        """Return the batch with what outputs are compared with alone."""
        return Batch((), self.targets, self.mask)

    def split(self, sizes: Sequence[int]) -> Iterator[Batch]:
        """Yield batches of these sizes, which add up to this one's."""
        parts = [torch.split(leaf, list(sizes)) for leaf in self._leaves()]
        for leaves in zip(*parts, strict=True):
            yield self._with_leaves(leaves)

    def divided(self, num_parts: int) -> Iterator[Batch]:
        """Yield so many batches of about the same size."""
        rows, rest = divmod(len(self), num_parts)
        return self.split([rows + (part < rest) for part in range(num_parts)])

    @property
    def _first(self) -> Tensor:
        return self.inputs if isinstance(self.inputs, Tensor) else pytree.tree_leaves(self)[0]

    def _leaves(self) -> list[Tensor]:
        if isinstance(self.inputs, Tensor) and isinstance(self.targets, Tensor):  # as most are
            return [self.inputs, self.targets, *([] if self.mask is None else [self.mask])]
        return pytree.tree_leaves(self)

    def _with_leaves(self, leaves: Sequence[Tensor]) -> Batch:
        if isinstance(self.inputs, Tensor) and isinstance(self.targets, Tensor):
            return Batch(*leaves)
        found: Batch = pytree.tree_unflatten(leaves, pytree.tree_structure(self))
        return found


def joined(trees: Sequence[Tree], axis: int = 0) -> Tree:
    """Return trees of one structure, such as batches, as one: their tensors have all rows."""
    if isinstance(trees[0], Tensor):
        return torch.cat(list(trees), axis)
    return pytree.tree_map(lambda *parts: torch.cat(parts, axis), *trees)


def map_tree(function: Callable[[Tensor], Tensor], tree: Tree) -> Tree:
    """Return the tree of what a function makes of each tensor."""
    return function(tree) if isinstance(tree, Tensor) else pytree.tree_map(function, tree)


def in_float32(tree: Tree) -> Tree:
    """Return a tree without numbers in half precision, in which no loss is computed.

    All other tensors stay the same ones.
    """
    return map_tree(_in_float32, tree)


def versions(tree: Tree) -> list[int]:
    """Return what changes with each change of a tensor in place."""
    return [leaf._version for leaf in pytree.tree_leaves(tree)]


def _in_float32(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


pytree.register_pytree_node(
    Batch,
    # without a mask: torch takes None for a leaf, which is no tensor
    lambda batch: (list(vars(batch).values())[: 2 if batch.mask is None else 3], None),
    lambda children, _: Batch(*children),
    serialized_type_name="hpsearch.Batch",
)
