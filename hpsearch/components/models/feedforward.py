"""Models by name: a factory of the shape of an example, the number of outputs, and keywords."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import Ge
from torch import nn

from hpsearch import registry
from hpsearch.components.data import Float, Scale, num_features
from hpsearch.components.input_shapes import check_images
from hpsearch.components.layers.activations import (
    ActivationSection,
    is_monotone,
    make_activation,
    widening,
)
from hpsearch.components.layers.dropouts import (
    SPATIAL_DROPOUT,
    DropoutSection,
    MonteCarlo,
    Rate,
    SpatialDropoutSection,
    make_dropout,
)
from hpsearch.components.layers.modules import Blocks, ChannelsLast, Dropout, Residual
from hpsearch.components.layers.normalizations import (
    NormPosition,
    NormSection,
    has_batch_statistics,
    make_norm,
)
from hpsearch.components.tasks.heads import Head, Linear
from hpsearch.errors import BadConfigurationError, UserCodeError
from hpsearch.registry import Recommended, register

Size = Annotated[int, Ge(1)]


def build_model(
    section: Mapping[str, Any],
    input_shape: tuple[int, ...],
    output_size: int,
    folder: Path,
    head: Head | None = None,
    scale: Scale | None = None,
    *,
    output_shape: tuple[int, ...] = (),
    num_tokens: int = 0,
) -> nn.Module:
    """Build the model of a spec's section; UserCodeError if a factory returns no Module.

    `scale` is how inputs came from raw values. The `head` says what predictions are of which
    `mc_dropout_samples` takes the mean; by default they are the outputs. `output_shape` is that of
    an example's outputs, (output_size,) by default; inputs may be ids of `num_tokens` tokens.
    """
    keywords = dict(section)
    name = keywords.pop("name")
    component = registry.get("model", name, folder)
    takes_ids = "num_tokens" in inspect.signature(component.factory).parameters
    if num_tokens and not takes_ids and registry.is_ours(component.factory):
        raise BadConfigurationError(
            "must be a model of tokens (transformer, rnn), as the data set's inputs are ids",
            name,
            keyword="name",
        )
    num_samples = 0
    if "mc_dropout_samples" not in component.own_keywords:
        num_samples = keywords.pop("mc_dropout_samples", 0)
    model = component.build(
        keywords,
        folder=folder,
        input_shape=input_shape,
        output_size=output_size,
        output_shape=output_shape or (output_size,),
        num_tokens=num_tokens,
        input_scale=scale or Scale.identity(),
    )
    if not isinstance(model, nn.Module):
        raise UserCodeError(f"{name} must return a torch.nn.Module", model, keyword="name")
    return MonteCarlo(model, num_samples, head or Linear()) if num_samples else model


@dataclass(frozen=True)
class Evaluation:
    """Keywords that all models have beside their own.

    With `mc_dropout_samples` evaluation averages predictions, of classes their probabilities,
    over this many dropout masks.
    """

    mc_dropout_samples: Annotated[int, Ge(0), Recommended(2, 32, log=True, prior=8)] = 0


registry.share_keywords("model", Evaluation)


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
) -> nn.Module:
    """Fully connected layers, each with a normalisation, an activation and dropout.

    With `norm_position: pre_norm_residual` layers that keep their width are added to their
    inputs; BadConfigurationError where none does. `bias` is that of the hidden layers.
    """
    begin: list[nn.Module] = [nn.Flatten()] if len(input_shape) > 1 else []
    begin.append(Dropout(input_dropout))
    blocks: list[list[nn.Module]] = []
    sizes = [num_features(input_shape), *hidden_sizes]
    for size, hidden_size in itertools.pairwise(sizes):
        function = make_activation(activation)
        linear = nn.Linear(size, hidden_size * widening(function), bias=bias)
        block = Block(linear, function, norm, norm_position, size, hidden_size)
        blocks.append(block.modules(make_dropout(dropout)))
    _check_residuals(blocks, norm_position, sizes)
    first, *others = [*blocks, [nn.Linear(sizes[-1], output_size)]]
    return Blocks.of([[*begin, *first], *others])


@register("model", "cnn")
def cnn(
    input_shape: tuple[int, ...],
    output_size: int,
    channels: Sequence[Size] = (16, 32),
    kernel_size: Size = 3,
    pool: Size = 2,
    hidden_sizes: Sequence[Size] = (64,),
    activation: ActivationSection = "relu",
    norm: NormSection = "none",
    norm_position: NormPosition = "pre_activation",
    bias: bool = True,
    input_dropout: Rate = 0.0,
    conv_dropout: SpatialDropoutSection | None = None,
    dropout: DropoutSection = 0.0,
) -> nn.Module:
    """Convolutions, each with a normalisation, an activation and max pooling, then an mlp.

    `pool` divides height and width after each convolution (1 keeps them); `norm`, `bias` and
    `conv_dropout` are those of the convolutions, `dropout` follows the hidden layers of the mlp.
    With `norm_position: pre_norm_residual` convolutions that keep their channels, of an odd
    `kernel_size`, are added to their inputs before pooling; BadConfigurationError where none does.
    Likewise where the data isn't images of the shape (channels, height, width), or pooling leaves
    nothing of them.
    """
    depth, height, width = _image_shape(input_shape)
    # Channels last takes less time than the usual order on a CPU.
    begin: list[nn.Module] = [ChannelsLast(), Dropout(input_dropout)]
    blocks: list[list[nn.Module]] = []
    sizes = [depth, *channels]
    for i, (size, num_channels) in enumerate(itertools.pairwise(sizes)):
        function = make_activation(activation)
        wide = num_channels * widening(function)
        conv = nn.Conv2d(size, wide, kernel_size, padding=kernel_size // 2, bias=bias)
        block = Block(conv, function, norm, norm_position, size, num_channels, pool)
        blocks.append(block.modules(*_conv_dropouts(conv_dropout)))
        height, width = (_size_after(size, kernel_size, pool) for size in (height, width))
        if min(height, width) < 1:
            place = f"convolution {i + 1} of {len(channels)} leaves {height}x{width}"
            raise _pooled_away(input_shape, pool, place)
    _check_residuals(blocks, norm_position, sizes)
    shape = sizes[-1], height, width
    head: Blocks = mlp(shape, output_size, hidden_sizes, activation, dropout=dropout)
    first, *others = [*blocks, *head.layer_groups()]
    return Blocks.of([[*begin, *first], *others])


@dataclass(frozen=True)
class Block:
    """A layer, the normalisation at its place, its activation, and max pooling by `pool`."""

    layer: nn.Linear | nn.Conv2d
    activation: nn.Module
    norm: Any
    position: NormPosition
    in_size: int
    out_size: int
    pool: int = 1

    def modules(self, *last: nn.Module) -> list[nn.Module]:
        """Return the block's modules in order; `last` ends what is trained of it."""
        layer, norm = self._layer_and_norm()
        if self.position == "post_activation":
            return [layer, *self._activated(), *norm, *last]
        if self.position == "pre_activation":
            return [layer, *norm, *self._activated(), *last]
        if self._keeps_shape():
            return [Residual(*norm, layer, self.activation, *last), *self._pooling()]
        return [*norm, layer, *self._activated(), *last]

    def _activated(self) -> list[nn.Module]:
        """Return activation and pooling, in the order that takes the least time.

        Where the activation never falls the greatest value stays the greatest, so that pooling
        first comes to the same, in 0.4 of the time on a CPU.
        """
        if is_monotone(self.activation):
            return [*self._pooling(), self.activation]
        return [self.activation, *self._pooling()]

    def _pooling(self) -> list[nn.Module]:
        return [nn.MaxPool2d(self.pool)] if self.pool > 1 else []

    def _keeps_shape(self) -> bool:
        is_even = isinstance(self.layer, nn.Conv2d) and self.layer.kernel_size[0] % 2 == 0
        return self.in_size == self.out_size and not is_even

    def _layer_and_norm(self) -> tuple[nn.Module, list[nn.Module]]:
        wide: int = self.layer.weight.shape[0]
        sizes = {"pre_activation": wide, "post_activation": self.out_size}
        num_dims = self.layer.weight.ndim - 2
        norm = make_norm(self.norm, sizes.get(self.position, self.in_size), num_dims)
        if norm is None:
            return self.layer, []
        return (self.layer, [norm]) if isinstance(norm, nn.Module) else (norm(self.layer), [])


def check_outputs(
    model: nn.Module,
    name: str,
    input_shape: tuple[int, ...],
    output_shape: tuple[int, ...],
    num_tokens: int = 0,
) -> None:
    """Refuse a model whose outputs are of another shape than the data set asks for."""
    dtype = torch.int64 if num_tokens else torch.float32
    with torch.no_grad():
        outputs = model.eval()(torch.zeros(2, *input_shape, dtype=dtype))
    if isinstance(outputs, tuple) and outputs:  # what is predicted is the first of them
        outputs = outputs[0]
    expected = (2, *output_shape)
    shape = tuple(getattr(outputs, "shape", ()))
    if shape != expected:
        raise UserCodeError(
            f"{name} must give outputs of the shape {expected} for two examples, but got "
            f"{shape or type(outputs).__name__}",
            keyword="name",
        )


def check_is_causal(model: nn.Module, name: str, length: int, num_tokens: int) -> None:
    """Refuse a model that sees the tokens which it is to predict."""
    generator = torch.Generator().manual_seed(0)
    before, others = torch.randint(num_tokens, (2, 4, length), generator=generator)
    after = torch.cat([before[:, : length // 2], others[:, length // 2 :]], 1)
    with torch.no_grad():
        first, second = (model.eval()(ids)[:, : length // 2] for ids in (before, after))
    if not torch.allclose(first, second, atol=1e-5):
        raise BadConfigurationError(
            f"must predict each token from those before it, but outputs of {name} depend on "
            "later ones (a bidirectional net, or attention without a causal mask)",
            keyword="name",
        )


def check_examples(model: nn.Module, x: Float) -> None:
    """Let each part of a model that has a `check_examples` refuse what it can't read."""
    for module in model.modules():
        if callable(check := getattr(module, "check_examples", None)):
            check(x)


def check_batch_size(model: nn.Module, batch_size: int) -> None:
    """Refuse to train norms by a batch's statistics on single examples."""
    if batch_size == 1 and has_batch_statistics(model):
        raise BadConfigurationError(
            "must be at least 2 for a model that is normalised by the statistics of a batch "
            "(group and layer norm train on single examples)",
            batch_size,
        )


def _check_residuals(
    blocks: Sequence[Sequence[nn.Module]], position: NormPosition, sizes: Sequence[int]
) -> None:
    if position != "pre_norm_residual":
        return
    if not any(isinstance(module, Residual) for block in blocks for module in block):
        raise BadConfigurationError(
            "pre_norm_residual needs a layer whose outputs have the shape of its inputs, but of "
            f"the widths {', '.join(map(str, sizes))} no two neighbours are the same, or "
            "kernel_size is even",
            keyword="norm_position",
        )


def _conv_dropouts(section: Any) -> list[nn.Module]:
    if section is None:
        return []
    return [make_dropout(section, SPATIAL_DROPOUT, keyword="conv_dropout")]


def _image_shape(input_shape: tuple[int, ...]) -> tuple[int, int, int]:
    check_images("cnn", input_shape)
    depth, height, width = input_shape
    return depth, height, width


def _pooled_away(input_shape: tuple[int, ...], pool: int, place: str) -> BadConfigurationError:
    return BadConfigurationError(
        f"pooling by {pool} after each convolution must leave at least 1x1 of a "
        f"{input_shape[1]}x{input_shape[2]} image, but {place}: use fewer channels or a smaller "
        "pool",
        keyword="channels",
    )


def _size_after(size: int, kernel_size: int, pool: int) -> int:
    """Height or width after a padded convolution and pooling."""
    return (size + 2 * (kernel_size // 2) - kernel_size + 1) // pool
