"""Whether a model learns at all, by its training loss and its gradients."""

from __future__ import annotations

import numpy as np

from hpsearch.analysis.diagnosis.curves import Curves
from hpsearch.analysis.diagnosis.finding import Diagnosis
from hpsearch.analysis.diagnosis.measures import (
    LOW_SKILL,
    MIN_EPOCHS,
    known_values,
    training_skill,
)
from hpsearch.formatting import show

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
#: the norm of gradients over its median, and in itself, where it explodes
EXPLODES_BY, EXPLODES = 100.0, 1e3


def diverged(curves: Curves) -> Diagnosis | None:
    """The loss became infinite, or grew to several times its first value."""
    loss = known_values(curves.train_loss)
    grown = len(loss) > 1 and loss[0] > 0 and loss[-1] > DIVERGED_FACTOR * loss[0]
    if curves.diverged is None and not grown:
        return None
    fact = curves.diverged or f"training loss rose from {show(loss[0])} to {show(loss[-1])}"
    return Diagnosis("diverged", fact, f"{_lower_lr(curves)}, or clip gradients (gradient_clip)")


def too_high_lr(curves: Curves) -> Diagnosis | None:
    """The training loss jumps, far from its end, or stays above that of a model without inputs."""
    loss = known_values(curves.train_loss)
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
        fact = f"training loss stays at {show(level)}; a model without inputs has "
        fact += show(curves.chance_loss)
    else:
        return None
    return Diagnosis("learning rate too high", fact, _lower_lr(curves))


def too_low_lr(curves: Curves) -> Diagnosis | None:
    """The training loss falls in nearly every epoch, at the end as fast as at the beginning."""
    loss = known_values(curves.train_loss)
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


def dead_start(curves: Curves) -> Diagnosis | None:
    """The training loss stays where it began."""
    loss = known_values(curves.train_loss)
    if len(loss) < MIN_EPOCHS or loss[0] <= 0:
        return None
    moved = float(np.ptp(loss[1:]) / loss[0])
    skill = training_skill(curves)
    if moved >= FLAT or loss[-1] < 0.5 * loss[0] or (skill is not None and skill > LOW_SKILL / 5):
        return None
    norm = known_values(curves.grad_norm)
    how = f"; the norm of its gradient is {show(float(norm[-1]))}" if len(norm) else ""
    fact = f"training loss stays at {show(loss[-1])} from the second epoch on{how}"
    advice = "try another initializer, a normalization or an activation that doesn't saturate"
    return Diagnosis("dead start", fact, advice)


def exploding(curves: Curves) -> Diagnosis | None:
    """The norm of the gradients is very large, or jumps far above its median."""
    norm = known_values(curves.grad_norm)
    if len(norm) < MIN_EPOCHS:
        return None
    epoch, usual = int(norm.argmax()), float(np.median(norm))
    is_large = norm[epoch] > EXPLODES or (norm[epoch] > EXPLODES_BY * usual and norm[epoch] > 10)
    if not is_large:
        return None
    fact = f"the norm of the gradient is {show(float(norm[epoch]))} (median {show(usual)})"
    advice = "clip gradients: gradient_clip: {name: norm, max_norm: 1}"
    return Diagnosis("exploding gradients", fact, advice, epoch + 1)


def _lower_lr(curves: Curves) -> str:
    if curves.lr is None:
        return "lower the learning rate"
    return f"keep lr below {show(curves.lr / 3)}"
