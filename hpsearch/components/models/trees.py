"""Recursive nets, from the leaves of a tree to its root.

Shapes: B rows, N nodes, F features of a node, H hidden units.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge
from torch import Tensor, nn

from hpsearch.components.examples import Float
from hpsearch.components.input_shapes import check_shape
from hpsearch.errors import DataError
from hpsearch.registry import Recommended, register

HiddenSize = Annotated[int, Ge(1), Recommended(16, 256, log=True)]
State = tuple[Tensor, ...]


@register("model", "tree_lstm")
def tree_lstm(
    input_shape: tuple[int, ...], output_size: int, hidden_size: HiddenSize = 64
) -> nn.Module:
    """A child-sum Tree-LSTM (Tai et al., 2015) and a linear layer on its root.

    An example is a tree (nodes, 1 + features), children before their parent and the root last:
    the first number of a node is that of its parent, counted from 0, of the root -1; a node that
    is its own parent only fills up. `dataset.standardize` must be false.
    """
    cell = ChildSumCell(_num_features("tree_lstm", input_shape), hidden_size)
    return RecursiveNet("tree_lstm", cell, nn.Linear(hidden_size, output_size))


@register("model", "recursive_nn")
def recursive_nn(
    input_shape: tuple[int, ...],
    output_size: int,
    hidden_size: HiddenSize = 64,
    composition: Literal["linear", "tensor"] = "linear",
) -> nn.Module:
    """A recursive net without gates (Socher et al., 2011) and a linear layer on its root.

    A node is tanh(W x + U c + b) of its features x and of c, the vectors of its first and its
    second child one after the other, zeros where there is none. A `tensor` adds cᵀ V c, with a
    matrix for each hidden unit (Socher et al., 2013). Examples are trees as those of tree_lstm,
    whose nodes have two children at most, in their order.
    """
    size = _num_features("recursive_nn", input_shape)
    cell = OrderedCell(size, hidden_size, has_tensor=composition == "tensor")
    return RecursiveNet("recursive_nn", cell, nn.Linear(hidden_size, output_size))


def _num_features(name: str, input_shape: tuple[int, ...]) -> int:
    is_tree = len(input_shape) == 2 and input_shape[1] > 1
    check_shape(name, is_tree, "trees of the shape (nodes, 1 + features)", input_shape)
    return input_shape[1] - 1


class TreeCell(nn.Module):
    """A node's state, tensors (B, H), of its features and its children's."""

    num_states: ClassVar[int]
    #: how many children a node may have; None: any number
    max_children: ClassVar[int | None] = None

    def __init__(self, inputs: nn.Linear, hidden_size: int) -> None:
        super().__init__()
        #: W x + b, (B, N, F) to (B, N, G), of all nodes at once
        self.inputs, self.hidden_size = inputs, hidden_size

    @abstractmethod
    def forward(self, gates: Tensor, is_child: Tensor, *states: Tensor) -> State:
        """Return the state of a node, h first, given its W x + b (B, G), the states of the nodes
        before it (B, n, H), and which of them are its children (B, n), 1 or 0."""


class ChildSumCell(TreeCell):
    """One node of its features and its children: i, o, u of the sum of h, f of each child."""

    num_states = 2

    def __init__(self, num_features: int, hidden_size: int) -> None:
        super().__init__(nn.Linear(num_features, 4 * hidden_size), hidden_size)
        self.sums = nn.Linear(hidden_size, 3 * hidden_size, bias=False)
        self.child = nn.Linear(hidden_size, hidden_size, bias=False)

    def forward(self, gates: Tensor, is_child: Tensor, *states: Tensor) -> State:
        """See TreeCell: h and c."""
        h, c = (state * is_child[..., None] for state in states)
        own, forget = gates[:, : 3 * self.hidden_size], gates[:, 3 * self.hidden_size :]
        i, o, u = (own + self.sums(h.sum(1))).chunk(3, -1)
        kept = (forget[:, None] + self.child(h)).sigmoid() * c
        new = i.sigmoid() * u.tanh() + kept.sum(1)
        return o.sigmoid() * new.tanh(), new


class OrderedCell(TreeCell):
    """tanh(W x + U c + b) of the vectors c (B, 2H) of two children, and cᵀ V c."""

    num_states = 1
    max_children = 2

    def __init__(self, num_features: int, hidden_size: int, *, has_tensor: bool) -> None:
        super().__init__(nn.Linear(num_features, hidden_size), hidden_size)
        size = 2 * hidden_size
        self.pair = nn.Linear(size, hidden_size, bias=False)
        self.tensor = nn.Bilinear(size, size, hidden_size, bias=False) if has_tensor else None
        if self.tensor is not None:  # size² terms, together about as great as the linear part
            nn.init.uniform_(self.tensor.weight, -1 / size, 1 / size)

    def forward(self, gates: Tensor, is_child: Tensor, *states: Tensor) -> State:
        """See TreeCell: h."""
        place = is_child * is_child.cumsum(1)
        both = [((place == which)[..., None] * states[0]).sum(1) for which in (1, 2)]
        c = torch.cat(both, -1)
        gates = gates + self.pair(c)
        if self.tensor is not None:  # nn.Bilinear's own kernel has no rule for vmap
            gates = gates + torch.einsum("bi,kij,bj->bk", c, self.tensor.weight, c)
        return (gates.tanh(),)


class RecursiveNet(nn.Module):
    """Trees (B, N, 1 + F) to outputs (B, outputs)."""

    def __init__(self, name: str, cell: TreeCell, output: nn.Linear) -> None:
        super().__init__()
        self.name, self.cell, self.output = name, cell, output

    def check_examples(self, x: Float) -> None:
        """Refuse what are no trees, each node before its parent and the root last."""
        parents, number = x[..., 0], range(x.shape[1])
        is_node = (parents[:, :-1] >= list(number)[:-1]) & (parents[:, :-1] < x.shape[1])
        is_whole = (parents[:, :-1] % 1 == 0).all()
        if not (is_whole and is_node.all() and (parents[:, -1] == -1).all()):
            raise DataError(
                f"{self.name} needs trees whose first number of each node is that of its parent, "
                "which comes later (its own of a node that only fills up), and is -1 of the "
                "last, the root, but some have others: the data set's `standardize: false` "
                "leaves them as they are"
            )
        most = max(int((parents[:, :k] == k).sum(1).max(initial=0)) for k in number)
        if self.cell.max_children is not None and most > self.cell.max_children:
            rule = f"{self.name} needs nodes with at most {self.cell.max_children} children"
            raise DataError(f"{rule}, but one has {most}: tree_lstm takes any number")

    def layer_groups(self) -> list[list[nn.Module]]:
        """Return the cell, and the head."""
        return [[self.cell], [self.output]]

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of a batch."""
        parents, gates = x[..., 0], self.cell.inputs(x[..., 1:])
        none = gates.new_zeros(len(x), 1, self.cell.hidden_size)
        first = self.cell(gates[:, 0], gates.new_zeros(len(x), 1), *[none] * self.cell.num_states)
        states: list[State] = [first]
        for node in range(1, x.shape[1]):
            is_child = (parents[:, :node] == node).to(gates.dtype)
            before = [torch.stack(each, 1) for each in zip(*states, strict=True)]
            states.append(self.cell(gates[:, node], is_child, *before))
        outputs: Tensor = self.output(states[-1][0])
        return outputs
