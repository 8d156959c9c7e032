"""Siamese nets (Bromley et al., 1993; Hadsell et al., 2006): one encoder, two examples.

Shapes: B pairs, E numbers of an embedding.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import torch.nn.functional as F
from annotated_types import Ge
from torch import Tensor, nn

from hpsearch.components.data import Kind
from hpsearch.components.examples import Scale
from hpsearch.components.models.building import VECTOR_TASKS
from hpsearch.components.models.encoders import EncoderSection, Reader, make_encoder
from hpsearch.errors import placed
from hpsearch.registry import Recommended, register

Distance = Literal["euclidean", "manhattan", "cosine", "l1_logistic"]
#: keeps the gradient of a square root finite
_LEAST_SQUARE = 1e-12


@register("model", "siamese", traits={"tasks": (*VECTOR_TASKS, "pairs")})
def siamese(
    folder: Path,
    input_shape: tuple[int, ...],
    output_size: int,
    task_kind: Kind,
    input_scale: Scale,
    encoder: EncoderSection = "mlp",
    embedding_size: Annotated[int, Ge(1), Recommended(4, 128, log=True)] = 32,
    distance: Distance = "euclidean",
) -> nn.Module:
    """The distance of two examples' embeddings by one `encoder`, any model; for the task pairs.

    `manhattan` is that of MaLSTM (Mueller & Thyagarajan, 2016), whose similarity is e^-D;
    `cosine` is 1 - cos; `l1_logistic` learns weights of the differences: with the loss
    pair_cross_entropy it is sigmoid(b - w·|a - b|) (Koch et al., 2015). For classes and other
    tasks a linear layer reads the embedding, so that an earlier stage can train the encoder for
    them.
    """
    is_own = task_kind == "pairs"
    shape = input_shape[1:] if is_own else input_shape
    with placed("encoder"):
        net = make_encoder(encoder, shape, embedding_size, folder, scale=input_scale)
    if not is_own:
        return Reader(net, nn.Linear(embedding_size, output_size))
    compare: nn.Module = L1Logistic(embedding_size)
    return Siamese(net, compare if distance == "l1_logistic" else Compared(distance))


class Siamese(Reader):
    """Pairs (B, 2, ...) to distances (B, 1): the head compares embeddings."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the distances of pairs."""
        both = self.encoder(x.flatten(0, 1)).unflatten(0, (-1, 2)).float()
        distances: Tensor = self.head(both)
        return distances


class Compared(nn.Module):
    """Embeddings (B, 2, E) to distances (B, 1), by a rule without weights."""

    def __init__(self, distance: Distance) -> None:
        super().__init__()
        self.distance = distance

    def forward(self, both: Tensor) -> Tensor:
        """Return the distances."""
        first, second = both.unbind(1)
        return _DISTANCES[self.distance](first, second)[:, None]


class L1Logistic(nn.Module):
    """-log sigmoid(b - w·|first - second|)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.output = nn.Linear(size, 1)

    def forward(self, both: Tensor) -> Tensor:
        """Return distances (B, 1) of embeddings (B, 2, E)."""
        apart: Tensor = self.output((both[:, 0] - both[:, 1]).abs())
        return F.softplus(apart)


def _euclidean(first: Tensor, second: Tensor) -> Tensor:
    return ((first - second).square().sum(-1) + _LEAST_SQUARE).sqrt()


def _manhattan(first: Tensor, second: Tensor) -> Tensor:
    return (first - second).abs().sum(-1)


def _cosine(first: Tensor, second: Tensor) -> Tensor:
    return (1 - F.cosine_similarity(first, second, dim=-1)).clamp_min(0)


_DISTANCES: dict[Any, Callable[[Tensor, Tensor], Tensor]] = {
    "euclidean": _euclidean,
    "manhattan": _manhattan,
    "cosine": _cosine,
}
