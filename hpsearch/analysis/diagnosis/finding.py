"""What a rule finds in a trial's curves."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Diagnosis:
    """One thing that curves say: `message` with its numbers, `advice` as a change of the spec.

    A fault is worth a change; a note isn't.
    """

    name: str
    message: str
    advice: str
    epoch: int | None = None
    is_fault: bool = True

    def __str__(self) -> str:
        """`overfitting: validation loss …; try …`."""
        return f"{self.name}: {self.message}; {self.advice}"
