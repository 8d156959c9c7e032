"""Tree-LSTMs: a recursive net from the leaves of a tree to its root.

Shapes: B rows, N nodes, F features of a node, H hidden units.
"""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

from hpsearch.components.examples import Float
from hpsearch.components.input_shapes import check_shape
from hpsearch.errors import DataError
from hpsearch.registry import Recommended, register


@register("model", "tree_lstm")
def tree_lstm(
    input_shape: tuple[int, ...],
    output_size: int,
    hidden_size: Annotated[int, Ge(1), Recommended(16, 256, log=True)] = 64,
) -> nn.Module:
    """A child-sum Tree-LSTM (Tai et al., 2015) and a linear layer on its root.

    An example is a tree (nodes, 1 + features), children before their parent and the root last:
    the first number of a node is that of its parent, counted from 0, of the root -1; a node that
    is its own parent only fills up. `dataset.standardize` must be false.
    """
    needs = "trees of the shape (nodes, 1 + features)"
    check_shape("tree_lstm", len(input_shape) == 2 and input_shape[1] > 1, needs, input_shape)
    cell = ChildSumCell(input_shape[1] - 1, hidden_size)
    return TreeLSTM(cell, nn.Linear(hidden_size, output_size))


class ChildSumCell(nn.Module):
    """One node of its features and its children: i, o, u of the sum of h, f of each child."""

    def __init__(self, num_features: int, hidden_size: int) -> None:
        super().__init__()
        self.inputs = nn.Linear(num_features, 4 * hidden_size)
        self.sums = nn.Linear(hidden_size, 3 * hidden_size, bias=False)
        self.child = nn.Linear(hidden_size, hidden_size, bias=False)

    def forward(self, gates: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Return h and c (B, H) of W x + b (B, 4H), and of h and c of children (B, N, H), of
        which those of other nodes are 0."""
        own, forget = gates[:, : 3 * h.shape[-1]], gates[:, 3 * h.shape[-1] :]
        i, o, u = (own + self.sums(h.sum(1))).chunk(3, -1)
        kept = (forget[:, None] + self.child(h)).sigmoid() * c
        new = i.sigmoid() * u.tanh() + kept.sum(1)
        return o.sigmoid() * new.tanh(), new


class TreeLSTM(nn.Module):
    """Trees (B, N, 1 + F) to outputs (B, outputs)."""

    def __init__(self, cell: ChildSumCell, output: nn.Linear) -> None:
        super().__init__()
        self.cell, self.output = cell, output

    def check_examples(self, x: Float) -> None:
        """Refuse what are no trees, each node before its parent and the root last."""
        parents, number = x[..., 0], range(x.shape[1])
        is_node = (parents[:, :-1] >= list(number)[:-1]) & (parents[:, :-1] < x.shape[1])
        is_whole = (parents[:, :-1] % 1 == 0).all()
        if not (is_whole and is_node.all() and (parents[:, -1] == -1).all()):
            raise DataError(
                "tree_lstm needs trees whose first number of each node is that of its parent, "
                "which comes later (its own of a node that only fills up), and is -1 of the "
                "last, the root, but some have others: the data set's `standardize: false` "
                "leaves them as they are"
            )

    def layer_groups(self) -> list[list[nn.Module]]:
        """Return the cell, and the head."""
        return [[self.cell], [self.output]]

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of a batch."""
        parents, gates = x[..., 0], self.cell.inputs(x[..., 1:])
        states: list[tuple[Tensor, Tensor]] = []
        for node in range(x.shape[1]):
            if not states:
                none = gates.new_zeros(len(x), 1, gates.shape[-1] // 4)
                states.append(self.cell(gates[:, 0], none, none))
                continue
            is_child = (parents[:, :node] == node).unsqueeze(-1).to(gates.dtype)
            h, c = (torch.stack(each, 1) * is_child for each in zip(*states, strict=True))
            states.append(self.cell(gates[:, node], h, c))
        outputs: Tensor = self.output(states[-1][0])
        return outputs
