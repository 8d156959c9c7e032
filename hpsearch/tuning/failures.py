"""Whether a search is broken: its first trials all fail alike."""

from __future__ import annotations

from collections.abc import Sequence

from hpsearch.outcome import Outcome
from hpsearch.record import TrialRecord


def common_failure(trials: Sequence[TrialRecord]) -> str | None:
    """Return the reason of the first that ended, if all that ended failed in the same way."""
    ended = [trial for trial in trials if trial.outcome is not None]
    failures = {_failure(trial) for trial in ended}
    if len(failures) != 1 or None in failures:
        return None
    return f"the first {len(ended)} trials all failed: {ended[0].reason}"


def _failure(trial: TrialRecord) -> str | None:
    """What two trials that fail alike have in common: the exception's type and its place."""
    if trial.outcome is not Outcome.FAILED:
        return None
    places = [line for line in (trial.traceback or "").splitlines() if line.startswith('  File "')]
    return f"{(trial.reason or '').partition(':')[0]} {places[-1:]}"
