"""What the rules measure of curves: noise, a lasting rise, a gap, skill.

Thresholds are defaults of this project.
"""

from __future__ import annotations

import numpy as np

from hpsearch.analysis.diagnosis.curves import Array, Curves

#: fewer epochs say nothing but that a trial diverged
MIN_EPOCHS = 5
#: the skill, 0 at chance and 1 at best, below which a model underfits
LOW_SKILL = 0.5
#: validation loss over its minimum, epochs after that, and the gap in accuracy
OVERFIT_LOSS, OVERFIT_EPOCHS, OVERFIT_GAP = 0.05, 3, 0.1
#: a rise of the loss is one from so many standard deviations of its noise on
NOISE_FACTOR = 3.0


def known_values(values: Array) -> Array:
    """Return the values without NaN."""
    return values[~np.isnan(values)]


def late_values(values: Array) -> Array:
    """Return the known values of the last two thirds of the epochs."""
    known = known_values(values)
    return known[len(known) // 3 :]


def lasting_rise(val_loss: Array) -> tuple[int | None, float]:
    """Return the epoch after which a validation loss rose for good, and by which part."""
    known = known_values(val_loss)
    if len(known) < MIN_EPOCHS or known.min() <= 0:
        return None, 0.0
    onset = int(known.argmin()) + 1
    risen = float(known[-OVERFIT_EPOCHS:].min() - known.min())
    is_clear = risen > NOISE_FACTOR * noise_level(known)
    lasts = len(known) - onset >= OVERFIT_EPOCHS
    is_large = risen > OVERFIT_LOSS * known.min()
    return (onset, risen / float(known.min())) if is_clear and lasts and is_large else (None, 0.0)


def noise_level(values: Array) -> float:
    """Return the standard deviation of white noise on a curve that is nearly a line."""
    return float(np.std(np.diff(values, 2)) / np.sqrt(6)) if len(values) > 2 else 0.0


def score_gap(curves: Curves) -> float:
    """Return by how much the last training score is above the validation score; 0 if unknown."""
    train, val = known_values(curves.fitted_score), known_values(curves.val_score)
    return float(train[-1] - val[-1]) if len(train) and len(val) else 0.0


def training_skill(curves: Curves) -> float | None:
    """Return how far training came from chance, 0, to perfect, 1; by the score if there is one.

    Where that is measured with dropout it is too low, and validation, which is not, a lower bound.
    """
    score, loss = known_values(curves.fitted_score), known_values(curves.fitted_loss)
    val_score, val_loss = known_values(curves.val_score), known_values(curves.val_loss)
    if len(score) and curves.chance_score is not None and curves.chance_score < 1:
        ends = [score[-1], *val_score[-1:]] if curves.is_dropout_seen else [score[-1]]
        return float((max(ends) - curves.chance_score) / (1 - curves.chance_score))
    if len(loss) and curves.chance_loss:
        ends = [loss[-1], *val_loss[-1:]] if curves.is_dropout_seen else [loss[-1]]
        return float(1 - min(ends) / curves.chance_loss)
    return None
