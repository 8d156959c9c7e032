"""Models by name, the trained ones too: from the shape of an example to a `torch.nn.Module`.

A new model is a registered factory in the module of its kind.
"""

from __future__ import annotations

from hpsearch.components.models import (
    autoencoder,
    feedforward,
    fully_convolutional,
    image_libraries,
    minilm,
    perceptron,
    pretrained,
    recurrent,
    transformer,
)

__all__ = [
    "autoencoder",
    "feedforward",
    "fully_convolutional",
    "image_libraries",
    "minilm",
    "perceptron",
    "pretrained",
    "recurrent",
    "transformer",
]
