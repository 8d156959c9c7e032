"""gMLP (Liu et al., 2021, arXiv 2105.08050): layers over tokens, gated by layers across them.

Shapes: B rows, N tokens, D their width, F that of a block within.
"""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

from hpsearch.components.examples import num_features
from hpsearch.components.input_shapes import check_shape
from hpsearch.components.layers.dropouts import Rate
from hpsearch.components.layers.modules import Dropout
from hpsearch.components.models.building import FITTING
from hpsearch.components.models.transformer import attended
from hpsearch.errors import BadConfigurationError
from hpsearch.registry import Recommended, register

#: standard deviation of the weights across tokens at the begin: nearly 0
GATE_STD = 1e-6


def _fitting_patches(input_shape: tuple[int, ...]) -> list[int]:
    """Return the sizes of patches that divide an image; any fits other examples."""
    sides = input_shape[1:] if len(input_shape) == 3 else ()
    largest = min(sides, default=0)
    return [size for size in range(1, largest + 1) if not any(side % size for side in sides)]


@register("model", "gmlp", traits={FITTING: {"patch_size": _fitting_patches}})
def gmlp(
    input_shape: tuple[int, ...],
    output_size: int,
    width: Annotated[int, Ge(1), Recommended(32, 256, log=True)] = 64,
    hidden_size: Annotated[int, Ge(2)] | None = None,
    layers: Annotated[int, Ge(1), Recommended(1, 12)] = 4,
    patch_size: Annotated[int, Ge(1), Recommended(1, 8)] = 2,
    stochastic_depth: Rate = 0.0,
    attention_size: Annotated[int, Ge(0)] = 0,
) -> nn.Module:
    """Blocks x + W SGU(gelu(V norm(x))), then the mean over tokens and a linear layer.

    Tokens are an image's patches of `patch_size`, the steps of a sequence (time, features), or
    the features of a table, each with a vector of its own. The spatial gating unit multiplies one
    half of its channels by a linear map across tokens of the other. `hidden_size`, which must be
    even, is 4 times the width by default (in the paper 6 times). `stochastic_depth` leaves out a
    block, for each row anew, at a rate that rises to this one from the first to the last (Huang
    et al., 2016). With an `attention_size` above 0, in the paper 64, one head of attention of this
    size adds to the gates (aMLP).
    """
    hidden = hidden_size or 4 * width
    if hidden % 2:
        raise BadConfigurationError("must be even", hidden, keyword="hidden_size")
    tokens = _tokens(input_shape, width, patch_size)
    with torch.no_grad():
        num_tokens = tokens(torch.zeros(1, *input_shape)).shape[1]
    blocks = [
        GatedBlock(
            width, hidden, num_tokens, stochastic_depth * (number + 1) / layers, attention_size
        )
        for number in range(layers)
    ]
    return GatedMlp(tokens, blocks, nn.LayerNorm(width), nn.Linear(width, output_size))


class GatedMlp(nn.Module):
    """Examples (B, ...) to outputs (B, K)."""

    def __init__(
        self, tokens: nn.Module, blocks: list[GatedBlock], norm: nn.Module, output: nn.Module
    ) -> None:
        super().__init__()
        self.tokens, self.blocks = tokens, nn.ModuleList(blocks)
        self.norm, self.output = norm, output

    def layer_groups(self) -> list[list[nn.Module]]:
        """Return the tokens, each block and the head."""
        return [[self.tokens], *([each] for each in self.blocks), [self.norm, self.output]]

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of a batch."""
        x = self.tokens(x)
        for block in self.blocks:
            x = block(x)
        outputs: Tensor = self.output(self.norm(x).mean(1))
        return outputs


class GatedBlock(nn.Module):
    """x + outward(gate(gelu(inward(norm(x)))))."""

    def __init__(
        self,
        width: int,
        hidden: int,
        num_tokens: int,
        drop_rate: float,
        attention_size: int = 0,
    ) -> None:
        super().__init__()
        self.attention = (
            TinyAttention(width, hidden // 2, attention_size) if attention_size else None
        )
        self.norm, self.inward = nn.LayerNorm(width), nn.Linear(width, hidden)
        self.activation, self.gate = nn.GELU(), SpatialGate(hidden // 2, num_tokens)
        self.outward, self.drop = nn.Linear(hidden // 2, width), Dropout(drop_rate)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, N, D)."""
        normed = self.norm(x)
        more = None if self.attention is None else self.attention(normed)
        changes = self.outward(self.gate(self.activation(self.inward(normed)), more))
        if self.drop.is_on:  # one draw a row
            changes = changes * self.drop(torch.ones_like(changes[:, :1, :1]))
        outputs: Tensor = x + changes
        return outputs


class SpatialGate(nn.Module):
    """a * (W norm(b) + 1) of two halves (B, N, F / 2), with W across tokens (their section 2.1).

    At first W is nearly 0 and its bias 1, so that the first half passes as it is.
    """

    def __init__(self, size: int, num_tokens: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size)
        self.weight = nn.Parameter(torch.randn(num_tokens, num_tokens) * GATE_STD)
        self.bias = nn.Parameter(torch.ones(num_tokens, 1))

    def forward(self, x: Tensor, more: Tensor | None = None) -> Tensor:
        """Return (B, N, F / 2); `more` is added to the gates."""
        kept, gating = x.chunk(2, -1)
        gates: Tensor = self.weight @ self.norm(gating) + self.bias
        return kept * (gates if more is None else gates + more)


class TinyAttention(nn.Module):
    """One head of attention (B, N, D) to (B, N, F / 2)."""

    def __init__(self, width: int, out_size: int, size: int) -> None:
        super().__init__()
        self.gates, self.output = nn.Linear(width, 3 * size), nn.Linear(size, out_size)

    def forward(self, x: Tensor) -> Tensor:
        """Return what is added to the gates."""
        outputs: Tensor = self.output(attended(*self.gates(x).chunk(3, -1), is_causal=False))
        return outputs


class FeatureTokens(nn.Module):
    """Each feature of a table (B, N) as its value times a vector, and one more (B, N, D)."""

    def __init__(self, num_tokens: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_tokens, width) / width**0.5)
        self.bias = nn.Parameter(torch.zeros(num_tokens, width))

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens."""
        return x[..., None] * self.weight + self.bias


def _tokens(input_shape: tuple[int, ...], width: int, patch_size: int) -> nn.Module:
    if len(input_shape) == 1:
        return FeatureTokens(num_features(input_shape), width)
    if len(input_shape) == 2:
        return nn.Linear(input_shape[1], width)
    needs = "images, sequences of the shape (time, features) or rows of a table"
    check_shape("gmlp", len(input_shape) == 3, needs, input_shape)
    channels, *sides = input_shape
    if any(side % patch_size for side in sides):
        rule = f"must divide height and width ({sides[0]}x{sides[1]})"
        raise BadConfigurationError(rule, patch_size, keyword="patch_size")
    patches = nn.Conv2d(channels, width, patch_size, patch_size)
    return nn.Sequential(patches, nn.Flatten(2), Transposed())


class Transposed(nn.Module):
    """(B, D, N) as (B, N, D)."""

    def forward(self, x: Tensor) -> Tensor:
        """Change the two places."""
        return x.transpose(1, 2)
