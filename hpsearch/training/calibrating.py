"""A trained model's probabilities, corrected on rows it hasn't trained on, and what that did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hpsearch.components.calibration import Calibration
from hpsearch.components.losses import class_shares
from hpsearch.components.metrics import METRICS, Predictions
from hpsearch.components.metrics.probabilities import top_bins
from hpsearch.training.trainer import Trainer

#: scores shown before and after
SCORES = ("ece", "mce", "log_loss", "brier")


@dataclass(frozen=True)
class Calibrated:
    """A fitted calibration, and what the report says of it: plain values."""

    calibration: Calibration
    report: dict[str, Any]


def calibrate(trainer: Trainer, held_out: Sequence[Trainer]) -> Calibrated | None:
    """Fit a trainer's calibration on validation rows; None where the configuration has none.

    `held_out` have seen none of their validation rows: the trainer itself or, where that was
    refitted on all rows, those of the folds before. The report compares scores on the test split.
    """
    calibration = trainer.calibration
    if calibration is None:
        return None
    head = trainer.task.head
    outputs, targets = _validation_rows(held_out)
    calibration.fit(head, outputs, targets)
    name = trainer.config.values["calibration"]["name"]
    report = {"name": name, "rows": len(targets), "fitted": calibration.fitted}
    if trainer.data.test is not None:
        outputs, targets = trainer.predict("test")
        report["before"] = _describe(head.logits(outputs), targets)
        report["after"] = _describe(calibration(outputs), targets)
    return Calibrated(calibration, report)


def _validation_rows(held_out: Sequence[Trainer]) -> tuple[Tensor, Tensor]:
    outputs, targets = zip(*(each.predict("val") for each in held_out), strict=True)
    return torch.cat(outputs), torch.cat(targets)


@torch.no_grad()
def _describe(logits: Tensor, targets: Tensor) -> dict[str, Any]:
    """Return scores, and the bins of a reliability plot."""
    logits = logits.double()
    shares = class_shares(targets, logits)
    seen = Predictions(logits.softmax(1).numpy(), shares.numpy())
    bins = top_bins(seen)
    accuracy = float((seen.answers == seen.classes).mean())
    return {
        "scores": {"accuracy": accuracy, **{name: _score(name, seen) for name in SCORES}},
        "bins": {
            "confidence": bins.confidence.tolist(),
            "accuracy": bins.accuracy.tolist(),
            "share": bins.share.tolist(),
        },
    }


def _score(name: str, seen: Predictions) -> float | None:
    metric = METRICS.build(name, output_size=seen.outputs.shape[1], class_counts=())
    value: float | None = metric.measure(seen)[0]
    return value
