"""Losses by name, for the `loss` keyword of tasks.

A factory gets `output_size` and, in a classification, `class_counts`, and returns a module or a
function (outputs, targets) → loss, the mean over the rows of a batch.
"""

from __future__ import annotations

from hpsearch.components.losses import (
    classification,
    margins,
    pairs,
    regression,
    robust,
    triplets,
    weighting,
)
from hpsearch.components.losses.base import LOSS, Loss, LossSection, class_shares, make_loss

__all__ = [
    "LOSS",
    "Loss",
    "LossSection",
    "class_shares",
    "classification",
    "make_loss",
    "margins",
    "pairs",
    "regression",
    "robust",
    "triplets",
    "weighting",
]
