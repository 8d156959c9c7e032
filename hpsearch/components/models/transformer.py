"""Transformers: attention between the steps of a sequence.

Shapes: B rows, T steps, D width, H heads.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from annotated_types import Ge
from torch import Tensor, nn

from hpsearch.components.examples import Scale
from hpsearch.components.input_shapes import check_shape
from hpsearch.components.layers.activations import ActivationSection, make_activation, widening
from hpsearch.components.layers.dropouts import Rate, WordDropout, WordRate, word_dropout
from hpsearch.components.layers.modules import Dropout
from hpsearch.components.models.building import TASKS_OF_STEPS, VECTOR_TASKS
from hpsearch.components.models.padding import Padding, held, is_within, last_of, make_padding
from hpsearch.errors import BadConfigurationError
from hpsearch.registry import Recommended, register

Size = Annotated[int, Ge(1)]
#: rotary frequencies are powers of it (Su et al., 2021)
ROTARY_BASE = 10_000.0
#: standard deviation of embeddings at the begin, as in GPT-2
EMBEDDING_STD = 0.02


@register("model", "transformer", traits={"tasks": (*VECTOR_TASKS, *TASKS_OF_STEPS)})
def transformer(
    input_shape: tuple[int, ...],
    output_size: int,
    num_tokens: int,
    padding_id: int | None,
    output_shape: tuple[int, ...],
    input_scale: Scale,
    width: Annotated[int, Ge(1), Recommended(32, 256, log=True)] = 64,
    layers: Annotated[int, Ge(1), Recommended(1, 6)] = 2,
    heads: Size = 4,
    hidden_size: Size | None = None,
    positions: Literal["rotary", "learned"] = "rotary",
    activation: ActivationSection = "gelu",
    dropout: Rate = 0.0,
    readout: Literal["mean", "last"] = "mean",
    p_embed: WordRate = 0.0,
    causal: bool | None = None,
    mask_value: float | None = None,
) -> nn.Module:
    """Attention between the steps of a sequence, of tokens or (time, features); of images, rows.

    Where the task predicts at each step (language_model, sequence_labelling) it is a decoder: each
    step attends to itself and those before it, unless `causal` is false. Else it is an encoder:
    all steps attend to all, unless `causal` is true, and the outputs are of the mean of all steps
    or of the last. Steps whose features all have the `mask_value` only fill up the end of a
    sequence: none attends to them, and readouts leave them out. Of ids the data set says what
    fills up. Where there is an output for each step, that of the last own one is repeated.

    Blocks are normalised at their begin (pre-norm). `hidden_size` is that of their feed-forward
    part, 4 times the width by default. Places are told by rotating queries and keys (Su et al.,
    2021, arXiv 2104.09864), or by a learned vector each. Dropout acts on the embedding and at the
    end of both parts of a block. `width` must be a multiple of the heads, of twice as many with
    rotary positions. `p_embed` of the different tokens of each sequence are dropped, wherever they
    stand in it (Gal & Ghahramani, 2016).
    """
    is_each = len(output_shape) == 2
    length, size = _sequence_shape(input_shape, num_tokens)
    multiple = heads * (2 if positions == "rotary" else 1)
    if width % multiple:
        rule = f"must be a multiple of {multiple} with {heads} heads and {positions} positions"
        raise BadConfigurationError(rule, width, keyword="width")
    places = length if positions == "learned" else 0
    words = word_dropout(p_embed, num_tokens)
    embedding: nn.Module = (
        Projection(size, width, places)
        if words is None
        else Embedding(num_tokens, width, places, words)
    )
    rotary = length if positions == "rotary" else 0
    blocks: list[nn.Module] = []
    for _ in range(layers):
        function = make_activation(activation)
        hidden = hidden_size or 4 * width
        feed_forward = FeedForward(
            nn.Linear(width, hidden * widening(function)), function, nn.Linear(hidden, width)
        )
        is_causal = is_each if causal is None else causal
        attention = Attention(width, heads, rotary, is_causal=is_causal)
        blocks.append(Block(width, attention, feed_forward, dropout))
    output = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, output_size))
    padding = make_padding(mask_value, input_scale, input_shape, num_tokens, padding_id)
    how = None if is_each else readout
    return Transformer(embedding, Dropout(dropout), blocks, output, how, padding)


def _sequence_shape(input_shape: tuple[int, ...], num_tokens: int) -> tuple[int, int]:
    """Return the steps of an example and the numbers of each: of ids none, of images a row's."""
    if num_tokens:
        return input_shape[0], 0
    needs = "ids of tokens, sequences of the shape (time, features) or images"
    check_shape("transformer", len(input_shape) in (2, 3), needs, input_shape)
    if len(input_shape) == 2:
        return input_shape[0], input_shape[1]
    return input_shape[1], input_shape[0] * input_shape[2]


class Embedding(nn.Module):
    """Ids (B, T) as vectors (B, T, D), to which one for each of `num_places` is added."""

    def __init__(
        self,
        num_tokens: int,
        width: int,
        num_places: int = 0,
        word_dropout: WordDropout | None = None,
    ) -> None:
        super().__init__()
        self.word_dropout = word_dropout
        self.tokens = nn.Embedding(num_tokens, width)
        self.places = nn.Embedding(num_places, width) if num_places else None
        for table in (self.tokens, self.places):
            if table is not None:
                nn.init.normal_(table.weight, std=EMBEDDING_STD)

    def forward(self, ids: Tensor) -> Tensor:
        """Return the vectors of ids, which may be floats."""
        ids = ids.long()
        vectors: Tensor = self.tokens(ids)
        if self.word_dropout is not None:
            vectors = self.word_dropout.of_words(vectors, ids)
        return vectors if self.places is None else vectors + self.places.weight[: ids.shape[-1]]


class Projection(nn.Module):
    """Steps (B, T, features), or images as their rows, as vectors (B, T, D), to which one for each
    of `num_places` is added."""

    def __init__(self, num_features: int, width: int, num_places: int = 0) -> None:
        super().__init__()
        self.features = nn.Linear(num_features, width)
        self.places = nn.Embedding(num_places, width) if num_places else None
        if self.places is not None:
            nn.init.normal_(self.places.weight, std=EMBEDDING_STD)

    def forward(self, x: Tensor) -> Tensor:
        """Return the vectors."""
        vectors: Tensor = self.features(x.transpose(1, 2).flatten(2) if x.ndim == 4 else x)
        return vectors if self.places is None else vectors + self.places.weight


class Attention(nn.Module):
    """Multi-head attention (Vaswani et al., 2017) to all steps or, if it `is_causal`, to a step
    and those before it."""

    cos: Tensor
    sin: Tensor

    def __init__(
        self, width: int, heads: int, rotary_length: int = 0, *, is_causal: bool = True
    ) -> None:
        super().__init__()
        self.is_causal = is_causal
        self.heads, self.is_rotary = heads, rotary_length > 0
        self.gates = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        if self.is_rotary:
            angles = rotary_angles(rotary_length, width // heads)
            self.register_buffer("cos", angles.cos(), persistent=False)
            self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, x: Tensor, own: Tensor | None = None) -> Tensor:
        """Return (B, T, D), of which none attends to other than their `own` steps, bool (B, T)."""
        # (B, T, 3D) to three of (B, H, T, D / H)
        q, k, v = self.gates(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if self.is_rotary:
            q, k = (rotated(each, self.cos, self.sin) for each in (q, k))
        mixed = attended(q, k, v, is_causal=self.is_causal, own=own)
        outputs: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return outputs


class FeedForward(nn.Sequential):
    """Layers that see each step by itself, as rows (B T, D): activations know no other axes."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, T, D)."""
        outputs: Tensor = super().forward(x.flatten(0, 1))  # type: ignore[no-untyped-call]
        return outputs.view(*x.shape[:-1], -1)


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x))."""

    def __init__(
        self, width: int, attention: nn.Module, feed_forward: nn.Module, dropout: float
    ) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.parts = nn.ModuleList([attention, feed_forward])
        self.dropouts = nn.ModuleList([Dropout(dropout), Dropout(dropout)])

    def forward(self, x: Tensor, own: Tensor | None = None) -> Tensor:
        """Return (B, T, D); no step attends to other than their `own` steps, bool (B, T)."""
        for norm, part, drop in zip(self.norms, self.parts, self.dropouts, strict=True):
            masked = () if own is None or not isinstance(part, Attention) else (own,)
            x = x + drop(part(norm(x), *masked))
        return x


class Transformer(nn.Module):
    """Sequences to outputs (B, outputs); without a readout at each step, (B, T, outputs)."""

    def __init__(
        self,
        embedding: nn.Module,
        dropout: nn.Module,
        blocks: list[nn.Module],
        output: nn.Module,
        readout: Literal["mean", "last"] | None = None,
        padding: Padding | None = None,
    ) -> None:
        super().__init__()
        self.readout, self.padding = readout, padding
        self.embedding, self.dropout = embedding, dropout
        self.blocks, self.output = nn.ModuleList(blocks), output

    def layer_groups(self) -> list[list[nn.Module]]:
        """Return the embedding, each block and the output."""
        return [[self.embedding, self.dropout], *([each] for each in self.blocks), [self.output]]

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of a batch."""
        lengths = None if self.padding is None else self.padding(x)
        own = None if lengths is None else is_within(lengths, x.shape[1])
        x = self.dropout(self.embedding(x))
        for block in self.blocks:
            x = block(x, own)
        if self.readout == "last":
            x = x[:, -1] if lengths is None else last_of(x, lengths)
        elif self.readout == "mean":
            x = x.mean(1) if own is None else (x * own[..., None]).sum(1) / own.sum(1)[:, None]
        elif lengths is not None:
            x = held(x, lengths)
        outputs: Tensor = self.output(x)
        return outputs


def attended(
    q: Tensor, k: Tensor, v: Tensor, *, is_causal: bool = True, own: Tensor | None = None
) -> Tensor:
    """Return softmax(q kᵀ / sqrt(size)) v (..., T, size) over all steps, or over a step and those
    before it; of (B, heads, T, size) over a sequence's `own` steps alone, bool (B, T)."""
    if own is not None:
        seen = own[:, None, None, :]
        if is_causal:
            seen = seen & torch.ones(q.shape[-2:-1] * 2, dtype=torch.bool, device=q.device).tril()
        masked = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).masked_fill(~seen, -torch.inf)
        of_own: Tensor = masked.softmax(-1) @ v
        return of_own
    if not torch._C._functorch.is_batchedtensor(q):
        return F.scaled_dot_product_attention(q, k, v, is_causal=is_causal)
    # its kernel for the CPU has no rule for vmap
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    if not is_causal:
        whole: Tensor = scores.softmax(-1) @ v
        return whole
    is_later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
    mixed: Tensor = scores.masked_fill(is_later, -torch.inf).softmax(-1) @ v
    return mixed


def rotary_angles(length: int, size: int) -> Tensor:
    """Return by which angles pairs of numbers are turned at each step, (length, size / 2)."""
    frequencies = ROTARY_BASE ** -(torch.arange(0, size, 2) / size)
    return torch.arange(length)[:, None] * frequencies


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the pairs (i, i + size / 2) of vectors (..., T, size): their products depend on the
    distance of two steps alone."""
    cos, sin = cos[: x.shape[-2]], sin[: x.shape[-2]]
    first, second = x.chunk(2, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)
