"""How a trial ends, and what is known of why: fields, of which `str` makes a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Outcome(StrEnum):
    """The end of a trial; each means one thing to Optuna (`record`) and to MLflow (`tracking`)."""

    COMPLETED = "completed"  # full budget, or it ended itself; only these compete for best
    STOPPED_EARLY = "stopped_early"  # by early stopping or a budget: a lower-fidelity result
    DIVERGED = "diverged"  # first non-finite loss or metric
    OUT_OF_MEMORY = "out_of_memory"  # alone on its device
    BAD_CONFIGURATION = "bad_configuration"  # found by the trial itself
    FAILED = "failed"  # an exception in user code: a bug
    CANCELLED = "cancelled"  # the user stopped the search
    STOPPED_BY_USER = "stopped_by_user"  # the user stopped this trial: a lower-fidelity result

    @property
    def is_bad_configuration(self) -> bool:
        """Whether the configuration is to blame, so that the sampler should avoid its like."""
        return self in (Outcome.DIVERGED, Outcome.OUT_OF_MEMORY, Outcome.BAD_CONFIGURATION)


@dataclass(frozen=True)
class DefaultResult:
    """What came of the default configuration: in which search and trial, how that ended (None: it
    runs), and the objective after each epoch."""

    search: str
    trial: int
    outcome: Outcome | None
    values: Mapping[int, float]


@dataclass(frozen=True)
class StoppedBy:
    """The rule of early stopping that ended a trial, at which epoch, and by which numbers."""

    rule: str
    rung: int
    numbers: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        """`asha at epoch 3 (score 0.41, threshold 0.52, trials 12)`."""
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in self.numbers.items())
        return f"{self.rule} at epoch {self.rung}" + (f" ({numbers})" if numbers else "")


@dataclass(frozen=True)
class RaisedError:
    """The exception that ended a trial: its type, its message, and the line that raised it."""

    type: str
    message: str
    file: str | None = None
    line: int | None = None
    function: str | None = None

    def __str__(self) -> str:
        """`ValueError: no such column`."""
        return f"{self.type}: {self.message}" if self.message else self.type

    @property
    def key(self) -> tuple[str, str | None, int | None]:
        """What errors that are alike have in common: the type and the line."""
        return self.type, self.file, self.line


@dataclass(frozen=True)
class CopiedFrom:
    """Where a member of a population began: the checkpoint of another trial after an epoch, in
    the place of the member that it `replaces`."""

    trial: int
    epoch: int
    replaces: int

    def __str__(self) -> str:
        """`trial 3 at epoch 6, in place of trial 5`."""
        return f"trial {self.trial} at epoch {self.epoch}, in place of trial {self.replaces}"


@dataclass(frozen=True)
class CheckWarning:
    """What a check of a trial found that did not end it."""

    check: str
    message: str
    severity: str = "warning"

    def __str__(self) -> str:
        """`loss_at_init: warning: first loss 9.2, a uniform guess has 2.3`."""
        return f"{self.check}: {self.severity}: {self.message}"
