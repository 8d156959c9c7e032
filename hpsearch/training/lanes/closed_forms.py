"""Chains of linear layers, dropouts and activations by closed forms of their gradients.

On a CPU a step of a small net takes autograd longer than the products of matrices do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from hpsearch.components.layers.modules import Dropout
from hpsearch.training.lanes.batched_layers import Chain, Link, Tensors

aten: Any = torch.ops.aten


class ClosedForm:
    """The outputs of a chain for a batch of each lane, and its gradients by the parameters."""

    def __init__(self, layers: Sequence[_Layer], gradients: Sequence[_Gradient]) -> None:
        self._layers, self._gradients = layers, gradients
        self._dropouts = [layer for layer in layers if isinstance(layer, _Dropout)]
        # nothing before the first layer that is trained needs a gradient
        self._first = next(n for n, layer in enumerate(layers) if layer.is_first)

    @classmethod
    def of(
        cls, chain: Chain, state: Tensors, grads: Tensors, dropouts: Sequence[Dropout]
    ) -> ClosedForm | None:
        """Return the closed form of a chain; None where a layer has none.

        `state` has the tensors of the chain by name, `grads` the gradients of those that are
        trained, `dropouts` its dropouts in the order of their keys.
        """
        layers: list[_Layer] = []
        gradients = {name: _Gradient(tensor) for name, tensor in grads.items()}
        places = {id(dropout): place for place, dropout in enumerate(dropouts)}
        is_first = True
        for link in chain.links:
            tensors = {own: state[name] for own, name in link.names.items()}
            if isinstance(link.module, nn.Linear):
                of_layer = {own: gradients[n] for own, n in link.names.items() if n in grads}
                if any(tensor.dtype != torch.float32 for tensor in tensors.values()):
                    return None
                layers.append(_Linear(tensors, of_layer, is_first=is_first and bool(of_layer)))
                is_first = is_first and not of_layer
            elif isinstance(link.module, Dropout):
                if link.module.active:
                    layers.append(_Dropout(link.module, tensors, places[id(link.module)]))
            elif type(link.module) is nn.Flatten and link.module.end_dim == -1:
                layers.append(_Flatten(link.module))
            elif link.activations:
                layers.append(_activation(link))
            else:
                return None
        return None if is_first else cls(layers, list(gradients.values()))

    def begin(self, keys: Tensor, first_rows: Tensor) -> None:
        """Begin some passes over batches of one size, whose dropouts draw by these keys.

        `keys` is int32 (passes, dropouts, lanes), `first_rows` int32 (passes, lanes).
        """
        for dropout in self._dropouts:
            dropout.begin(keys, first_rows)

    def outputs(self, x: Tensor) -> Tensor:
        """Return the outputs of the next pass, for x (lanes, rows, ...)."""
        for layer in self._layers:
            x = layer.forward(x)
        return x

    def take_gradients(self, grad: Tensor, *, add: bool) -> None:
        """Write the gradients of the last pass, given that by its outputs, or add them."""
        for gradient in self._gradients:
            gradient.is_empty = not add
        for layer in reversed(self._layers[self._first :]):
            grad = layer.backward(grad)


class _Layer(Protocol):
    """A layer of all lanes, which keeps from a pass what its gradients need.

    `is_first` says that it is the first that is trained.
    """

    is_first: bool

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs for x (lanes, rows, ...)."""

    def backward(self, grad: Tensor) -> Tensor:
        """Return the gradient by x, given that by the outputs; add those by parameters."""


class _Gradient:
    """The gradient by a tensor of the lanes, of one layer or several: the first writes it."""

    is_empty = False

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor

    def add_product(self, left: Tensor, right: Tensor) -> None:
        """Add the products of lanes' matrices."""
        if self.is_empty:
            torch.bmm(left, right, out=self._tensor)
        else:
            self._tensor.baddbmm_(left, right)
        self.is_empty = False

    def add_sum(self, rows: Tensor) -> None:
        """Add the sums of lanes' rows."""
        if self.is_empty:
            torch.sum(rows, 1, out=self._tensor)
        else:
            self._tensor.add_(rows.sum(1))
        self.is_empty = False


class _Linear:
    def __init__(
        self, tensors: Tensors, grads: Mapping[str, _Gradient], *, is_first: bool
    ) -> None:
        self.is_first = is_first
        self._weight, self._weight_grad = tensors["weight"], grads.get("weight")
        self._bias, self._bias_grad = tensors.get("bias"), grads.get("bias")

    def forward(self, x: Tensor) -> Tensor:
        """See _Layer."""
        self._rows = x if x.ndim == 3 else x.flatten(1, -2)
        weight = self._weight.transpose(1, 2)
        if self._bias is None:
            outputs = torch.bmm(self._rows, weight)
        else:
            outputs = torch.baddbmm(self._bias.unsqueeze(1), self._rows, weight)
        return outputs if x.ndim == 3 else outputs.view(*x.shape[:-1], outputs.shape[-1])

    def backward(self, grad: Tensor) -> Tensor:
        """See _Layer; the gradient by the first layer's x is nobody's."""
        rows = grad if grad.ndim == 3 else grad.flatten(1, -2)
        if self._weight_grad is not None:
            self._weight_grad.add_product(rows.transpose(1, 2), self._rows)
        if self._bias_grad is not None:
            self._bias_grad.add_sum(rows)
        if self.is_first:
            return grad
        by_x = torch.bmm(rows, self._weight)
        return by_x if grad.ndim == 3 else by_x.view(*grad.shape[:-1], by_x.shape[-1])


class _Dropout:
    is_first = False

    def __init__(self, module: Dropout, tensors: Tensors, place: int) -> None:
        self._module, self._tensors, self._place = module, tensors, place

    def begin(self, keys: Tensor, first_rows: Tensor) -> None:
        """See ClosedForm."""
        self._module.begin_pass()  # one that is there twice draws twice
        self._keys, self._first_rows = keys[:, self._place], first_rows
        self._masks: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        """See _Layer; the masks of all passes are drawn at once, which takes half of the time."""
        if not self._masks:
            self._masks = list(self._drawn(x).unbind())[::-1]
        self._mask = self._masks.pop()
        return x * self._mask

    def backward(self, grad: Tensor) -> Tensor:
        """See _Layer."""
        return grad * self._mask

    def _drawn(self, x: Tensor) -> Tensor:
        axes = [1] * (x.ndim - 1)
        wide = {name: self._tensors[name].view(-1, *axes) for name in ("limit", "scale")}
        wide["key"] = self._keys.reshape(*self._keys.shape, *axes)
        wide["first_row"] = self._first_rows.view(*self._first_rows.shape, *axes)
        return self._module.factors(x[0], wide)


class _Flatten:
    is_first = False

    def __init__(self, module: nn.Flatten) -> None:
        self._start = module.start_dim + (module.start_dim >= 0)

    def forward(self, x: Tensor) -> Tensor:
        """See _Layer."""
        self._shape = x.shape
        return x.flatten(self._start)

    def backward(self, grad: Tensor) -> Tensor:
        """See _Layer."""
        return grad.reshape(self._shape)


_Backward = Callable[[Any, Tensor, Tensor, Tensor], Tensor]


class _Activation:
    is_first = False
    _x: Tensor
    _outputs: Tensor

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._gradient = _GRADIENTS.get(type(module))

    def forward(self, x: Tensor) -> Tensor:
        """See _Layer."""
        if self._gradient is None:
            with torch.enable_grad():
                x = x.detach().requires_grad_()
                self._x, self._outputs = x, self._module(x)
            return self._outputs.detach()
        self._x, self._outputs = x, self._module(x)
        return self._outputs

    def backward(self, grad: Tensor) -> Tensor:
        """See _Layer."""
        if self._gradient is None:
            return torch.autograd.grad(self._outputs, self._x, grad)[0]
        return self._gradient(self._module, grad, self._x, self._outputs)


class _Activations:
    """Other activations for some lanes than for others."""

    is_first = False

    def __init__(self, runs: Sequence[tuple[nn.Module, int]]) -> None:
        self._all = [_Activation(module) for module, _ in runs]
        self._sizes = [length for _, length in runs]

    def forward(self, x: Tensor) -> Tensor:
        """See _Layer."""
        parts = zip(self._all, torch.split(x, self._sizes), strict=True)
        return torch.cat([each.forward(part) for each, part in parts])

    def backward(self, grad: Tensor) -> Tensor:
        """See _Layer."""
        parts = zip(self._all, torch.split(grad, self._sizes), strict=True)
        return torch.cat([each.backward(part) for each, part in parts])


def _activation(link: Link) -> _Layer:
    (module, _), *others = link.activations
    return _Activations(link.activations) if others else _Activation(module)


#: (module, gradient by the outputs, inputs, outputs) → gradient by the inputs, as autograd has it
_GRADIENTS: Mapping[type[nn.Module], _Backward] = {
    nn.ReLU: lambda module, grad, x, y: aten.threshold_backward(grad, y, 0),
    nn.Tanh: lambda module, grad, x, y: aten.tanh_backward(grad, y),
    nn.Sigmoid: lambda module, grad, x, y: aten.sigmoid_backward(grad, y),
    nn.SiLU: lambda module, grad, x, y: aten.silu_backward(grad, x),
    nn.GELU: lambda module, grad, x, y: aten.gelu_backward(
        grad, x, approximate=module.approximate
    ),
    nn.Identity: lambda module, grad, x, y: grad,
    nn.LeakyReLU: lambda module, grad, x, y: aten.leaky_relu_backward(
        grad, x, module.negative_slope, False
    ),
}


def cross_entropies(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean cross entropy of each lane, and its gradient by the outputs.

    It is softmax(z) - onehot(t), over the number of rows. `targets` are classes (lanes, rows).
    """
    logs, places = outputs.log_softmax(-1), targets.unsqueeze(-1)
    losses = -logs.gather(-1, places).mean((1, 2))
    grads = logs.exp_()
    grads.scatter_add_(-1, places, grads.new_full((1, 1, 1), -1.0).expand(places.shape))
    return losses, grads.div_(outputs.shape[1])
