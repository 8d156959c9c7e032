"""What users did to a running search: acts, and what they left on trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from hpsearch.formatting import show
from hpsearch.record.shapes import Action, ActShape, parse
from hpsearch.spec import Scalar

#: acts are the attributes of the study with this prefix, numbered in the order of their taking
ACT_PREFIX = "act:"


@dataclass(frozen=True)
class Origin:
    """The trial of which a user made another by an act.

    `epochs` is the epoch whose checkpoint it goes on from, 0 where there was none; None of a clone
    with other values, which goes on from nothing.
    """

    act: str
    trial: int
    epochs: int | None = None

    @property
    def continues(self) -> bool:
        """Whether the trial is the other one, trained on."""
        return self.epochs is not None


@dataclass(frozen=True)
class Goal:
    """Until which epoch a user lets a trial train. Early stopping judges it `since` no more."""

    act: str
    epochs: int
    since: int


@dataclass(frozen=True)
class Act:
    """What a user did to a search; times are seconds since 1970.

    `at` is when the user asked, `taken_at` when the driver took it into the record. `refused` says
    why it changed nothing, where something had happened meanwhile.
    """

    id: str
    user: str
    at: float
    action: Action
    trial: int | None = None
    to_epoch: int | None = None  # extend_trial
    values: Mapping[str, Scalar] = field(default_factory=dict)  # clone_trial: by hyperparameter
    parameter: str | None = None  # narrow, with its new ends and its old ones
    low: float | None = None
    high: float | None = None
    old_low: float | None = None
    old_high: float | None = None
    taken_at: float | None = None
    refused: str | None = None

    def to_plain(self) -> dict[str, Any]:
        """Return the act as plain values, without what it has nothing of."""
        return {name: value for name, value in asdict(self).items() if value not in (None, {})}

    @property
    def told(self) -> str:
        """What was done, in words: `clone of trial 12 with optimizer.lr=0.01`."""
        values = ", ".join(f"{name}={show(value)}" for name, value in self.values.items())
        return {
            "stop_trial": f"stop of trial {self.trial}",
            "extend_trial": f"trial {self.trial} to epoch {self.to_epoch}",
            "clone_trial": f"clone of trial {self.trial} with {values}",
            "narrow": f"{self.parameter} {self._range}",
            "pause": "pause",
            "go_on": "end of the pause",
        }[self.action]

    @property
    def _range(self) -> str:
        ends = {"from": self.low, "to": self.high}
        told = " ".join(f"{word} {show(end)}" for word, end in ends.items() if end is not None)
        if self.old_low is None or self.old_high is None:  # the driver hasn't taken it yet
            return told
        return f"{told}, before {show(self.old_low)} to {show(self.old_high)}"


def read_act(plain: object, where: str) -> Act:
    """Return an act of plain values; raises RecordError."""
    return Act(**parse(ActShape, plain, where).model_dump())
