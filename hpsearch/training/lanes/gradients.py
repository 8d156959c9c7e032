"""The gradients of lanes, batch by batch: in closed form where a program has one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hpsearch.components.batch import Batch, Tree, map_tree
from hpsearch.training.lanes.batched_layers import is_cross_entropy
from hpsearch.training.lanes.closed_forms import ClosedForm, cross_entropies
from hpsearch.training.lanes.stack import NET, Stack, have_classes


@dataclass(frozen=True)
class LaneBatch:
    """A batch of each lane, whose tensors are (lanes, rows, ...).

    `is_row` (lanes, rows) is false for rows that only fill it, `weights` (lanes,) multiply the
    losses, `begins` (lanes,) is 1 for the lanes whose batch it is the first part of; see `Part`.
    """

    rows: Batch
    is_row: Tensor | None = None
    weights: Tensor | None = None
    begins: Tensor | None = None


class Gradients:
    """Takes the gradients of a stack's lanes into its `grads`."""

    def __init__(self, stack: Stack, *, closed_forms: bool) -> None:
        """Without `closed_forms` autograd takes all."""
        self._stack = stack
        self._closed = _closed_form(stack) if closed_forms else None
        self._has_cross_entropies = is_cross_entropy(stack.program.criterion)
        self._keys, self._first_rows = map(stack.dropout_buffers, ("key", "first_row"))
        self._passes: list[tuple[Tensor, Tensor]] = []

    @property
    def is_closed(self) -> bool:
        """Whether gradients have closed forms."""
        return self._closed is not None

    def begin(self, keys: Tensor, first_rows: Tensor) -> None:
        """Begin some passes over batches of one size, whose dropouts draw by these keys.

        `keys` is int32 (passes, dropouts, lanes), `first_rows` int32 (passes, lanes).
        """
        if self._closed is not None:
            self._closed.begin(keys, first_rows)
        else:
            self._passes = list(zip(keys, first_rows, strict=True))[::-1]

    def take(self, batch: LaneBatch, *, add: bool) -> tuple[Tree, Tensor]:
        """Take the gradient of the next pass, or add it.

        Returns the outputs (lanes, rows, ...) and the losses (lanes,).
        """
        if self._closed is None:
            return self._by_autograd(batch, add=add)
        with torch.no_grad():
            outputs = self._closed.outputs(batch.rows.inputs)
            losses, grads = self._of_losses(batch, outputs)
            self._closed.take_gradients(grads, add=add)
        self._stack.add_penalties(batch.begins)
        return outputs, losses

    def _by_autograd(self, batch: LaneBatch, *, add: bool) -> tuple[Tree, Tensor]:
        keys, first_row = self._passes.pop()
        for buffer, key in zip(self._keys, keys, strict=True):
            buffer.copy_(key)
        for buffer in self._first_rows:
            buffer.copy_(first_row)
        outputs, losses = self._stack.losses(batch.rows, batch.is_row)
        weighted = losses if batch.weights is None else losses * batch.weights
        self._stack.gradient(weighted, add=add, begins=batch.begins)
        return map_tree(torch.detach, outputs), losses.detach()

    def _of_losses(self, batch: LaneBatch, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the losses (lanes,) and their weighted gradient by the outputs."""
        if self._has_cross_entropies and have_classes(outputs, batch.rows):
            losses, grads = cross_entropies(outputs, batch.rows.targets)
            if batch.weights is not None:
                grads *= batch.weights[:, None, None]
            return losses, grads if batch.is_row is None else grads * batch.is_row[..., None]
        with torch.enable_grad():
            leaf = outputs.detach().requires_grad_()
            losses = self._stack.losses_of_outputs(leaf, batch.rows, batch.is_row)
            weighted = losses if batch.weights is None else losses * batch.weights
            [grads] = torch.autograd.grad(weighted.sum(), leaf)
        return losses.detach(), grads


def _closed_form(stack: Stack) -> ClosedForm | None:
    grads = stack.grads_by_name
    is_net = all(name.startswith(NET) for name in grads)  # a loss may learn, too
    if stack.chain is None or not is_net or stack.trainers[0].config.precision != "fp32":
        return None
    state, of_net = (
        {name.removeprefix(NET): tensor for name, tensor in tensors.items()}
        for tensors in (stack.state, grads)
    )
    return ClosedForm.of(stack.chain, state, of_net, stack.program.dropouts)
