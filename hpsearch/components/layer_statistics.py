"""How layers learn: gradients, changes of weights, units that don't answer to inputs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from hpsearch.components.batch import Batch, Tree
from hpsearch.components.callbacks import BaseCallback
from hpsearch.registry import register

NAME = "layer_statistics"
#: what is 0 for inputs below 0, and what is nearly constant far from 0
_RECTIFIERS = (nn.ReLU, nn.ReLU6)
_SIGMOIDS = (nn.Sigmoid, nn.Tanh)
#: a unit is dead that is 0 for this part of the rows; saturated that is beyond this value, of -1
#: to 1, for this part
DEAD = 0.999
SATURATED, MOSTLY = 0.97, 0.95


@register("callback", NAME, weight_copies=1)
@dataclass(eq=False)
class LayerStatistics(BaseCallback):
    """Measures gradients, changes of weights and activations of layers, each epoch.

    `gradient_flow`: root mean square of the gradient of the first layer's weights over the last
    layer's; small where gradients vanish (Glorot & Bengio, 2010). `weight_change`: the median
    over layers of |W - W'| / |W'|, W' an epoch before; `layer_speed`: the first layer's over the
    last's.
    `dead_units`: the share of units after ReLU that are 0 for 99.9 % of the rows;
    `activation_sparsity`: the share of zeros there. `saturated_units`: the share of units after
    tanh or sigmoid in the outer 1.5 % of their range for 95 % of the rows. A unit of a convolution
    is a channel. On `rows` of the training split; what a net doesn't have is left out. Costs
    as many steps as those rows take. `by_layer` adds the first four by the name of each layer.
    """

    rows: Annotated[int, Ge(1)] = 1000
    by_layer: bool = False
    _before: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)

    metrics: ClassVar[tuple[str, ...]] = (
        "gradient_flow",
        "weight_change",
        "layer_speed",
        "dead_units",
        "activation_sparsity",
        "saturated_units",
    )

    def measure(
        self,
        model: nn.Module,
        loss: Callable[[Tree, Batch], Tensor],
        batches: Iterator[Batch],
    ) -> dict[str, float]:
        """Return the statistics of the model as the epoch left it."""
        weights = {name: each.detach() for name, each in _weights(model).items()}
        changes = _changes(self._before, weights)
        self._before = {name: each.clone() for name, each in weights.items()}
        model = copy.deepcopy(model)  # statistics of norms move
        gradients, units = _backward(model, loss, batches, self.rows)
        found = _flow(gradients) | _speed(changes) | units.shares()
        if not self.by_layer:
            return found
        named = {"gradient_rms": gradients, "weight_change": changes, "dead_units": units.dead()}
        return found | {
            f"{metric}/{layer}": value
            for metric, values in named.items()
            for layer, value in values.items()
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the weights of the epoch before."""
        return {"before": self._before}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self._before = dict(state["before"])


@dataclass(eq=False)
class _Units:
    """Counts, by the name of an activation, over rows: of zeros or of saturated values."""

    rectified: dict[str, Tensor] = field(default_factory=dict)  # (num_units,) each
    saturated: dict[str, Tensor] = field(default_factory=dict)
    num_seen: dict[str, int] = field(default_factory=dict)  # values of a unit

    def add(self, name: str, module: nn.Module, outputs: Tensor, axis: int) -> None:
        """Count the outputs of an activation, whose units lie along an axis."""
        values = outputs.detach().movedim(axis, 0).flatten(1)
        self.num_seen[name] = self.num_seen.get(name, 0) + values.shape[1]
        if isinstance(module, _RECTIFIERS):
            counts, of = values == 0, self.rectified
        else:
            centred = 2 * values - 1 if isinstance(module, nn.Sigmoid) else values
            counts, of = centred.abs() > SATURATED, self.saturated
        of[name] = of.get(name, 0) + counts.sum(1).double()

    def dead(self) -> dict[str, float]:
        """Return the share of units that are dead, by name."""
        return {
            name: float((counts >= DEAD * self.num_seen[name]).double().mean())
            for name, counts in self.rectified.items()
        }

    def shares(self) -> dict[str, float]:
        """Return the shares over all activations."""
        found: dict[str, float] = {}
        if self.rectified:
            parts = [(n / self.num_seen[name]) for name, n in self.rectified.items()]
            shares = torch.cat(parts)
            found["dead_units"] = float((shares >= DEAD).double().mean())
            found["activation_sparsity"] = float(shares.mean())
        if self.saturated:
            parts = [(n / self.num_seen[name]) for name, n in self.saturated.items()]
            found["saturated_units"] = float((torch.cat(parts) >= MOSTLY).double().mean())
        return found


@contextmanager
def _watched(model: nn.Module, units: _Units) -> Iterator[None]:
    """Count what activations give, as long as the context lasts."""
    axis = -1  # of the units of the last layer: a convolution's are its channels

    def set_axis(module: nn.Module, inputs: Any, outputs: Any) -> None:
        nonlocal axis
        axis = 1 if isinstance(module, _ConvNd) else -1

    def counter(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def count(module: nn.Module, inputs: Any, outputs: Any) -> None:
            if isinstance(outputs, Tensor) and outputs.dim() > 1:
                units.add(name, module, outputs, axis)

        return count

    hooks = []
    for name, module in model.named_modules():
        if isinstance(module, _ConvNd | nn.Linear):
            hooks.append(module.register_forward_hook(set_axis))
        elif isinstance(module, _RECTIFIERS + _SIGMOIDS):
            hooks.append(module.register_forward_hook(counter(name)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _backward(
    model: nn.Module,
    loss: Callable[[Tree, Batch], Tensor],
    batches: Iterator[Batch],
    num_rows: int,
) -> tuple[dict[str, float], _Units]:
    """Return the root mean squares of the mean gradient by layer, and what activations gave."""
    weights, units = _weights(model), _Units()
    names, params = list(weights), list(weights.values())
    total = [torch.zeros_like(param) for param in params]
    seen = num_batches = 0
    with _watched(model, units):
        while seen < num_rows and (batch := next(batches, None)) is not None:
            value = loss(model(batch.inputs), batch)
            grads = torch.autograd.grad(value, params, materialize_grads=True)
            torch._foreach_add_(total, list(grads))
            seen, num_batches = seen + len(batch), num_batches + 1
    if not num_batches:
        return {}, units
    return {
        name: float(each.div(num_batches).square().mean().sqrt())
        for name, each in zip(names, total, strict=True)
    }, units


def _weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return what is trained of the layers' weights; biases and norms have one axis."""
    named = model.named_parameters()
    return {name: each for name, each in named if each.requires_grad and each.dim() > 1}


def _changes(before: Mapping[str, Tensor], now: Mapping[str, Tensor]) -> dict[str, float]:
    found = {}
    for name, weight in now.items():
        if name in before and (size := float(before[name].norm())) > 0:
            there = before[name].to(weight.device)
            found[name] = float((weight - there).norm()) / size
    return found


def _flow(gradients: Mapping[str, float]) -> dict[str, float]:
    sizes = list(gradients.values())
    if len(sizes) < 2 or not sizes[-1]:
        return {}
    return {"gradient_flow": sizes[0] / sizes[-1]}


def _speed(changes: Mapping[str, float]) -> dict[str, float]:
    speeds = list(changes.values())
    if not speeds:
        return {}
    found = {"weight_change": float(torch.tensor(speeds).median())}
    if len(speeds) > 1 and speeds[-1]:
        found["layer_speed"] = speeds[0] / speeds[-1]
    return found
