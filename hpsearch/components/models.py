"""Models by name: a factory of the shape of an example, the number of outputs, and keywords."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import Ge, Interval
from torch import nn

from hpsearch import registry
from hpsearch.components.activations import ActivationSection, make_activation
from hpsearch.components.data import num_features
from hpsearch.components.layers import Dropout
from hpsearch.errors import BadConfigurationError, UserCodeError
from hpsearch.registry import Recommended, register

Rate = Annotated[float, Interval(ge=0, lt=1), Recommended(0.0, 0.5)]
Size = Annotated[int, Ge(1)]


def build_model(
    section: Mapping[str, Any], input_shape: tuple[int, ...], output_size: int, folder: Path
) -> nn.Module:
    """Build the model of a spec's section; UserCodeError if a factory returns no Module."""
    keywords = dict(section)
    name = keywords.pop("name")
    component = registry.get("model", name, folder)
    model = component.build(keywords, input_shape=input_shape, output_size=output_size)
    if not isinstance(model, nn.Module):
        raise UserCodeError(f"model.name: {name} must return a torch.nn.Module, got {model!r}")
    return model


@register("model", "mlp", fusible=["input_dropout", "dropout"])
def mlp(
    input_shape: tuple[int, ...],
    output_size: int,
    hidden_sizes: Sequence[Size] = (128,),
    activation: ActivationSection = "relu",
    input_dropout: Rate = 0.0,
    dropout: Rate = 0.0,
) -> nn.Module:
    """Fully connected layers, each with an activation and dropout."""
    size = num_features(input_shape)
    layers: list[nn.Module] = [nn.Flatten()] if len(input_shape) > 1 else []
    layers.append(Dropout(input_dropout))
    for hidden_size in hidden_sizes:
        layers += [nn.Linear(size, hidden_size), make_activation(activation), Dropout(dropout)]
        size = hidden_size
    return nn.Sequential(*layers, nn.Linear(size, output_size))


@register("model", "cnn", fusible=["input_dropout", "dropout"])
def cnn(
    input_shape: tuple[int, ...],
    output_size: int,
    channels: Sequence[Size] = (16, 32),
    kernel_size: Size = 3,
    pool: Size = 2,
    hidden_sizes: Sequence[Size] = (64,),
    activation: ActivationSection = "relu",
    input_dropout: Rate = 0.0,
    dropout: Rate = 0.0,
) -> nn.Module:
    """Convolutions, each with max pooling and an activation, then an mlp.

    `pool` divides height and width after each convolution (1 keeps them); `dropout` follows
    the hidden layers of the mlp. Raises BadConfigurationError where the data isn't images of
    the shape (channels, height, width), or pooling leaves nothing of them.
    """
    depth, height, width = _image_shape(input_shape)
    layers: list[nn.Module] = [Dropout(input_dropout)]
    for i, num_channels in enumerate(channels):
        layers.append(nn.Conv2d(depth, num_channels, kernel_size, padding=kernel_size // 2))
        if pool > 1:
            layers.append(nn.MaxPool2d(pool))
        layers.append(make_activation(activation))
        depth = num_channels
        height, width = (_size_after(size, kernel_size, pool) for size in (height, width))
        if min(height, width) < 1:
            raise BadConfigurationError(
                f"model.channels: pooling by {pool} after each convolution must leave at least "
                f"1x1 of a {input_shape[1]}x{input_shape[2]} image, but convolution {i + 1} of "
                f"{len(channels)} leaves {height}x{width}: use fewer channels or a smaller pool"
            )
    head = mlp((depth, height, width), output_size, hidden_sizes, activation, 0.0, dropout)
    # Channels last, and pooling first, take 0.4 of the time of the usual order on a CPU.
    model = nn.Sequential(*layers, *head.children())
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def _image_shape(input_shape: tuple[int, ...]) -> tuple[int, int, int]:
    if len(input_shape) != 3:
        raise BadConfigurationError(
            "model: cnn needs images of the shape (channels, height, width), but an example of "
            f"the data set has the shape {input_shape}"
        )
    depth, height, width = input_shape
    return depth, height, width


def _size_after(size: int, kernel_size: int, pool: int) -> int:
    """Height or width after a padded convolution and pooling."""
    return (size + 2 * (kernel_size // 2) - kernel_size + 1) // pool
