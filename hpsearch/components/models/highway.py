"""Highway networks (Srivastava et al., 2015, arXiv 1505.00387): layers that gates let through."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Le
from torch import Tensor, nn

from hpsearch.components.data import num_features
from hpsearch.components.layers.activations import ActivationSection
from hpsearch.components.layers.modules import Blocks
from hpsearch.components.models.convolutions import plain_activation
from hpsearch.registry import Recommended, register


@register("model", "highway")
def highway(
    input_shape: tuple[int, ...],
    output_size: int,
    width: Annotated[int, Ge(1), Recommended(16, 256, log=True)] = 64,
    depth: Annotated[int, Ge(1), Recommended(2, 50, log=True)] = 10,
    gate_bias: Annotated[float, Le(0), Recommended(-4.0, -1.0)] = -1.0,
    activation: ActivationSection = "relu",
) -> nn.Module:
    """A linear layer to `width` units, then `depth` layers y = T(x) H(x) + (1 - T(x)) x.

    The gates T are sigmoid layers whose biases begin at `gate_bias`, so that at first most of x
    passes: -1 for about 10 layers, -3 for 30 in the paper.
    """
    begin: list[nn.Module] = [nn.Flatten()] if len(input_shape) > 1 else []
    first = [*begin, nn.Linear(num_features(input_shape), width), plain_activation(activation)]
    layers: list[list[nn.Module]] = [
        [Highway(width, gate_bias, plain_activation(activation))] for _ in range(depth)
    ]
    return Blocks.of([first, *layers, [nn.Linear(width, output_size)]])


class Highway(nn.Module):
    """T(x) H(x) + (1 - T(x)) x of vectors (B, D)."""

    def __init__(self, width: int, gate_bias: float, activation: nn.Module) -> None:
        super().__init__()
        self.layer, self.gate = nn.Linear(width, width), GateLinear(width, width)
        self.gate.initial_bias = gate_bias
        nn.init.constant_(self.gate.bias, gate_bias)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, D)."""
        gate = self.gate(x).sigmoid()
        mixed: Tensor = x + gate * (self.activation(self.layer(x)) - x)
        return mixed


class GateLinear(nn.Linear):
    """A linear layer whose biases begin at `initial_bias`, to initializers too."""

    initial_bias = 0.0
