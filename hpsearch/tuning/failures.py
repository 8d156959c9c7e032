"""Whether a search is broken: its newest trials all fail alike."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from hpsearch.outcome import Outcome
from hpsearch.record import TrialRecord


def common_failure(
    trials: Sequence[TrialRecord], number: int, since: float | None = None
) -> str | None:
    """Return why, if the last `number` trials that ended all failed in the same way.

    Those count that ended after `since`, seconds since 1970, and that no user stopped.
    """
    ended = [trial for trial in trials if _counts(trial, since)]
    newest = heapq.nlargest(number, ended, key=lambda trial: (trial.ended_at, trial.number))
    if len(newest) < number or any(trial.outcome is not Outcome.FAILED for trial in newest):
        return None
    if len({None if trial.error is None else trial.error.key for trial in newest}) != 1:
        return None
    which = "first" if len(ended) == number else "last"
    return f"the {which} {number} trials all failed: {newest[-1].reason}"


def _counts(trial: TrialRecord, since: float | None) -> bool:
    if trial.outcome in (None, Outcome.CANCELLED, Outcome.STOPPED_BY_USER):
        return False
    if trial.ended_at is None:
        return False
    return since is None or trial.ended_at > since
