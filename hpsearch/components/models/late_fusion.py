"""Late fusion: an encoder for each input of an example, and what reads their embeddings.

Shapes: B rows, N inputs of an example, E numbers of an embedding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge
from torch import Tensor, nn

from hpsearch.components.input_parts import InputPart, unpacked
from hpsearch.components.models.encoders import make_encoder
from hpsearch.errors import BadConfigurationError, nearest_names, placed
from hpsearch.registry import ComponentOf, Recommended, register

Encoders = Annotated[Mapping[str, Any], ComponentOf("model", mapped=True)]
#: of tokens, of images, and of anything else
_OF_TOKENS: dict[str, Any] = {"name": "rnn", "cell": "gru", "readout": "mean"}
_OF_IMAGES, _OF_OTHERS = {"name": "cnn"}, {"name": "mlp"}


@register("model", "late_fusion")
def late_fusion(
    folder: Path,
    input_parts: tuple[InputPart, ...],
    output_size: int,
    encoders: Encoders | None = None,
    embedding_size: Annotated[int, Ge(1), Recommended(8, 256, log=True)] = 32,
    fusion: Literal["concat", "gated"] = "gated",
) -> nn.Module:
    """An encoder for each input of an example, such as its image and its text, whose embeddings
    are read together.

    `encoders` names models by the names of the inputs; by default an image has a cnn, ids of
    tokens a rnn (gru, the mean over steps), and other numbers a mlp. Embeddings are one beside the
    other before a layer with ReLU (`concat`), or a gated multimodal unit, the sum of z tanh(W e),
    whose gates z = sigmoid(V [e, e', ...]) see all of them (Arevalo et al., 2017, arXiv
    1702.01992). For data sets of several inputs, such as image_text_csv.
    """
    if not input_parts:
        rule = "late_fusion needs examples of several inputs, as image_text_csv has them"
        raise BadConfigurationError(rule)
    given = dict(encoders or {})
    names = [part.name for part in input_parts]
    if wrong := next((name for name in given if name not in names), None):
        rule = f"must be an input of the data set ({', '.join(names)})"
        near = nearest_names(wrong, names)
        raise BadConfigurationError(rule, wrong, keyword="encoders", nearest=near)
    nets = []
    for part in input_parts:
        section = given.get(part.name) or _usual(part)
        with placed("encoders", part.name):
            ids = part.num_tokens, part.padding_id
            nets.append(make_encoder(section, part.shape, embedding_size, folder, *ids))
    sizes = len(nets), embedding_size
    fused = Concatenated(*sizes) if fusion == "concat" else GatedUnit(*sizes)
    return LateFusion(input_parts, nets, fused, nn.Linear(embedding_size, output_size))


def _usual(part: InputPart) -> Mapping[str, Any]:
    if part.num_tokens:
        return _OF_TOKENS
    return _OF_IMAGES if len(part.shape) == 3 else _OF_OTHERS


class LateFusion(nn.Module):
    """Rows of several inputs (B, values) to outputs (B, K)."""

    def __init__(
        self,
        parts: Sequence[InputPart],
        encoders: Sequence[nn.Module],
        fusion: nn.Module,
        head: nn.Linear,
    ) -> None:
        super().__init__()
        self.parts = tuple(parts)
        self.encoders, self.fusion, self.head = nn.ModuleList(encoders), fusion, head

    def layer_groups(self) -> list[list[nn.Module]]:
        """Return the encoders, which are beside each other, the fusion, and the head."""
        return [list(self.encoders), [self.fusion], [self.head]]

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of a batch."""
        pairs = zip(self.encoders, unpacked(x, self.parts), strict=True)
        embeddings = torch.stack([encoder(values) for encoder, values in pairs], 1)
        outputs: Tensor = self.head(self.fusion(embeddings))
        return outputs


class Concatenated(nn.Module):
    """relu(W [e, e', ...] + b) of embeddings (B, N, E), to (B, E)."""

    def __init__(self, num_inputs: int, size: int) -> None:
        super().__init__()
        self.layer = nn.Linear(num_inputs * size, size)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return what they come to."""
        read: Tensor = self.layer(embeddings.flatten(1))
        return read.relu()


class GatedUnit(nn.Module):
    """A gated multimodal unit of embeddings (B, N, E), to (B, E)."""

    def __init__(self, num_inputs: int, size: int) -> None:
        super().__init__()
        self.inputs = nn.ModuleList(nn.Linear(size, size) for _ in range(num_inputs))
        self.gates = nn.Linear(num_inputs * size, num_inputs * size)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return the sum over inputs."""
        gates = self.gates(embeddings.flatten(1)).sigmoid().view(embeddings.shape)
        pairs = zip(self.inputs, embeddings.unbind(1), strict=True)
        hidden = torch.stack([layer(each).tanh() for layer, each in pairs], 1)
        fused: Tensor = (gates * hidden).sum(1)
        return fused
