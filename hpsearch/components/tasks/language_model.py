"""Language models: the next token of a sequence is predicted at each of its places."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from hpsearch.components.batch import IGNORED, Batch, Tree, in_float32
from hpsearch.components.data import Kind
from hpsearch.components.encodings import TargetEncoding, Values, register_encoding
from hpsearch.components.losses import LossSection
from hpsearch.components.losses.classification import Smoothing
from hpsearch.components.metrics import MetricSections, Predictions
from hpsearch.components.tasks.parts import (
    SupervisedTask,
    Targets,
    TaskComponents,
    make_parts,
    predicted_classes,
    smoothed_cross_entropy,
    summed_cross_entropy,
)
from hpsearch.components.tasks.placed_classes import class_numbers
from hpsearch.errors import DataError
from hpsearch.registry import register


class NextToken(TargetEncoding):
    """Ids int64 (rows, steps) of the tokens that follow; steps that don't count are IGNORED."""

    reads_targets: ClassVar[bool] = False
    is_causal: ClassVar[bool] = True

    def description(self, output_size: int) -> str:
        """See TargetEncoding."""
        return f" of {output_size} tokens"

    def checked(self, y: Values, names: Sequence[str], x: Values) -> Values:
        """Return ids; DataError for what is none."""
        if y.ndim == 1:  # steps of a text, of which its windows make rows
            return y
        if y.shape != x.shape:
            rule = "language_model needs the next token of each (rows, steps)"
            raise DataError(f"{rule}, but inputs are {x.shape} and targets {y.shape}")
        return class_numbers(y, len(names), "tokens")

    def output_shape(self, output_size: int, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (steps, tokens)."""
        return (input_shape[0], output_size)

    def base_rates(self, y: Values, output_size: int) -> tuple[float, ...]:
        """See TargetEncoding."""
        counts = np.bincount(y[y != IGNORED], minlength=output_size) + 0.5
        return tuple((counts / counts.sum()).tolist())

    def forecasts(self, y: Values, output_size: int) -> dict[str, Tensor]:
        """The tokens' shares of the text, and all tokens alike."""
        rates = torch.tensor(self.base_rates(y, output_size), dtype=torch.float64)
        return {"unigram": rates, "uniform": torch.full_like(rates, 1 / output_size)}

    def answers(self, outputs: Tensor) -> Tensor:
        """Return the likeliest next token at each step, (rows, steps)."""
        return outputs.argmax(-1)

    def columns(
        self, answers: Values, shares: Values, names: Sequence[str], share: str
    ) -> Mapping[str, Values]:
        """Return the token that follows each sequence, and what the head gives for it."""
        last = answers[:, -1]
        tokens = np.array(names, dtype=object)[last]
        return {"prediction": tokens, share: shares[np.arange(len(last)), -1, last]}


register_encoding("language_model", NextToken())


class LanguageModel(SupervisedTask):
    """Cross entropy of the next token; sums are over the tokens that count."""

    kind: ClassVar[Kind] = "language_model"
    own_metrics: ClassVar[tuple[str, ...]] = (
        "loss",
        "accuracy",
        "perplexity",
        "bits_per_character",
    )
    joins_batches: ClassVar[bool] = False

    def __init__(self, parts: TaskComponents, names: Sequence[str]) -> None:
        super().__init__(parts)
        are_numbers = [*names] == [*map(str, range(len(names)))]
        characters = [1 if are_numbers else len(name) for name in names]
        self._characters = torch.tensor(characters, dtype=torch.float64)

    def count(self, batch: Batch) -> Tensor | int:
        """Return the number of tokens that count."""
        return _counting(batch).sum()

    def _compared(self, outputs: Tree, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return logits (tokens, vocabulary) and targets, those that don't count as IGNORED.

        Losses other than the usual one don't know what to ignore: they get what counts.
        """
        logits, targets = in_float32(outputs).flatten(0, 1), batch.targets.flatten()
        counts = _counting(batch).flatten()
        if self._parts.reports_loss:
            return logits[counts], targets[counts]
        return logits, targets.masked_fill(~counts, IGNORED)

    def _predictions(self, outputs: Tensor, targets: Tensor) -> Predictions:
        """Return those of the tokens that count, each a row of a classification."""
        return predicted_classes(self.head, outputs.flatten(0, 1), targets.flatten())

    def _num_compared(self, targets: Tensor) -> Tensor:
        """Return the number of tokens that count."""
        return (targets != IGNORED).sum().double().reshape(1)

    def _own_totals(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the losses in nats, the right answers and the characters."""
        loss = summed_cross_entropy(self.head.logits(outputs), targets)
        num_correct = (outputs.argmax(1) == targets).sum().double()
        self._characters = self._characters.to(targets.device)
        characters = self._characters[targets.clamp_min(0)] * (targets != IGNORED)
        return torch.stack([loss, num_correct, characters.sum()])

    def _own_summary(self, totals: Sequence[float], num_rows: float) -> dict[str, float]:
        """Return the metrics of so many tokens."""
        loss, num_correct, num_characters = totals
        return {
            "loss": loss / num_rows,
            "accuracy": num_correct / num_rows,
            "perplexity": float(np.exp(loss / num_rows)),
            "bits_per_character": loss / math.log(2) / num_characters,
        }


def _counting(batch: Batch) -> Tensor:
    """Return which tokens count, bool (rows, steps)."""
    counts: Tensor = batch.targets != IGNORED
    return counts if batch.mask is None else counts & batch.mask


@register("task", "language_model")
def language_model(
    output_size: int,
    class_names: Sequence[str],
    folder: Path | None,
    label_smoothing: Smoothing = 0.0,
    loss: LossSection | None = None,
    metrics: MetricSections = (),
    stateful: bool = False,
) -> LanguageModel:
    """The next token at each step, learned by cross entropy; for data sets of tokens.

    Reports the cross entropy in nats per token whatever is trained on, accuracy, perplexity
    (e to the cross entropy) and bits per character, which compares models of different tokens;
    of tokens that have no names but their numbers it is bits per token.
    The value of a loss that is given is `criterion`. A model gives an output for each step,
    which must not depend on later ones. To `metrics` each token is a row of a classification; all
    outputs of a split are kept for them.

    `stateful` lets a recurrent model begin a row with the states that the row before it in the
    text ended with (truncated backpropagation through time: gradients stay within a row). A batch
    then has the next row of each of `batch_size` parts of the text, in their order, and rows that
    don't fill a batch are left out. An epoch, and each evaluation, begins with zeros. What an
    exported model is given begins with zeros too.
    """
    default = smoothed_cross_entropy(label_smoothing, loss)
    # of each token a classification
    targets = Targets("classification", output_size)
    parts = make_parts(targets, default, loss, "softmax", metrics, folder)
    task = LanguageModel(parts, class_names)
    task.stateful = stateful
    return task
