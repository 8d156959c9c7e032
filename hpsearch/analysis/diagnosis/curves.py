"""The curves of a trial under the names that the rules know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hpsearch.outcome import Outcome
from hpsearch.record import TrialRecord

Array = NDArray[np.float64]

#: what trainers and users call the metrics, the commonest first
_NAMES = {
    "train_loss": ("train_loss", "loss", "train/loss", "training_loss"),
    "val_loss": ("val_loss", "valid_loss", "validation_loss", "eval_loss", "val/loss"),
    "train_score": ("train_accuracy", "train_acc", "train_r2", "train/accuracy"),
    "val_score": ("val_accuracy", "val_acc", "eval_accuracy", "val_r2", "val/accuracy"),
    "train_eval_loss": ("train_eval_loss",),
    "train_eval_score": ("train_eval_accuracy", "train_eval_r2"),
    "grad_norm": ("grad_norm",),
    "gradient_flow": ("gradient_flow",),
    "dead_units": ("dead_units",),
    "saturated_units": ("saturated_units",),
}
_EMPTY = np.empty(0)


@dataclass(frozen=True)
class Curves:
    """One value an epoch, NaN where there is none; an empty array where a metric is missing.

    Scores are accuracies, or R², of which 1 is best. Training metrics are means over an epoch as
    it was trained, with dropout. `chance_loss` and `chance_score` are what a model without inputs
    reaches on the validation split.
    """

    train_loss: Array = field(default_factory=lambda: _EMPTY)
    val_loss: Array = field(default_factory=lambda: _EMPTY)
    train_score: Array = field(default_factory=lambda: _EMPTY)
    val_score: Array = field(default_factory=lambda: _EMPTY)
    #: what the callback train_evaluation measures: the training rows in evaluation mode
    train_eval_loss: Array = field(default_factory=lambda: _EMPTY)
    train_eval_score: Array = field(default_factory=lambda: _EMPTY)
    grad_norm: Array = field(default_factory=lambda: _EMPTY)
    #: what the callback layer_statistics measures
    gradient_flow: Array = field(default_factory=lambda: _EMPTY)
    dead_units: Array = field(default_factory=lambda: _EMPTY)
    saturated_units: Array = field(default_factory=lambda: _EMPTY)
    chance_loss: float | None = None
    chance_score: float | None = None
    #: why the trial diverged, if it did
    diverged: str | None = None
    #: the learning rate that it was given
    lr: float | None = None
    has_dropout: bool = False

    @property
    def epochs(self) -> int:
        """Epochs that were trained."""
        return max(map(len, (self.train_loss, self.val_loss, self.val_score)))

    @property
    def fitted_loss(self) -> Array:
        """The training loss to compare with validation: in evaluation mode where it is known."""
        return self.train_eval_loss if len(self.train_eval_loss) else self.train_loss

    @property
    def fitted_score(self) -> Array:
        """As `fitted_loss`, the score."""
        return self.train_eval_score if len(self.train_eval_score) else self.train_score

    @property
    def is_dropout_seen(self) -> bool:
        """Whether the training score to compare is one with dropout."""
        return self.has_dropout and not len(self.train_eval_score)


def curves_of(trial: TrialRecord, baselines: Mapping[str, Mapping[str, float]] = {}) -> Curves:  # noqa: B006  # read only
    """Return a trial's curves, and what its record says beside them.

    `baselines` are the metrics of models that ignore the inputs, by their names.
    """
    found = {key: _array(trial, names) for key, names in _NAMES.items()}
    chance: dict[str, list[float]] = {"loss": [], "accuracy": [], "r2": []}
    for scores in baselines.values():
        for name in chance:
            if f"val_{name}" in scores:
                chance[name].append(scores[f"val_{name}"])
    best_scores = chance["accuracy"] or chance["r2"]
    return Curves(
        **found,
        chance_loss=min(chance["loss"], default=None),
        chance_score=max(best_scores, default=None),
        diverged=trial.reason or "diverged" if trial.outcome is Outcome.DIVERGED else None,
        lr=_number(trial.values, "lr"),
        has_dropout=bool(_number(trial.values.get("model") or {}, "dropout")),
    )


def _array(trial: TrialRecord, names: tuple[str, ...]) -> Array:
    for name in names:
        if values := trial.metric(name):
            return np.array([values.get(epoch, np.nan) for epoch in range(1, trial.epochs + 1)])
    return _EMPTY


def _number(tree: object, name: str) -> float | None:
    """Return the first number of this name in nested mappings."""
    if not isinstance(tree, dict):
        return None
    if isinstance(value := tree.get(name), int | float) and not isinstance(value, bool):
        return float(value)
    return next((x for child in tree.values() if (x := _number(child, name)) is not None), None)
