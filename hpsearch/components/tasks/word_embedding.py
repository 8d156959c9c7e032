"""Word embedding: vectors of words, learned by telling the words beside them from others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from annotated_types import Ge, Interval
from torch import Tensor

from hpsearch.components.data import Kind
from hpsearch.components.encodings import Values, register_encoding
from hpsearch.components.losses import Loss, LossSection
from hpsearch.components.tasks.classification import Classes
from hpsearch.components.tasks.parts import (
    SupervisedTask,
    Targets,
    TaskComponents,
    make_parts,
    summed_cross_entropy,
)
from hpsearch.registry import Recommended, register


class Neighbour(Classes):
    """The number int64 (rows,) of a word that stands beside the row's."""

    reads_targets: ClassVar[bool] = False

    def description(self, output_size: int) -> str:
        """See TargetEncoding."""
        return f" of {output_size} words"

    def output_size(self, y: Values, names: Sequence[str], input_shape: tuple[int, ...]) -> int:
        """Return the number of words."""
        return len(names)


register_encoding("word_embedding", Neighbour())


class NegativeSampling(Loss):
    """-log s(u_c·v) - sum log s(-u_n·v) over words n that are drawn by their counts (B, words)."""

    noise: Tensor

    def __init__(
        self, counts: Sequence[int], negatives: int, noise_exponent: float = 0.75
    ) -> None:
        super().__init__()
        self.negatives = negatives
        seen = torch.tensor(counts, dtype=torch.float64)
        # a word that no training row has is never drawn, below 0 either: 0 to such a power is inf
        shares = torch.where(seen > 0, seen.clamp_min(1) ** noise_exponent, 0.0)
        self._set_constants(noise=(shares / shares.sum()).tolist())

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over the rows; a negative that is the word itself is left out."""
        rows = len(targets)
        drawn = torch.multinomial(self.noise, rows * self.negatives, replacement=True)
        drawn = drawn.view(rows, self.negatives)
        right = F.logsigmoid(outputs.gather(1, targets[:, None]))[:, 0]
        wrong = F.logsigmoid(-outputs.gather(1, drawn)) * (drawn != targets[:, None])
        return -(right + wrong.sum(1)).mean()


class WordEmbedding(SupervisedTask):
    """Cross entropy of the words beside, and how often they are among the ten likeliest."""

    kind: ClassVar[Kind] = "word_embedding"
    own_metrics: ClassVar[tuple[str, ...]] = ("loss", "top_10_accuracy", "criterion")

    def _own_totals(self, outputs: Tensor, targets: Tensor) -> Tensor:
        right = outputs.gather(1, targets[:, None])
        ahead = (outputs > right).sum(1) + ((outputs == right).sum(1) - 1) / 2
        loss = summed_cross_entropy(outputs, targets)
        criterion = self.criterion(outputs, targets).double() * len(targets)
        return torch.stack([loss, (ahead < 10).sum().double(), criterion])

    def _own_summary(self, totals: Sequence[float], num_rows: float) -> dict[str, float]:
        means = (np.array(totals) / num_rows).tolist()
        return dict(zip(self.own_metrics, means, strict=True))


@register("task", "word_embedding")
def word_embedding(
    output_size: int,
    class_counts: Sequence[int],
    folder: Path | None,
    negatives: Annotated[int, Ge(1), Recommended(2, 20, log=True)] = 5,
    loss: LossSection | None = None,
    noise_exponent: Annotated[float, Interval(ge=-2, le=2), Recommended(-1.0, 1.0)] = 0.75,
) -> WordEmbedding:
    """Words beside each word, told from `negatives` others drawn by their counts^0.75, or learned
    by a loss of classes such as cross_entropy; for the data sets word_pairs and topic_words.

    `noise_exponent` takes the place of 0.75 (Mikolov et al., 2013): 0 draws all words alike, below
    0 rare ones more often (Caselles-Dupré et al., 2018, arXiv 1804.04212).
    Reports the loss that is learned as `criterion`, the cross entropy of all words as `loss`,
    which compares models, and how often the word is among the ten likeliest.
    """
    if loss is None:
        parts = make_parts(Targets("classification", output_size), "cross_entropy", folder=folder)
        sampling = NegativeSampling(class_counts, negatives, noise_exponent)
        return WordEmbedding(TaskComponents(sampling, parts.head))
    targets = Targets("classification", output_size, class_counts)
    parts = make_parts(targets, "cross_entropy", loss, folder=folder)
    return WordEmbedding(TaskComponents(parts.loss, parts.head))
