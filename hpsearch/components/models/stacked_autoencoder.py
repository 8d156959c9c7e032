"""Stacked denoising autoencoders: layers, each trained to give back the features below it.

Shapes: B rows, D values of an example.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Ge, Interval
from torch import Tensor, nn

from hpsearch.components.corruptions import CORRUPTIONS, Corrupting, Corruption
from hpsearch.components.data import Kind
from hpsearch.components.examples import num_features
from hpsearch.components.layers.activations import ActivationSection, make_activation, widening
from hpsearch.components.models.building import VECTOR_TASKS
from hpsearch.errors import BadConfigurationError
from hpsearch.registry import Recommended, register

Size = Annotated[int, Ge(1)]


@register(
    "model", "stacked_autoencoder", traits={"tasks": (*VECTOR_TASKS, "layer_reconstruction")}
)
def stacked_autoencoder(
    task_kind: Kind,
    input_shape: tuple[int, ...],
    output_size: int,
    hidden_sizes: Sequence[Size] = (128, 128),
    activation: ActivationSection = "sigmoid",
    corruption: Corruption = "masking",
    corruption_rate: Annotated[float, Interval(gt=0, le=1), Recommended(0.05, 0.5)] = 0.3,
) -> nn.Module:
    """Layers, each of which can be trained before as a denoising autoencoder of the one below, by
    stages of the task layer_reconstruction (Vincent et al., 2010).

    For other tasks it is these layers and a linear one. A layer that is trained gets the features
    below it with a `corruption` as those of `autoencoder`, and a linear decoder of its own.
    """
    sizes = [num_features(input_shape), *hidden_sizes]
    layers = [_layer(*each, activation) for each in itertools.pairwise(sizes)]
    if task_kind != "layer_reconstruction":
        return StackedEncoder(layers, nn.Linear(sizes[-1], output_size))
    if output_size > len(layers):
        rule = f"the task trains layer {output_size}, but the model has {len(layers)}"
        raise BadConfigurationError(rule)
    decoder = nn.Linear(sizes[output_size], sizes[output_size - 1])
    corrupt = CORRUPTIONS[corruption]
    return LayerAutoencoder(layers[:output_size], decoder, corrupt, corruption_rate)


class StackedEncoder(nn.Module):
    """Examples (B, ...) to outputs, through all layers."""

    def __init__(self, layers: Sequence[nn.Module], output: nn.Linear) -> None:
        super().__init__()
        self.layers, self.output = nn.ModuleList(layers), output

    def layer_groups(self) -> list[list[nn.Module]]:
        """Return each layer, and the head."""
        return [*([each] for each in self.layers), [self.output]]

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of a batch."""
        x = x.flatten(1)
        for layer in self.layers:
            x = layer(x)
        outputs: Tensor = self.output(x)
        return outputs


class LayerAutoencoder(nn.Module):
    """Layers, whose last is trained to give back its inputs, by a decoder."""

    def __init__(
        self,
        layers: Sequence[nn.Module],
        decoder: nn.Linear,
        corrupt: Corrupting | None,
        rate: float,
    ) -> None:
        super().__init__()
        self.layers, self.decoder = nn.ModuleList(layers), decoder
        self._corrupt, self._rate = corrupt, rate

    def layer_groups(self) -> list[list[nn.Module]]:
        """Return each layer, and the decoder."""
        return [*([each] for each in self.layers), [self.decoder]]

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean squared errors of what is given back (B, layers), 0 for those below."""
        below = x.flatten(1).float()
        with torch.no_grad():
            for layer in self.layers[:-1]:
                below = layer(below)
        seen = below
        if self.training and self._corrupt is not None:
            seen = self._corrupt(below, self._rate)
        given = self.decoder(self.layers[-1](seen))
        errors = (given - below).square().mean(1, keepdim=True)
        return F.pad(errors, (len(self.layers) - 1, 0))


def _layer(size: int, next_size: int, activation: ActivationSection) -> nn.Sequential:
    function = make_activation(activation)
    return nn.Sequential(nn.Linear(size, next_size * widening(function)), function)
