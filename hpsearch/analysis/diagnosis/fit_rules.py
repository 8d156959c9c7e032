"""How well what a model has learned holds on other rows, and whether it learns more."""

from __future__ import annotations

import numpy as np

from hpsearch.analysis.diagnosis.curves import Curves
from hpsearch.analysis.diagnosis.finding import Diagnosis
from hpsearch.analysis.diagnosis.measures import (
    LOW_SKILL,
    MIN_EPOCHS,
    OVERFIT_EPOCHS,
    OVERFIT_GAP,
    known_values,
    lasting_rise,
    late_values,
    noise_level,
    score_gap,
    training_skill,
)
from hpsearch.formatting import show, show_count

#: of what was learned, in the last third of the epochs, by a model that still learns
STILL_LEARNS = 0.3
#: training and validation are close: relative in loss
CLOSE = 0.05
#: an accuracy within this of its best hasn't fallen
SAME_SCORE = 0.01
#: noise of a validation score, and of a loss relative to its median
NOISY_SCORE, NOISY_LOSS = 0.03, 0.1
#: epochs of which noise can be told
NOISE_EPOCHS = 8
#: validation better than training in this part of the epochs, by this much in accuracy
BETTER_SHARE, BETTER_BY = 0.8, 0.03


def parting(curves: Curves) -> Diagnosis | None:
    """The validation loss rises while the accuracy doesn't fall: growing confidence in errors."""
    onset, rise = lasting_rise(curves.val_loss)
    score = known_values(curves.val_score)
    if onset is None or len(score) < MIN_EPOCHS or score_gap(curves) > OVERFIT_GAP:
        return None
    if score[-OVERFIT_EPOCHS:].mean() < score.max() - SAME_SCORE:
        return None
    fact = (
        f"validation loss is {rise:.0%} above its minimum of epoch {onset}, while the score, at "
        f"{show(float(score[-1]))}, has not fallen: the model becomes overconfident in its errors"
    )
    advice = "try label smoothing (loss) or calibration: the labels are as good as before"
    return Diagnosis("loss and accuracy part", fact, advice, onset, is_fault=False)


def overfitting(curves: Curves) -> Diagnosis | None:
    """The validation loss rises for good while the training loss falls, or the scores part."""
    if parting(curves) is not None:
        return None
    onset, rise = lasting_rise(curves.val_loss)
    train, gap = known_values(curves.fitted_loss), score_gap(curves)
    rises = onset is not None and len(train) >= onset and train[-1] < train[onset - 1]
    if rises:
        fact = f"validation loss is {rise:.0%} above its minimum of epoch {onset}"
        fact += f" while training loss kept falling, to {show(float(train[-1]))}"
    elif gap > OVERFIT_GAP:
        fact = f"the training score is {show(float(known_values(curves.fitted_score)[-1]))}"
        fact += f", the validation score {show(gap)} lower"
    else:
        return None
    advice = "try weight decay x3, dropout + 0.1, augmentation or more data"
    advice += "; or stop earlier" if rises else ""
    return Diagnosis("overfitting", fact, advice, onset if rises else None)


def underfitting(curves: Curves) -> Diagnosis | None:
    """The model is poor on the training rows too, and has stopped to learn."""
    skill, train, val = (
        training_skill(curves),
        known_values(curves.fitted_loss),
        known_values(curves.val_loss),
    )
    if skill is None or skill >= LOW_SKILL or len(train) < MIN_EPOCHS or not len(val):
        return None
    third = max(1, len(train) // 3)
    still = (train[-third - 1] - train[-1]) / max(train[0] - train[-1], 1e-12)
    is_close = val[-1] - train[-1] < CLOSE * abs(train[-1])
    if not is_close or still > STILL_LEARNS:
        return None
    improves = still_improving(curves) is not None
    how = "falls slowly, to" if improves else "has settled at"
    fact = (
        f"training loss {how} {show(float(train[-1]))}, with a validation loss of "
        f"{show(float(val[-1]))}: {max(0, skill):.0%} of the way from chance to perfect"
    )
    why = "dropout and weight decay lower, or " if curves.has_dropout else ""
    longer = ", or train longer (max_epochs)" if improves else ""
    return Diagnosis("underfitting", fact, f"try {why}a wider or deeper model{longer}")


def noisy(curves: Curves) -> Diagnosis | None:
    """The validation metric jumps from epoch to epoch by more than it still improves."""
    late = late_values(curves.val_score)
    limit, what = NOISY_SCORE, "score"
    if len(late) < NOISE_EPOCHS:
        late, what = late_values(curves.val_loss), "loss"
        limit = NOISY_LOSS * abs(float(np.median(late))) if len(late) else 0.0
    if len(late) < NOISE_EPOCHS:
        return None
    noise = noise_level(late)
    if noise <= limit:
        return None
    fact = f"the validation {what} jumps by ±{show(noise)} from epoch to epoch"
    advice = "use a larger validation split (val_fraction), or lower the learning rate over time"
    return Diagnosis("noisy validation", fact, f"{advice} (lr_schedule)")


def easier_validation(curves: Curves) -> Diagnosis | None:
    """Validation is better than training throughout."""
    train, val = curves.fitted_score, curves.val_score
    if len(train) != len(val) or len(val) < MIN_EPOCHS:
        return None
    better = val - train > BETTER_BY
    if np.mean(better[1:]) < BETTER_SHARE:
        return None
    by = show(float(np.nanmean((val - train)[1:])))
    fact = f"the validation score is {by} above the training score throughout"
    if curves.is_dropout_seen:
        return Diagnosis(
            "validation above training",
            f"{fact}, as training scores are measured with dropout",
            "nothing is wrong while both rise; dropout may be too high",
            is_fault=False,
        )
    return Diagnosis(
        "unrepresentative validation",
        fact,
        "see how rows were split: validation is easier, or holds training rows (split_leakage)",
    )


def plateau(curves: Curves) -> Diagnosis | None:
    """Nothing improved for the last third of the epochs."""
    score = known_values(curves.val_score if len(curves.val_score) else -curves.val_loss)
    if len(score) < 2 * MIN_EPOCHS:
        return None
    best, length = int(score.argmax()) + 1, len(score)
    if length - best < max(MIN_EPOCHS, length // 3):
        return None
    fact = f"the best of {show_count(length, 'epoch')} was {best}"
    return Diagnosis(
        "plateau", fact, "try fewer epochs (max_epochs), or an lr_schedule", best, is_fault=False
    )


def still_improving(curves: Curves) -> Diagnosis | None:
    """The last epochs are the best ones."""
    score = known_values(curves.val_score if len(curves.val_score) else -curves.val_loss)
    if len(score) < MIN_EPOCHS or int(score.argmax()) + 1 < len(score):
        return None
    gain = float(score[-1] - score[-1 - max(1, len(score) // 4)])
    if gain < SAME_SCORE * max(1.0, abs(float(score[-1]))):
        return None
    fact = f"the last epoch is the best, by {show(gain)} in the last quarter"
    return Diagnosis("still improving", fact, "train longer (max_epochs)", is_fault=False)
