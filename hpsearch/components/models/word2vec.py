"""word2vec: vectors of words by which the words around them are predicted."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

from hpsearch.components.data import Kind
from hpsearch.components.input_shapes import check_shape
from hpsearch.registry import Recommended, register


@register("model", "skip_gram")
def skip_gram(
    task_kind: Kind,
    input_shape: tuple[int, ...],
    output_size: int,
    num_tokens: int,
    width: Annotated[int, Ge(1), Recommended(16, 300, log=True)] = 100,
) -> nn.Module:
    """A vector v of `width` numbers for each word and a vector u for each word beside it, whose
    products are the outputs (Mikolov et al., 2013).

    For the task word_embedding. v is uniform up to 1 / (2 width), u begins at 0, as in the
    released word2vec.c, whatever the initializer is (but for its `embedding`).
    """
    is_word = num_tokens > 0 and task_kind == "word_embedding"
    needs = "words, and the task word_embedding (data set word_pairs)"
    check_shape("skip_gram", is_word, needs, input_shape)
    return SkipGram(num_tokens, output_size, width)


class SkipGram(nn.Module):
    """Ids (B, 1) to scores of the words beside them (B, words)."""

    def __init__(self, num_tokens: int, output_size: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_tokens, width)
        nn.init.uniform_(self.embedding.weight, -0.5 / width, 0.5 / width)
        self.contexts = nn.Parameter(torch.zeros(output_size, width))

    def layer_groups(self) -> list[list[nn.Module]]:
        """Return the vectors, all of which are one group."""
        return [[self.embedding, self]]

    def forward(self, ids: Tensor) -> Tensor:
        """Return v·u of each word of the vocabulary."""
        vectors: Tensor = self.embedding(ids.long()[:, 0])
        return vectors @ self.contexts.t()
