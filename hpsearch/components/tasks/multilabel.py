"""Multi-label classification: any number of labels of each row are true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hpsearch.components.data import Kind
from hpsearch.components.encodings import TargetEncoding, Values, register_encoding
from hpsearch.components.tasks.parts import SupervisedTask


class Labels(TargetEncoding):
    """Degrees of labels float32 (rows, labels), from 0 to 1."""

    def description(self, output_size: int) -> str:
        """See TargetEncoding."""
        return f" with {output_size} labels"

    def base_rates(self, y: Values, output_size: int) -> tuple[float, ...]:
        """See TargetEncoding."""
        return tuple(((y.sum(0) + 0.5) / (len(y) + 1)).tolist())

    def label_sets(self, y: Values) -> tuple[tuple[int, ...], ...]:
        """See TargetEncoding; a label is true above 1/2."""
        return tuple(map(tuple, np.unique(y > 0.5, axis=0).astype(int).tolist()))

    def forecasts(self, y: Values, output_size: int) -> dict[str, Tensor]:
        """The labels' shares of the rows, those that most of them have, and all undecided."""
        prior = torch.from_numpy(y.copy()).double().mean(0)
        return {
            "prior": prior,
            "majority": (prior > 0.5).to(prior),
            "uniform": torch.full_like(prior, 0.5),
        }

    def right_outputs(self, targets: Tensor, output_size: int) -> Tensor:
        """See TargetEncoding."""
        return targets - 0.5

    def answers(self, outputs: Tensor) -> Tensor:
        """Return set labels (rows, labels) as 0 and 1."""
        return (outputs > 0).long()

    def columns(
        self, answers: Values, shares: Values, names: Sequence[str], share: str
    ) -> Mapping[str, Values]:
        """See TargetEncoding."""
        all_shares = {f"{share}_{n}": v for n, v in zip(names, shares.T, strict=True)}
        return dict(zip(names, answers.T, strict=True)) | all_shares


register_encoding("multilabel", Labels())


class Multilabel(SupervisedTask):
    """Binary cross entropy and scores of the labels that are set.

    A label is set where its output is above 0, and true where its target, which may be a degree
    of truth, is above 1/2.
    """

    kind: ClassVar[Kind] = "multilabel"
    own_metrics: ClassVar[tuple[str, ...]] = (
        "loss",
        "subset_accuracy",
        "hamming_loss",
        "f1_micro",
        "f1_macro",
    )

    def _own_totals(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the losses, the rows that are all right; found, set and true labels, by label."""
        losses = F.binary_cross_entropy_with_logits(outputs, targets, reduction="none")
        is_set, is_true = outputs > 0, targets > 0.5
        all_right = (is_set == is_true).all(1).sum()
        counts = torch.stack([is_set & is_true, is_set, is_true]).sum(1)
        return torch.cat(
            [torch.stack([losses.mean(1).sum(), all_right]).double(), counts.flatten().double()]
        )

    def _own_summary(self, totals: Sequence[float], num_rows: float) -> dict[str, float]:
        """Return the metrics; a label that is neither set nor true has F1 0, as scikit-learn."""
        loss, all_right = totals[:2]
        found, num_set, num_true = np.reshape(totals[2:], (3, -1))
        either = num_set + num_true
        f1 = np.divide(2 * found, either, out=np.zeros_like(found), where=either > 0)
        return {
            "loss": loss / num_rows,
            "subset_accuracy": all_right / num_rows,
            "hamming_loss": float((either - 2 * found).mean() / num_rows),
            "f1_micro": float(2 * found.sum() / max(either.sum(), 1)),
            "f1_macro": float(f1.mean()),
        }
