"""Self-normalising nets (Klambauer et al., 2017, arXiv 1706.02515)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge
from torch import nn

from hpsearch.components.layers.dropouts import Rate
from hpsearch.components.models.feedforward import mlp
from hpsearch.registry import Recommended, register

Size = Annotated[int, Ge(1)]


@register("model", "snn")
def snn(
    input_shape: tuple[int, ...],
    output_size: int,
    width: Annotated[int, Ge(1), Recommended(16, 512, log=True)] = 128,
    depth: Annotated[int, Ge(1), Recommended(1, 16)] = 4,
    dropout: Annotated[Rate, Recommended(0.0, 0.1)] = 0.05,
) -> nn.Module:
    """An mlp whose signals keep mean 0 and variance 1: SELU, weights of variance 1/fan_in, alpha
    dropout, no normalisation.

    All `depth` hidden layers have `width` units. Inputs must be standardised. The weights are
    drawn here, as by lecun_normal; other initializers than torch_default take its place.
    """
    sizes: Sequence[int] = [width] * depth
    net: nn.Module = mlp(
        input_shape, output_size, sizes, "selu", dropout={"name": "alpha", "rate": dropout}
    )
    for layer in net.modules():
        if isinstance(layer, nn.Linear):
            # the gain that torch has for SELU, 3/4, is not that of these nets
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
            nn.init.zeros_(layer.bias)
    return net
