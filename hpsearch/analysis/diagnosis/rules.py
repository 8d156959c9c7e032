"""Which rules a trial's curves are read by, and in which order.

The kinds of trouble are those of Goodfellow, Bengio & Courville, Deep Learning (2016), chapter 11;
Smith, arXiv 1803.09820 (2018); Prechelt, Early Stopping — But When? (1998).
"""

from __future__ import annotations

from collections.abc import Callable

from hpsearch.analysis.diagnosis.curves import Curves
from hpsearch.analysis.diagnosis.finding import Diagnosis
from hpsearch.analysis.diagnosis.fit_rules import (
    easier_validation,
    noisy,
    overfitting,
    parting,
    plateau,
    still_improving,
    underfitting,
)
from hpsearch.analysis.diagnosis.layer_rules import RULES as LAYER_RULES
from hpsearch.analysis.diagnosis.learning_rules import (
    dead_start,
    diverged,
    exploding,
    too_high_lr,
    too_low_lr,
)
from hpsearch.analysis.diagnosis.measures import MIN_EPOCHS


def diagnose(curves: Curves) -> list[Diagnosis]:
    """Return what a trial's curves say, the likeliest cause first; empty if nothing stands out."""
    found = diverged(curves)
    if found is not None:
        return [found]
    if curves.epochs < MIN_EPOCHS:
        return []
    starts = next((d for rule in STARTS if (d := rule(curves)) is not None), None)
    measured = [each for rule in LAYER_RULES if (each := rule(curves)) is not None]
    if starts is not None:  # a net that hasn't learned says nothing of its fit
        return [starts, *measured]
    fit = [each for rule in RULES if (each := rule(curves)) is not None]
    return without_contradictions(measured + fit)


def without_contradictions(found: list[Diagnosis]) -> list[Diagnosis]:
    """Return what can be said in one breath, in the same order: of one name the first."""
    by_name: dict[str, Diagnosis] = {}
    for each in found:
        by_name.setdefault(each.name, each)
    for kept, dropped in CONTRADICTIONS:
        if kept in by_name:
            by_name.pop(dropped, None)
    return list(by_name.values())


Rule = Callable[[Curves], Diagnosis | None]
#: that a net doesn't learn; the first one that holds is the cause
STARTS: tuple[Rule, ...] = (too_low_lr, too_high_lr, dead_start)
RULES: tuple[Rule, ...] = (
    exploding,
    overfitting,
    parting,
    underfitting,
    easier_validation,
    noisy,
    plateau,
    still_improving,
)
#: names whose sentences contradict each other: where the first is said, the second isn't
CONTRADICTIONS = (
    # a last epoch that is the best by less than the noise says nothing
    ("noisy validation", "still improving"),
    # the validation loss has risen for good, or training is far ahead: not longer, but otherwise
    ("overfitting", "still improving"),
    ("overfitting", "underfitting"),
    ("overfitting", "unrepresentative validation"),
    ("overfitting", "validation above training"),
    # a validation loss that rises is another trouble than one that is as poor as training
    ("loss and accuracy part", "underfitting"),
    # which says itself whether it still improves, and not only to train longer
    ("underfitting", "still improving"),
    # of which the note says that nothing is wrong
    ("underfitting", "validation above training"),
)
