"""Regression: numbers are predicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from hpsearch.components.data import Kind
from hpsearch.components.encodings import TargetEncoding, Values, register_encoding
from hpsearch.components.losses import LossSection
from hpsearch.components.metrics import MetricSections, Predictions
from hpsearch.components.tasks.heads import HeadSection
from hpsearch.components.tasks.parts import SupervisedTask, Targets, TaskComponents, make_parts
from hpsearch.registry import register


class Numbers(TargetEncoding):
    """Numbers float32 (rows, targets)."""

    standardizes: ClassVar[bool] = True

    def forecasts(self, y: Values, output_size: int) -> dict[str, Tensor]:
        """The rows' mean and median."""
        return {
            "mean": torch.from_numpy(y.mean(0, dtype=np.float64)),
            "median": torch.from_numpy(np.median(y, 0)).double(),
        }

    def columns(
        self, answers: Values, shares: Values, names: Sequence[str], share: str
    ) -> Mapping[str, Values]:
        """See TargetEncoding; a number alone is the prediction."""
        names = ["prediction"] if answers.shape[1] == 1 else names
        return dict(zip(names, answers.T, strict=True))


register_encoding("regression", Numbers())


class Regression(SupervisedTask):
    """Squared error in the targets' units, and R²; means over the targets.

    Training sees standardised targets: `target_std` holds their standard deviations.
    """

    kind: ClassVar[Kind] = "regression"
    own_metrics: ClassVar[tuple[str, ...]] = ("loss", "r2")

    def __init__(self, parts: TaskComponents, target_std: Sequence[float]) -> None:
        super().__init__(parts)
        self._target_std = np.asarray(target_std)

    def _own_totals(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return, target by target: squared errors, targets, squared targets."""
        outputs, targets = outputs.double(), targets.double()
        errors = (outputs - targets).square()
        return torch.stack([errors, targets, targets.square()]).sum(1).flatten()

    def _own_summary(self, totals: Sequence[float], num_rows: float) -> dict[str, float]:
        errors, sums, squares = np.reshape(totals, (3, -1))
        loss = np.mean(errors / num_rows * self._target_std**2)
        deviations = squares - sums**2 / num_rows
        # As scikit-learn has it: targets that never vary score 0.
        varies = deviations > 1e-12 * num_rows
        r2 = np.where(varies, 1 - errors / np.where(varies, deviations, 1.0), 0.0)
        return {"loss": float(loss), "r2": float(r2.mean())}

    def _predictions(self, outputs: Tensor, targets: Tensor) -> Predictions:
        """In the targets' units, but for a shift that errors don't have."""
        seen = super()._predictions(outputs, targets)
        std = self._target_std
        return replace(seen, outputs=seen.outputs * std, targets=seen.targets * std)


@register("task", "regression")
def regression(
    output_size: int,
    target_std: Sequence[float],
    folder: Path | None,
    loss: LossSection | None = None,
    head: HeadSection = None,
    metrics: MetricSections = (),
    in_order: bool = False,
) -> Regression:
    """Numbers, learned by the squared error or another loss; reports loss and R².

    The loss that is reported is the squared error in the targets' own units whatever is trained
    on, so that trials can be compared. The value of a loss that is given, over standardised
    targets, is `criterion`. `in_order` is that of `classification`.
    """
    targets = Targets("regression", output_size)
    parts = make_parts(targets, "mse", loss, head, metrics, folder)
    task = Regression(parts, target_std)
    task.in_order = in_order
    return task
