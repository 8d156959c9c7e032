"""The trials that a trial's weights came through: those whose checkpoints were copied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpsearch.record.trials import TrialRecord


@dataclass(frozen=True)
class Stretch:
    """Epochs, both included, that weights were trained in one trial, by its hyperparameters."""

    trial: TrialRecord
    first: int
    last: int


def lineage(trials: Sequence[TrialRecord], trial: TrialRecord) -> list[Stretch]:
    """Return where a trial's weights were trained, from the first epoch to its newest.

    One that was never copied has one stretch, and one that has trained nothing none of its own.
    """
    found = []
    last = trial.epochs
    while True:
        if trial.first_epoch <= last:
            found.append(Stretch(trial, trial.first_epoch, last))
        origin = trial.copied_from
        if origin is None or not origin.trial < min(trial.number, len(trials)):
            return found[::-1]
        trial, last = trials[origin.trial], origin.epoch
