"""How trials ended, alike ones together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hpsearch.formatting import show_outcome
from hpsearch.record import Outcome, Record, TrialRecord


@dataclass(frozen=True)
class Ending:
    """Trials that ended alike: how many, and how many epochs they trained together."""

    label: str
    trials: int
    epochs: int


def endings(record: Record) -> list[Ending]:
    """Return how the trials ended: the full budget first, what still runs last."""
    order = (*Outcome, None)
    ordered = sorted(_by_kind(record.trials), key=lambda trial: order.index(trial.outcome))
    return _grouped((ending_label(trial), trial) for trial in ordered)


def completed(record: Record) -> list[Ending]:
    """Return how the trials that completed ended: the full budget first."""
    return _grouped((_kind(trial), trial) for trial in _by_kind(record.ranked()))


def ending_label(trial: TrialRecord) -> str:
    """Return how a trial ended, in words; of a completed one, whether it ended itself.

    >>> ending_label(TrialRecord(0, {}, {}, 0.0, outcome=Outcome.COMPLETED))
    'completed: full budget'
    >>> ending_label(TrialRecord(0, {}, {}, 0.0, outcome=Outcome.COMPLETED, note="returned"))
    'completed: ended itself, returned'
    """
    label = show_outcome(trial.outcome)
    return f"{label}: {_kind(trial)}" if trial.outcome is Outcome.COMPLETED else label


def _by_kind(trials: Iterable[TrialRecord]) -> list[TrialRecord]:
    return sorted(trials, key=lambda trial: (trial.ended_itself, _kind(trial)))


def _kind(trial: TrialRecord) -> str:
    return f"ended itself, {trial.reason}" if trial.ended_itself else "full budget"


def _grouped(labelled: Iterable[tuple[str, TrialRecord]]) -> list[Ending]:
    epochs: dict[str, list[int]] = {}
    for label, trial in labelled:
        epochs.setdefault(label, []).append(len(trial.curve))
    return [Ending(label, len(each), sum(each)) for label, each in epochs.items()]
