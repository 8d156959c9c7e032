"""The order in which trials are shown: first by how far they got, then by their objective."""

from __future__ import annotations

from itertools import groupby

from hpsearch.record import Outcome, Record, TrialRecord

LEADERBOARD_SIZE = 10


def leaders(record: Record) -> list[TrialRecord]:
    """Return the trials that have an objective, the leading one first.

    Those that completed come first, by objective; then those that trained longest,
    so that values of different epochs are never compared.
    """
    ordered = sorted(record.trials, key=_distance, reverse=True)
    ranked: list[TrialRecord] = []
    for _, trials in groupby(ordered, key=_distance):
        ranked += record.rank(trials)
    return ranked


def _distance(trial: TrialRecord) -> tuple[bool, int]:
    completed = trial.outcome is Outcome.COMPLETED
    return completed, 0 if completed else trial.epochs
