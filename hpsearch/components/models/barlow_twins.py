"""The net of Barlow Twins (Zbontar et al., 2021, arXiv 2103.03230): an encoder and a projector.

Shapes: B rows, E numbers of an embedding, D of its projection.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
from annotated_types import Ge, MinLen
from torch import Tensor, nn

from hpsearch.components.data import Kind
from hpsearch.components.examples import Scale
from hpsearch.components.layer_groups import layer_groups
from hpsearch.components.models.building import VECTOR_TASKS
from hpsearch.components.models.encoders import EncoderSection, Reader, make_encoder
from hpsearch.errors import placed
from hpsearch.registry import Recommended, register

Size = Annotated[int, Ge(2)]


@register("model", "barlow_twins", traits={"tasks": (*VECTOR_TASKS, "barlow_twins")})
def barlow_twins(
    folder: Path,
    input_shape: tuple[int, ...],
    output_size: int,
    task_kind: Kind,
    input_scale: Scale,
    encoder: EncoderSection = "mlp",
    embedding_size: Annotated[int, Ge(1), Recommended(16, 256, log=True)] = 64,
    projector_sizes: Annotated[Sequence[Size], MinLen(1)] = (128, 128, 128),
) -> nn.Module:
    """An `encoder`, any model, and a projector of its embedding, for the task barlow_twins.

    The projector's layers are linear without biases; batch norm and ReLU follow all but the last.
    The paper's sizes are three times 8192. For classes and other tasks a linear layer reads the
    embedding in the projector's place, so that an earlier stage can train the encoder for them.
    """
    is_own = task_kind == "barlow_twins"
    shape = input_shape[1:] if is_own else input_shape
    with placed("encoder"):
        net = make_encoder(encoder, shape, embedding_size, folder, scale=input_scale)
    if not is_own:
        return Reader(net, nn.Linear(embedding_size, output_size))
    return BarlowTwins(net, _projector([embedding_size, *projector_sizes]))


class BarlowTwins(nn.Module):
    """Two views of each row (B, 2, ...) to their projections (B, 2, D).

    Each view is a batch of its own, to norms too.
    """

    def __init__(self, encoder: nn.Module, projector: nn.Module) -> None:
        super().__init__()
        self.encoder, self.projector = encoder, projector

    def layer_groups(self) -> list[list[nn.Module]]:
        """Return the encoder's layers, and the projector as one."""
        return [*layer_groups(self.encoder), [self.projector]]

    def forward(self, x: Tensor) -> Tensor:
        """Return the projections."""
        return torch.stack([self.projector(self.encoder(view)) for view in x.unbind(1)], 1)


def _projector(sizes: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for size, next_size in itertools.pairwise(sizes):
        layers += [nn.Linear(size, next_size, bias=False), nn.BatchNorm1d(next_size), nn.ReLU()]
    return nn.Sequential(*layers[:-2])
