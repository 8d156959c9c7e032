"""Highway networks (Srivastava et al., 2015, arXiv 1505.00387): layers that gates let through."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Le
from torch import nn

from hpsearch.components.examples import num_features
from hpsearch.components.layers.activations import ActivationSection
from hpsearch.components.layers.modules import Blocks
from hpsearch.components.layers.skips import Gated, as_gate
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
    layers: list[list[nn.Module]] = []
    for _ in range(depth):
        body = [nn.Linear(width, width), plain_activation(activation)]
        layers.append([Gated(body, as_gate(nn.Linear(width, width), gate_bias))])
    return Blocks.of([first, *layers, [nn.Linear(width, output_size)]])
