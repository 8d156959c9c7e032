"""How a trial ends."""

from __future__ import annotations

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

    @property
    def is_bad_configuration(self) -> bool:
        """Whether the configuration is to blame, so that the sampler should avoid its like."""
        return self in (Outcome.DIVERGED, Outcome.OUT_OF_MEMORY, Outcome.BAD_CONFIGURATION)
