"""One trial of a search, as a worker gets it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hpsearch.spec.objectives import MEASURED

#: beside a trial's checkpoints, the folder of those that its command writes itself
FILES = "files"


@dataclass(frozen=True)
class TrialConfig:
    """All that a worker needs to train one trial; plain values, so that it travels as JSON.

    `values` holds the trial sections with each range replaced by its number; for a user's own code
    these are `space` and, if the spec has one, `launcher`. The same TrialConfig gives the same
    curve.
    """

    number: int
    seed: int
    max_epochs: int
    values: dict[str, Any]
    metric: str = ""  # the objective: what a training function must report
    other_metrics: tuple[str, ...] = ()  # of further objectives and of constraints
    trainable: str | None = None
    command: dict[str, Any] | None = None
    metrics: dict[str, Any] | None = None  # where those of a command come from
    precision: str = "fp32"
    compile: bool = False
    process_launcher: str | None = None  # what starts the `processes` of a command on each node
    processes: int = 1
    nodes: int = 1
    loader: dict[str, Any] = field(default_factory=dict)  # how Datasets are read
    cpu: int = 1  # on each node, as `gpu`
    gpu: float = 0.0
    device_type: str | None = None  # what the spec names
    folder: str = "."
    code: str | None = None  # the folder of the copy that it is imported from
    checkpoint_every: int | None = None  # epochs; None: by the clock
    checkpoint_at: tuple[int, ...] = ()  # epochs after which the trial may be paused
    copied_epochs: int = 0  # those of its first checkpoint, which is another trial's
    copied_values: dict[str, Any] | None = None  # the `values` of that trial
    draws_of: int | None = None  # the trial that it continues, and whose random draws it makes

    @property
    def stream(self) -> int:
        """The number of the trial whose random draws it makes."""
        return self.number if self.draws_of is None else self.draws_of

    @property
    def measured(self) -> tuple[str, ...]:
        """What is measured of the trial, as an objective or a constraint asks."""
        return tuple(name for name in MEASURED if name in (self.metric, *self.other_metrics))

    @property
    def is_own_code(self) -> bool:
        """Whether the trial is a training function or a script of the user's."""
        return self.trainable is not None or self.command is not None

    @property
    def stop_grace(self) -> float:
        """Seconds that its command has to end after a request to; 0 for all others."""
        grace: float = self.command["stop_grace"] if self.command is not None else 0.0
        return grace

    @property
    def device(self) -> str:
        """Where the trial trains: what the spec says, or a GPU if it asks for one."""
        return self.device_type or ("cuda" if self.gpu > 0 else "cpu")
