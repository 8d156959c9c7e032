"""What a trial reports to the control loop."""

from __future__ import annotations

import dataclasses

from hpsearch.outcome import Outcome


@dataclasses.dataclass(frozen=True)
class Report:
    """What an actor says after an epoch: its metrics, or how the trial ended, or both."""

    epoch: int
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    checkpoint: str | None = None  # newest, relative to the folder of checkpoints
    outcome: Outcome | None = None
    reason: str | None = None
    traceback: str | None = None
    warnings: tuple[str, ...] = ()  # what the trial's checks found, told once
