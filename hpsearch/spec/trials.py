"""One trial of a search, as a worker gets it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TrialConfig:
    """All that a worker needs to train one trial; plain values, so that it travels as JSON.

    `values` holds the trial sections with each range replaced by its number; for a training
    function these are `space` and, if the spec has one, `launcher`. The same TrialConfig gives the
    same curve.
    """

    number: int
    seed: int
    max_epochs: int
    values: dict[str, Any]
    metric: str = ""  # the objective: what a training function must report
    trainable: str | None = None
    precision: str = "fp32"
    compile: bool = False
    cpu: int = 1
    gpu: float = 0.0
    folder: str = "."
    checkpoint_every: int | None = None  # epochs; None: by the clock
    checkpoint_at: tuple[int, ...] = ()  # epochs after which the trial may be paused

    @property
    def device(self) -> str:
        """Where the trial trains: a GPU only if it asks for one."""
        return "cuda" if self.gpu > 0 else "cpu"
