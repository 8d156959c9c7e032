"""What a trial reports to the control loop."""

from __future__ import annotations

import dataclasses

from hpsearch.outcome import CheckWarning, Outcome, RaisedError


@dataclasses.dataclass(frozen=True)
class Report:
    """What an actor says after an epoch: its metrics, or how the trial ended, or both."""

    epoch: int
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    checkpoint: str | None = None  # newest, relative to the folder of checkpoints
    outcome: Outcome | None = None
    reason: str | None = None  # of the end, in words, unless `error` says it
    error: RaisedError | None = None
    traceback: str | None = None
    is_crowded: bool = False  # it had too little memory beside others, and must be tried again
    ends_search: bool = False  # it failed by what all trials would, and must be tried again
    warnings: tuple[CheckWarning, ...] = ()  # what the trial's checks found, reported once

    @property
    def why(self) -> str | None:
        """Why the trial ended, as people read it."""
        return self.reason if self.error is None else str(self.error)


@dataclasses.dataclass(frozen=True)
class LaneReports:
    """Reports of trials by number, and how many trials their worker can take.

    `num_fused` epochs were trained by shared programs so far, `num_alone` by trials themselves,
    for `reasons` where trials were together. `speedup` is the time of a trial's step by itself
    over its share of a program's, once it is measured.
    """

    reports: tuple[tuple[int, Report], ...]
    capacity: int
    num_fused: int = 0
    num_alone: int = 0
    reasons: tuple[str, ...] = ()
    speedup: float | None = None
