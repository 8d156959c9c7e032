"""Whether a search is broken: its first trials all fail alike."""

from __future__ import annotations

from collections.abc import Sequence

from hpsearch.outcome import Outcome
from hpsearch.record import TrialRecord


def common_failure(trials: Sequence[TrialRecord]) -> str | None:
    """Return the reason of the first that ended, if all that ended failed in the same way."""
    ended = [trial for trial in trials if trial.outcome is not None]
    if any(trial.outcome is not Outcome.FAILED for trial in ended):
        return None
    if len({None if trial.error is None else trial.error.key for trial in ended}) != 1:
        return None
    return f"the first {len(ended)} trials all failed: {ended[0].reason}"
