"""How a signal passes the layers of an untrained net: forwards its spread, backwards its gradient.

Glorot and Bengio (AISTATS 2010), section 4; He et al. (ICCV 2015), section 2.2: both should keep
their size from layer to layer.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hpsearch.components.batch import Batch
from hpsearch.training.trainer import Trainer

#: layers whose outputs are looked at: those with weights that multiply
WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class Signals:
    """Of the outputs of each weighted layer, in the order in which they are computed: standard
    deviation over rows and units, and root mean square of the loss's gradient."""

    layers: tuple[str, ...]
    spreads: tuple[float, ...]
    gradients: tuple[float, ...]

    @property
    def forward(self) -> float:
        """The spread of the last hidden layer over that of the first: below 1 where it shrinks."""
        return _ratio(self.spreads[-2], self.spreads[0])

    @property
    def backward(self) -> float:
        """The gradient of the first layer over that of the last hidden one."""
        return _ratio(self.gradients[0], self.gradients[-2])


def signals_of(trainer: Trainer, batch: Batch) -> Signals | None:
    """Pass a batch through a copy of a trainer's model in training mode, and its gradient back.

    None where fewer than three weighted layers, two of them hidden, have a gradient.
    """
    model = copy.deepcopy(trainer.model).train()
    outputs: dict[str, Tensor] = {}

    def keeps(name: str) -> object:
        def hook(module: nn.Module, inputs: object, output: Tensor) -> None:
            # frozen layers below the first trained one have no gradient
            if output.requires_grad:
                output.retain_grad()
                outputs[name] = output

        return hook

    for name, module in model.named_modules():
        if isinstance(module, WEIGHTED):
            module.register_forward_hook(keeps(name))  # type: ignore[arg-type]
    torch.autograd.backward(trainer.task.loss(model(batch.inputs), batch))
    found = {name: output for name, output in outputs.items() if output.grad is not None}
    if len(found) < 3:
        return None
    grads = [output.grad for output in found.values() if output.grad is not None]
    return Signals(
        tuple(found),
        tuple(float(output.detach().std()) for output in found.values()),
        tuple(float(grad.square().mean().sqrt()) for grad in grads),
    )


def _ratio(one: float, other: float) -> float:
    return one / other if other > 0 else float("inf") if one > 0 else 1.0
