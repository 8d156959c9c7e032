"""What the search needs of a trainer, whoever wrote the training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from hpsearch.outcome import CheckWarning
from hpsearch.training.trainer import Trainer


class AfterLastEpochError(Exception):
    """Raised for an error after the last epoch, whose metrics stand; the error is its cause."""

    def __init__(self, metrics: dict[str, float], error: Exception) -> None:
        super().__init__(str(error))
        self.metrics, self.error = metrics, error


class EpochTrainer(Protocol):
    """Trains one trial, an epoch at a time; two epochs and two more are four, bit for bit."""

    @property
    def epoch(self) -> int:
        """Epochs trained so far."""

    @property
    def end_reason(self) -> str:
        """What ended the training before its budget."""

    def train_epoch(self) -> dict[str, float] | None:
        """Train an epoch and return its metrics; None where the training has ended itself."""

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next epoch depends on."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state_dict` gave."""

    def close(self) -> None:
        """Let go of what is open."""


@runtime_checkable
class WarningTrainer(Protocol):
    """A trainer that finds what its user should know of the trial, and that doesn't end it."""

    def take_warnings(self) -> list[CheckWarning]:
        """Return what was found since the last call."""


class ModelTrainer(EpochTrainer, Protocol):
    """Trains the model of a spec's sections, once or once a fold."""

    @property
    def trainers(self) -> Sequence[Trainer]:
        """The trainer of each fold; the trainer alone where there are no folds."""

    def combined(self, metrics: Sequence[dict[str, float] | None]) -> dict[str, float] | None:
        """Return what an epoch reports whose `trainers` have these metrics, trained one by one or
        with those of other trials; None where the training of all has ended."""

    def load_weights(self, state: Mapping[str, Any]) -> None:
        """Load the part of a state that evaluation needs: an optimizer takes seconds to make."""

    def final(self) -> Trainer:
        """Return the trainer of the model to export, trained in full; after `load_weights`."""
