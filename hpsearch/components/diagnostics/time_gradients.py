"""Whether gradients reach back in time: those of a recurrent net's states, step by step."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor, nn

from hpsearch.components.batch import Batch, Tree
from hpsearch.components.callbacks import BaseCallback
from hpsearch.components.layers.recurrence import Recurrence
from hpsearch.registry import register

NAME = "time_gradients"
FLOW = "gradient_flow_over_time"


@register("callback", NAME)
@dataclass(frozen=True)
class TimeGradients(BaseCallback):
    """Measures the gradient dL/dh of the state h of each step of recurrent layers, each epoch.

    `gradient_flow_over_time`: its root mean square at a sequence's first step over the last
    step's; small where gradients vanish on their way back in time, large where they explode
    (Bengio et al., 1994; Pascanu et al., 2013, arXiv 1211.5063). Where each step has an output,
    each step's gradient has that of its own loss too. Over all units of the layers of model `rnn`,
    each direction by the order in which it reads; of an LSTM, h, not its cell. On `rows` of the
    training split, as they are trained on; other nets have nothing to measure. `by_step` adds
    those of all steps, `gradient_rms/step_1` and so on.
    """

    rows: Annotated[int, Ge(1)] = 1000
    by_step: bool = False

    metrics: ClassVar[tuple[str, ...]] = (FLOW,)

    @staticmethod
    def measures(model: nn.Module) -> bool:
        """Whether a model has recurrent layers."""
        return any(isinstance(each, Recurrence) for each in model.modules())

    def measure(
        self,
        model: nn.Module,
        loss: Callable[[Tree, Batch], Tensor],
        batches: Iterator[Batch],
    ) -> dict[str, float]:
        """Return the gradients at the model as the epoch left it."""
        model = copy.deepcopy(model).requires_grad_()  # frozen layers have states, too
        layers = [each for each in model.modules() if isinstance(each, Recurrence)]
        if not layers:
            return {}
        sizes = _sizes(model, layers, loss, batches, self.rows)
        found = {FLOW: sizes[0] / sizes[-1]} if sizes and sizes[-1] else {}
        if self.by_step:
            found |= {f"gradient_rms/step_{t}": size for t, size in enumerate(sizes, start=1)}
        return found


def _sizes(
    model: nn.Module,
    layers: Sequence[Recurrence],
    loss: Callable[[Tree, Batch], Tensor],
    batches: Iterator[Batch],
    num_rows: int,
) -> list[float]:
    """Return the root mean square of the gradient at each step, over rows, layers and units."""
    squares: list[Tensor] = []
    seen = 0
    while seen < num_rows and (batch := next(batches, None)) is not None:
        states = _watch(layers)
        value = loss(model(batch.inputs), batch)
        for each in filter(None, states):
            grads = torch.autograd.grad(value, each, retain_graph=True, materialize_grads=True)
            squares.append(torch.stack(grads).square().flatten(1).mean(1))
        seen += len(batch)
    return [] if not squares else torch.stack(squares).mean(0).sqrt().tolist()


def _watch(layers: Sequence[Recurrence]) -> list[list[Tensor]]:
    """Return a list for each layer, to which it adds the state of each step."""
    states: list[list[Tensor]] = [[] for _ in layers]
    for layer, found in zip(layers, states, strict=True):
        layer.on_state = found.append
    return states
