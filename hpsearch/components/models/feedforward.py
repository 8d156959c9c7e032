"""`mlp`: fully connected layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge
from torch import nn

from hpsearch.components.examples import num_features
from hpsearch.components.layers.activations import ActivationSection, make_activation, widening
from hpsearch.components.layers.dropouts import DropoutSection, Rate, make_dropout
from hpsearch.components.layers.modules import Blocks, Dropout, Residual
from hpsearch.components.layers.normalizations import NormPosition, NormSection
from hpsearch.components.layers.skips import Gated
from hpsearch.components.models.blocks import Block, Skip, check_residuals, check_skip, skipping
from hpsearch.errors import BadConfigurationError
from hpsearch.registry import register

Size = Annotated[int, Ge(1)]


@register("model", "mlp")
def mlp(
    input_shape: tuple[int, ...],
    output_size: int,
    hidden_sizes: Sequence[Size] = (128,),
    activation: ActivationSection = "relu",
    norm: NormSection = "none",
    norm_position: NormPosition = "pre_activation",
    bias: bool = True,
    input_dropout: Rate = 0.0,
    dropout: DropoutSection = 0.0,
    depth: Size | None = None,
    skip: Skip = "none",
) -> nn.Module:
    """Fully connected layers, each with a normalisation, an activation and dropout.

    With `norm_position: pre_norm_residual` layers that keep their width are added to their
    inputs; BadConfigurationError where none does. `bias` is that of the hidden layers. `depth` is
    the number of hidden layers where `hidden_sizes` is one size for all. A `skip` leads around
    each hidden layer: its outputs are added to its inputs, or mixed with them by a gate as in
    highway nets, where both have one width, or stand beside them (`concat`).
    """
    hidden_sizes = _repeated(hidden_sizes, depth)
    begin: list[nn.Module] = [nn.Flatten()] if len(input_shape) > 1 else []
    begin.append(Dropout(input_dropout))
    blocks: list[list[nn.Module]] = []
    sizes = [num_features(input_shape)]
    for hidden_size in hidden_sizes:
        size = sizes[-1]
        function = make_activation(activation)
        linear = nn.Linear(size, hidden_size * widening(function), bias=bias)
        block = Block(linear, function, norm, norm_position, size, hidden_size)
        modules = skipping(block.modules(make_dropout(dropout)), skip, size, hidden_size)
        blocks.append(modules)
        sizes.append(hidden_size + (size if skip == "concat" else 0))
    check_residuals(blocks, norm_position, sizes)
    _check_skips(blocks, skip, norm_position, sizes)
    first, *others = [*blocks, [nn.Linear(sizes[-1], output_size)]]
    return Blocks.of([[*begin, *first], *others])


def _repeated(hidden_sizes: Sequence[int], depth: int | None) -> Sequence[int]:
    if depth is None:
        return hidden_sizes
    if len(hidden_sizes) != 1:
        rule = "must be left out where hidden_sizes has a size for each layer"
        raise BadConfigurationError(rule, depth, keyword="depth")
    return [*hidden_sizes] * depth


def _check_skips(
    blocks: Sequence[Sequence[nn.Module]], skip: Skip, position: NormPosition, sizes: Sequence[int]
) -> None:
    check_skip(skip, position)
    kinds = Residual | Gated
    if skip in ("add", "gated") and not any(
        isinstance(each, kinds) for block in blocks for each in block
    ):
        raise BadConfigurationError(
            "needs a layer as wide as its inputs, but of the widths "
            f"{', '.join(map(str, sizes))} no two neighbours are the same",
            skip,
            keyword="skip",
        )
