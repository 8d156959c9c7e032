"""Why trials failed, alike ones together."""

from __future__ import annotations

from dataclasses import dataclass

from hpsearch.analysis.progress import is_failure
from hpsearch.record import Outcome, Record

_SHOWN_NUMBERS = 8


@dataclass(frozen=True)
class Failure:
    """Trials that failed for one reason; the traceback is the first one's."""

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
    groups: dict[tuple[Outcome, str], list[int]] = {}
    for trial in record.trials:
        outcome = trial.outcome
        if outcome is not None and is_failure(outcome):
            groups.setdefault((outcome, trial.reason or "unknown"), []).append(trial.number)
    found = [
        Failure(outcome, reason, tuple(numbers), record.trials[numbers[0]].traceback)
        for (outcome, reason), numbers in groups.items()
    ]
    return sorted(found, key=lambda failure: (-len(failure.numbers), failure.numbers[0]))
