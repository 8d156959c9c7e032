"""Encoders of models that learn embeddings: any other model, whose outputs are the embedding."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from torch import Tensor, nn

from hpsearch.components.examples import Scale
from hpsearch.components.layer_groups import layer_groups
from hpsearch.components.models.building import (
    VECTOR_TASKS,
    build_model,
    check_outputs,
    check_task,
)
from hpsearch.registry import ComponentOf

_MODEL = ComponentOf("model")
#: annotation of a keyword that is a model
EncoderSection = Annotated[Any, _MODEL]


def make_encoder(
    section: Any,
    input_shape: tuple[int, ...],
    embedding_size: int,
    folder: Path,
    num_tokens: int = 0,
    padding_id: int | None = None,
    scale: Scale | None = None,
) -> nn.Module:
    """Build a model from examples, or ids of `num_tokens` tokens, filled up by `padding_id`, to
    embeddings (rows, embedding_size); `scale` standardised the examples."""
    written = _MODEL.written_out(section)
    check_task(written["name"], VECTOR_TASKS[0], folder)
    sizes = input_shape, embedding_size
    net = build_model(
        written, *sizes, folder, scale=scale, num_tokens=num_tokens, padding_id=padding_id
    )
    check_outputs(net, written["name"], input_shape, (embedding_size,), num_tokens)
    return net


class Reader(nn.Module):
    """An encoder to embeddings, and a layer that reads them."""

    def __init__(self, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def layer_groups(self) -> list[list[nn.Module]]:
        """Return the encoder's layers, and the head."""
        return [*layer_groups(self.encoder), [self.head]]

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of a batch."""
        outputs: Tensor = self.head(self.encoder(x))
        return outputs
