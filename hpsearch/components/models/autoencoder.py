"""Autoencoders: nets that give back their inputs through a narrow code.

Shapes: B rows, D values of an example, K numbers of its code.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from annotated_types import Ge, Interval
from torch import Tensor, nn

from hpsearch.components.corruptions import CORRUPTIONS, Corrupting, Corruption
from hpsearch.components.examples import num_features
from hpsearch.components.layer_groups import layer_groups
from hpsearch.components.layers.activations import ActivationSection, make_activation, widening
from hpsearch.components.models.building import VECTOR_TASKS
from hpsearch.errors import BadConfigurationError
from hpsearch.registry import Recommended, register

Size = Annotated[int, Ge(1)]
Draws = Annotated[int, Interval(ge=1, le=1000)]
_TASKS = (*VECTOR_TASKS, "reconstruction", "restoration")


@register("model", "autoencoder", traits={"tasks": _TASKS})
def autoencoder(
    input_shape: tuple[int, ...],
    output_size: int,
    output_shape: tuple[int, ...],
    hidden_sizes: Sequence[Size] = (128,),
    code_size: Annotated[int, Ge(1), Recommended(2, 64, log=True)] = 16,
    activation: ActivationSection = "relu",
    tied: bool = False,
    variational: bool = False,
    corruption: Corruption = "none",
    corruption_rate: Annotated[float, Interval(gt=0, le=1), Recommended(0.05, 0.5)] = 0.3,
    draws: Draws = 1,
) -> nn.Module:
    """Fully connected layers to a code and, in reverse order, back; for the task reconstruction.

    For other tasks a linear layer on the code takes the decoder's place, so that an earlier stage
    can train the encoder for them.
    A `tied` decoder has the encoder's weights, transposed, with biases of its own. With
    `corruption` it learns to give back inputs that were changed before each step (Vincent et al.,
    2010): each value is set to 0, the mean of standardised inputs, or to its batch's least or
    greatest value, by chance `corruption_rate`, or normal noise of this standard deviation is
    added. A `variational` one (Kingma and Welling, 2014) codes a normal distribution, of which
    training draws and evaluation takes the mean; of several `draws` for each row the loss is the
    mean, or what `bound` of the task says.
    """
    if tied and widening(make_activation(activation)) > 1:
        rule = "must be false for an activation that halves its inputs"
        raise BadConfigurationError(rule, True, keyword="tied")
    sizes = [num_features(input_shape), *hidden_sizes]
    encoder = _layers(sizes, activation)
    code = nn.Linear(sizes[-1], code_size * (1 + variational))
    if tied and variational:
        rule = "must be false for a variational one, whose code has other weights"
        raise BadConfigurationError(rule, True, keyword="tied")
    if output_shape != input_shape:
        return CodeReader(nn.Sequential(*encoder, code), nn.Linear(code_size, output_size))
    decoder = (
        TiedDecoder([*_linears(encoder), code], activation)
        if tied
        else nn.Sequential(
            *_layers([code_size, *reversed(hidden_sizes)], activation),
            nn.Linear(sizes[1] if hidden_sizes else code_size, sizes[0]),
        )
    )
    parts = nn.Sequential(*encoder, code), decoder, CORRUPTIONS[corruption], corruption_rate
    return VariationalAutoencoder(*parts, draws) if variational else Autoencoder(*parts)


class Autoencoder(nn.Module):
    """Examples (B, ...) to reconstructions of the same shape."""

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, corrupt: Corrupting | None, rate: float
    ) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.corrupt, self.rate = corrupt, rate

    def encode(self, x: Tensor) -> Tensor:
        """Return codes (B, K)."""
        codes: Tensor = self.encoder(x.flatten(1))
        return codes

    def forward(self, x: Tensor) -> Any:
        """Return reconstructions."""
        outputs: Tensor = self.decoder(self.encode(self._seen(x)))
        return outputs.view(x.shape)

    def _seen(self, x: Tensor) -> Tensor:
        return self.corrupt(x, self.rate) if self.training and self.corrupt is not None else x


class CodeReader(nn.Module):
    """An autoencoder's encoder, and a head that reads its codes (B, K), of a variational one
    their means."""

    def __init__(self, encoder: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def layer_groups(self) -> list[list[nn.Module]]:
        """Return the encoder's layers, and the head."""
        return [*layer_groups(self.encoder), [self.head]]

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of a batch (B, ...)."""
        outputs: Tensor = self.head(self.encoder(x.flatten(1))[:, : self.head.in_features])
        return outputs


def drawn_code(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return codes m + e^(l/2) n, n normal: draws with a gradient (Kingma & Welling, 2014)."""
    return mean + torch.randn_like(mean) * (log_variance / 2).exp()


def decoded_draws(
    decoder: nn.Module, mean: Tensor, log_variance: Tensor, shape: Sequence[int], draws: int
) -> tuple[Tensor, ...]:
    """Return reconstructions of examples of a shape, and means and log variances of codes (B, K).

    One draw of each code gives (B, ...); several give (B, draws, ...), and the codes that were
    drawn (B, draws, K) as well. With 0 draws the means are decoded.
    """
    if draws < 2:
        code = drawn_code(mean, log_variance) if draws else mean
        return decoder(code).view(-1, *shape), mean, log_variance
    codes = drawn_code(*(each[:, None].expand(-1, draws, -1) for each in (mean, log_variance)))
    outputs = decoder(codes.flatten(0, 1)).view(-1, draws, *shape)
    return outputs, mean, log_variance, codes


class VariationalAutoencoder(Autoencoder):
    """Codes are normal distributions, independent in each of K numbers."""

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        corrupt: Corrupting | None,
        rate: float,
        draws: int,
    ) -> None:
        super().__init__(encoder, decoder, corrupt, rate)
        self._draws = draws

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes' means (B, K)."""
        return self._distribution(x)[0]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return what `decoded_draws` does."""
        mean, log_variance = self._distribution(self._seen(x))
        draws = self._draws * self.training
        return decoded_draws(self.decoder, mean, log_variance, x.shape[1:], draws)

    def _distribution(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encoder(x.flatten(1)).chunk(2, -1)
        return mean, log_variance


class TiedDecoder(nn.Module):
    """The layers of an encoder backwards: x Wᵀ, with biases of its own."""

    def __init__(self, encoder: Sequence[nn.Linear], activation: Any) -> None:
        super().__init__()
        self.layers = nn.ModuleList(reversed(encoder))
        sizes = [layer.in_features for layer in reversed(encoder)]
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(size)) for size in sizes)
        self.activations = nn.ModuleList(make_activation(activation) for _ in sizes[1:])

    def forward(self, codes: Tensor) -> Tensor:
        """Return (B, D)."""
        x, last = codes, len(self.layers) - 1
        for i, (layer, bias) in enumerate(zip(self.layers, self.biases, strict=True)):
            weight: Tensor = getattr(layer, "weight")  # noqa: B009  # mypy sees a Module
            x = F.linear(x, weight.t(), bias)
            x = x if i == last else self.activations[i](x)
        return x


def _layers(sizes: Sequence[int], activation: Any) -> list[nn.Module]:
    """Return layers of these sizes, each with its activation."""
    layers: list[nn.Module] = []
    for size, next_size in itertools.pairwise(sizes):
        function = make_activation(activation)
        layers += [nn.Linear(size, next_size * widening(function)), function]
    return layers


def _linears(layers: Sequence[nn.Module]) -> list[nn.Linear]:
    return [layer for layer in layers if isinstance(layer, nn.Linear)]
