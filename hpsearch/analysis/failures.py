"""Why trials failed, alike ones together."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from hpsearch.analysis.progress import is_failure
from hpsearch.record import Outcome, Record, TrialRecord

_SHOWN_NUMBERS = 8


@dataclass(frozen=True)
class Failure:
    """Trials that ended alike; the reason and the traceback are the first one's."""

    outcome: Outcome
    reason: str
    numbers: tuple[int, ...]
    traceback: str | None

    @property
    def shown_numbers(self) -> str:
        """The first of the trials' numbers."""
        shown = ", ".join(map(str, self.numbers[:_SHOWN_NUMBERS]))
        return f"{shown}, …" if len(self.numbers) > _SHOWN_NUMBERS else shown


def failures(record: Record) -> list[Failure]:
    """Return the reasons for which trials failed, the most frequent first."""
    found = alike(trial for trial in record.trials if is_failure(trial.outcome))
    return sorted(found, key=lambda failure: (-len(failure.numbers), failure.numbers[0]))


def alike(trials: Iterable[TrialRecord]) -> list[Failure]:
    """Return the ways in which trials ended, in the order of the first ones.

    Errors of one type and line are alike, whatever their messages; else the reasons must be equal.
    """
    groups: dict[Hashable, list[TrialRecord]] = {}
    for trial in trials:
        if trial.outcome is not None:
            groups.setdefault(_kind(trial), []).append(trial)
    return [_failure(group) for group in groups.values()]


def _kind(trial: TrialRecord) -> Hashable:
    has_line = trial.error is not None and trial.error.file is not None
    return trial.outcome, trial.error.key if trial.error and has_line else trial.reason


def _failure(group: list[TrialRecord]) -> Failure:
    first, numbers = group[0], tuple(trial.number for trial in group)
    assert first.outcome is not None
    return Failure(first.outcome, first.reason or "reason unknown", numbers, first.traceback)
