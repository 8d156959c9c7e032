"""What curves look like when something is wrong. Thresholds are defaults of this project.

The kinds of trouble are those of Goodfellow, Bengio & Courville, Deep Learning (2016), chapter 11;
Smith, arXiv 1803.09820 (2018); Prechelt, Early Stopping — But When? (1998).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hpsearch.analysis.diagnosis.curves import Array, Curves
from hpsearch.formatting import show, show_count

#: fewer epochs say nothing but that a trial diverged
MIN_EPOCHS = 5
#: a loss of so many times its first value has diverged
DIVERGED_FACTOR = 4.0
#: a training loss that changed less, relative to its first, hasn't been learned from
FLAT = 0.01
#: of the steps, for a loss that falls, or of those that rise, for one that jumps
MOSTLY, OFTEN = 0.9, 0.3
#: a loss that jumps: its steps over its level, and its level over that of chance
JUMPS, FAR = 0.1, 0.1
#: a training loss that stays worse than that of a model without inputs
ABOVE_CHANCE = 1.02
#: a loss falls evenly while its last quarter falls at this part of its first quarter's rate
EVENLY = 0.5
#: the skill, 0 at chance and 1 at best, below which a model underfits
LOW_SKILL = 0.5
#: training and validation are close: relative in loss
CLOSE = 0.05
#: validation loss over its minimum, epochs after that, and the gap in accuracy
OVERFIT_LOSS, OVERFIT_EPOCHS, OVERFIT_GAP = 0.05, 3, 0.1
#: a rise of the loss is one from so many standard deviations of its noise on
NOISE_FACTOR = 3.0
#: an accuracy within this of its best hasn't fallen
SAME_SCORE = 0.01
#: noise of a validation score, and of a loss relative to its median
NOISY_SCORE, NOISY_LOSS = 0.03, 0.1
#: epochs of which noise can be told
NOISE_EPOCHS = 8
#: the norm of gradients over its median, and in itself, where it explodes
EXPLODES_BY, EXPLODES = 100.0, 1e3
#: validation better than training in this part of the epochs, by this much in accuracy
BETTER_SHARE, BETTER_BY = 0.8, 0.03


@dataclass(frozen=True)
class Diagnosis:
    """One thing that curves say: `message` with its numbers, `advice` as a change of the spec.

    A fault is worth a change; a note isn't.
    """

    name: str
    message: str
    advice: str
    epoch: int | None = None
    is_fault: bool = True

    def __str__(self) -> str:
        """`overfitting: validation loss …; try …`."""
        return f"{self.name}: {self.message}; {self.advice}"


def diagnose(curves: Curves) -> list[Diagnosis]:
    """Return what a trial's curves say, the likeliest cause first; empty if nothing stands out."""
    found = _diverged(curves)
    if found is not None:
        return [found]
    if curves.epochs < MIN_EPOCHS:
        return []
    starts = next((d for rule in STARTS if (d := rule(curves)) is not None), None)
    if starts is not None:  # a net that hasn't learned says nothing of its fit
        return [starts]
    return [each for rule in RULES if (each := rule(curves)) is not None]


def _diverged(curves: Curves) -> Diagnosis | None:
    loss = _known(curves.train_loss)
    grown = len(loss) > 1 and loss[0] > 0 and loss[-1] > DIVERGED_FACTOR * loss[0]
    if curves.diverged is None and not grown:
        return None
    fact = curves.diverged or f"training loss rose from {show(loss[0])} to {show(loss[-1])}"
    return Diagnosis("diverged", fact, f"{_lower_lr(curves)}, or clip gradients (gradient_clip)")


def _too_high_lr(curves: Curves) -> Diagnosis | None:
    """The training loss jumps, far from its end, or stays above that of a model without inputs."""
    loss = _known(curves.train_loss)
    if len(loss) < MIN_EPOCHS or loss[0] <= 0:
        return None
    late = loss[len(loss) // 2 :]
    level, steps = float(np.median(late)), np.diff(late)
    jump = float(np.abs(steps).mean())
    chance = loss[0] if curves.chance_loss is None else min(loss[0], curves.chance_loss)
    is_far = level > FAR * chance
    jumps = is_far and np.mean(steps > 0) >= OFTEN and jump > JUMPS * level
    is_above = curves.chance_loss is not None and level > ABOVE_CHANCE * curves.chance_loss
    if jumps:
        fact = f"training loss still moves by {show(jump)} an epoch, at {show(level)}"
    elif is_above:
        fact = f"training loss stays at {show(level)}, and {show(curves.chance_loss)} is chance"
    else:
        return None
    return Diagnosis("learning rate too high", fact, _lower_lr(curves))


def _too_low_lr(curves: Curves) -> Diagnosis | None:
    """The training loss falls in nearly every epoch, at the end as fast as at the beginning."""
    loss = _known(curves.train_loss)
    if len(loss) < MIN_EPOCHS or loss[0] <= 0:
        return None
    steps = -np.diff(loss)
    quarter = max(1, len(steps) // 4)
    first, last = float(steps[:quarter].mean()), float(steps[-quarter:].mean())
    # what is flat to the last digits has no direction
    falls = np.mean(steps > 1e-6 * loss[0]) >= MOSTLY and last >= EVENLY * first
    is_far = loss[-1] > 0.5 * loss[0]
    if not (falls and is_far and loss[0] - loss[-1] > 1e-4 * loss[0]):
        return None
    fact = (
        f"training loss falls as fast at the end ({show(last)} an epoch) as at the beginning "
        f"({show(first)}), and is at {show(loss[-1])} of {show(loss[0])}"
    )
    raised = "raise the learning rate" if curves.lr is None else f"try lr {show(curves.lr * 10)}"
    return Diagnosis("learning rate too low", fact, f"{raised}, or train longer")


def _dead_start(curves: Curves) -> Diagnosis | None:
    """The training loss stays where it began."""
    loss = _known(curves.train_loss)
    if len(loss) < MIN_EPOCHS or loss[0] <= 0:
        return None
    moved = float(np.ptp(loss[1:]) / loss[0])
    skill = _skill(curves)
    if moved >= FLAT or loss[-1] < 0.5 * loss[0] or (skill is not None and skill > LOW_SKILL / 5):
        return None
    norm = _known(curves.grad_norm)
    how = f"; the norm of its gradient is {show(float(norm[-1]))}" if len(norm) else ""
    fact = f"training loss stays at {show(loss[-1])} from the second epoch on{how}"
    advice = "try another initializer, a normalization or an activation that doesn't saturate"
    return Diagnosis("dead start", fact, advice)


def _exploding(curves: Curves) -> Diagnosis | None:
    norm = _known(curves.grad_norm)
    if len(norm) < MIN_EPOCHS:
        return None
    epoch, usual = int(norm.argmax()), float(np.median(norm))
    is_large = norm[epoch] > EXPLODES or (norm[epoch] > EXPLODES_BY * usual and norm[epoch] > 10)
    if not is_large:
        return None
    fact = f"the norm of the gradient is {show(float(norm[epoch]))} (median {show(usual)})"
    advice = "clip gradients: gradient_clip: {name: norm, max_norm: 1}"
    return Diagnosis("exploding gradients", fact, advice, epoch + 1)


def _parting(curves: Curves) -> Diagnosis | None:
    """The validation loss rises while the accuracy doesn't fall: growing confidence in errors."""
    onset, rise = _rise(curves.val_loss)
    score = _known(curves.val_score)
    if onset is None or len(score) < MIN_EPOCHS or _gap(curves) > OVERFIT_GAP:
        return None
    if score[-OVERFIT_EPOCHS:].mean() < score.max() - SAME_SCORE:
        return None
    fact = (
        f"validation loss is {rise:.0%} above its minimum of epoch {onset}, while the score stays "
        f"at {show(float(score[-1]))}: the model grows too sure of its errors"
    )
    advice = "try label smoothing (loss) or calibration: the labels are as good as before"
    return Diagnosis("loss and accuracy part", fact, advice, onset, is_fault=False)


def _overfitting(curves: Curves) -> Diagnosis | None:
    """The validation loss rises for good while the training loss falls, or the scores part."""
    if _parting(curves) is not None:
        return None
    onset, rise = _rise(curves.val_loss)
    train, gap = _known(curves.train_loss), _gap(curves)
    rises = onset is not None and len(train) >= onset and train[-1] < train[onset - 1]
    if rises:
        fact = f"validation loss is {rise:.0%} above its minimum of epoch {onset}"
        fact += f" while training loss fell on to {show(float(train[-1]))}"
    elif gap > OVERFIT_GAP:
        fact = f"the training score is {show(float(_known(curves.train_score)[-1]))}"
        fact += f", the validation score {show(gap)} lower"
    else:
        return None
    advice = "try weight decay x3, dropout + 0.1, augmentation or more data; or stop earlier"
    return Diagnosis("overfitting", fact, advice, onset if rises else None)


def _underfitting(curves: Curves) -> Diagnosis | None:
    """The model is poor on the training rows too, and has stopped to learn."""
    skill, train, val = _skill(curves), _known(curves.train_loss), _known(curves.val_loss)
    if skill is None or skill >= LOW_SKILL or len(train) < MIN_EPOCHS or not len(val):
        return None
    third = max(1, len(train) // 3)
    still = (train[-third - 1] - train[-1]) / max(train[0] - train[-1], 1e-12)
    is_close = val[-1] - train[-1] < CLOSE * abs(train[-1])
    if not is_close or still > OFTEN:
        return None
    fact = (
        f"training loss has settled at {show(float(train[-1]))} and validation loss at "
        f"{show(float(val[-1]))}: {max(0, skill):.0%} of the way from chance to perfect"
    )
    why = "dropout and weight decay lower, or " if curves.has_dropout else ""
    return Diagnosis("underfitting", fact, f"try {why}a wider or deeper model")


def _noisy(curves: Curves) -> Diagnosis | None:
    """The validation metric jumps from epoch to epoch by more than it still improves."""
    late = _late(curves.val_score)
    limit, what = NOISY_SCORE, "score"
    if len(late) < NOISE_EPOCHS:
        late, what = _late(curves.val_loss), "loss"
        limit = NOISY_LOSS * abs(float(np.median(late))) if len(late) else 0.0
    if len(late) < NOISE_EPOCHS:
        return None
    noise = _noise(late)
    if noise <= limit:
        return None
    fact = f"the validation {what} jumps by ±{show(noise)} from epoch to epoch"
    advice = "choose by a larger validation split (val_fraction), or let the learning rate fall"
    return Diagnosis("noisy validation", fact, f"{advice} (lr_schedule)")


def _easier_validation(curves: Curves) -> Diagnosis | None:
    """Validation is better than training throughout."""
    train, val = curves.train_score, curves.val_score
    if len(train) != len(val) or len(val) < MIN_EPOCHS:
        return None
    better = val - train > BETTER_BY
    if np.mean(better[1:]) < BETTER_SHARE:
        return None
    by = show(float(np.nanmean((val - train)[1:])))
    fact = f"the validation score is {by} above the training score throughout"
    if curves.has_dropout:
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


def _plateau(curves: Curves) -> Diagnosis | None:
    """Nothing improved for the last third of the epochs."""
    score = _known(curves.val_score if len(curves.val_score) else -curves.val_loss)
    if len(score) < 2 * MIN_EPOCHS:
        return None
    best, length = int(score.argmax()) + 1, len(score)
    if length - best < max(MIN_EPOCHS, length // 3):
        return None
    fact = f"the best of {show_count(length, 'epoch')} was {best}"
    return Diagnosis(
        "plateau", fact, "fewer epochs (max_epochs) do, or a lr_schedule", best, is_fault=False
    )


def _still_improving(curves: Curves) -> Diagnosis | None:
    """The last epochs are the best ones."""
    score = _known(curves.val_score if len(curves.val_score) else -curves.val_loss)
    if len(score) < MIN_EPOCHS or int(score.argmax()) + 1 < len(score):
        return None
    gain = float(score[-1] - score[-1 - max(1, len(score) // 4)])
    if gain < SAME_SCORE * max(1.0, abs(float(score[-1]))):
        return None
    fact = f"the last epoch is the best, by {show(gain)} in the last quarter"
    return Diagnosis("still improving", fact, "train longer (max_epochs)", is_fault=False)


Rule = Callable[[Curves], Diagnosis | None]
#: that a net doesn't learn; the first one that holds is the cause
STARTS: tuple[Rule, ...] = (_too_low_lr, _too_high_lr, _dead_start)
RULES: tuple[Rule, ...] = (
    _exploding,
    _overfitting,
    _parting,
    _underfitting,
    _easier_validation,
    _noisy,
    _plateau,
    _still_improving,
)


def _known(values: Array) -> Array:
    return values[~np.isnan(values)]


def _late(values: Array) -> Array:
    known = _known(values)
    return known[len(known) // 3 :]


def _rise(val_loss: Array) -> tuple[int | None, float]:
    """Return the epoch after which a validation loss rose for good, and by which part."""
    known = _known(val_loss)
    if len(known) < MIN_EPOCHS or known.min() <= 0:
        return None, 0.0
    onset = int(known.argmin()) + 1
    risen = float(known[-OVERFIT_EPOCHS:].min() - known.min())
    is_clear = risen > NOISE_FACTOR * _noise(known)
    lasts = len(known) - onset >= OVERFIT_EPOCHS
    is_large = risen > OVERFIT_LOSS * known.min()
    return (onset, risen / float(known.min())) if is_clear and lasts and is_large else (None, 0.0)


def _noise(values: Array) -> float:
    """Return the standard deviation of white noise on a curve that is nearly a line."""
    return float(np.std(np.diff(values, 2)) / np.sqrt(6)) if len(values) > 2 else 0.0


def _gap(curves: Curves) -> float:
    train, val = _known(curves.train_score), _known(curves.val_score)
    return float(train[-1] - val[-1]) if len(train) and len(val) else 0.0


def _skill(curves: Curves) -> float | None:
    """Return how far training came from chance, 0, to perfect, 1; by the score if there is one."""
    score, loss = _known(curves.train_score), _known(curves.train_loss)
    if len(score) and curves.chance_score is not None and curves.chance_score < 1:
        return float((score[-1] - curves.chance_score) / (1 - curves.chance_score))
    if len(loss) and curves.chance_loss:
        return float(1 - loss[-1] / curves.chance_loss)
    return None


def _lower_lr(curves: Curves) -> str:
    if curves.lr is None:
        return "lower the learning rate"
    return f"keep lr below {show(curves.lr / 3)}"
