"""What losses have in common, and how they are built."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor, nn

from hpsearch.components.data import Kind
from hpsearch.errors import UserCodeError, placed
from hpsearch.registry import ComponentOf

#: annotation of a keyword that is a loss
LOSS = ComponentOf("loss")
LossSection = Annotated[Any, LOSS]


class Loss(nn.Module):
    """A function (outputs, targets) → mean over the rows, with what it is for.

    `heads` names what may turn its outputs into predictions, its own first. A number that trials
    of one program may differ in is a buffer that isn't saved; what is learned is a parameter.
    """

    kinds: ClassVar[tuple[Kind, ...]] = ()  # nothing: all
    heads: ClassVar[tuple[str, ...]] = ()
    needs_soft_targets: ClassVar[bool] = False

    def _set_constants(self, **numbers: float | Sequence[float]) -> None:
        for name, value in numbers.items():
            self.register_buffer(name, torch.tensor(value), persistent=False)


def make_loss(
    section: Any,
    output_size: int,
    class_counts: Sequence[int] = (),
    folder: Path | None = None,
) -> Loss:
    """Build the loss that a keyword `loss`, a name or a mapping with `name`, stands for."""
    with placed("loss"):
        loss = LOSS.build(section, folder, output_size=output_size, class_counts=class_counts)
        if isinstance(loss, Loss):
            return loss
        if not callable(loss):
            name = LOSS.written_out(section)["name"]
            raise UserCodeError(f"{name} must return a function", loss)
    return _UsersLoss(loss)


def class_shares(targets: Tensor, outputs: Tensor) -> Tensor:
    """Return the share of each class, as outputs (rows, classes): one-hot rows for classes.

    >>> class_shares(torch.tensor([2, 0]), torch.zeros(2, 3)).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    if targets.is_floating_point():
        return targets.to(outputs.dtype)
    classes = torch.arange(outputs.shape[-1], device=targets.device)
    return (targets.unsqueeze(-1) == classes).to(outputs.dtype)


class _UsersLoss(Loss):
    """A module or a function of the user's own; it may be for anything."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.function(outputs, targets)
