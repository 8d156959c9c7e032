"""What is known of a search's data, for those who read its record."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: reasons that are kept: a search may have many programs
MAX_REASONS = 8
#: of what is taken for a number of training rows
MAX_ROWS = 10**15


@dataclass(frozen=True)
class DataNotes:
    """How the data was read, and what speaks against it.

    `metrics` are the names that every trial reports where they are defined; `undefined` says of
    those that aren't why. `rows` are those of one pass over the training rows, all folds together;
    0: not known.
    """

    description: str = ""
    warnings: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    undefined: Mapping[str, str] = field(default_factory=dict)
    rows: int = 0

    @classmethod
    def read(cls, plain: Any) -> DataNotes:
        """Read notes from plain values; what isn't as it should be counts as not there."""
        found = plain if isinstance(plain, Mapping) else {}
        undefined, rows = found.get("undefined"), found.get("rows")
        return cls(
            str(found.get("description") or ""),
            _texts(found.get("warnings")),
            _texts(found.get("metrics")),
            {str(name): str(why) for name, why in undefined.items()}
            if isinstance(undefined, Mapping)
            else {},
            rows if isinstance(rows, int) and 0 < rows < MAX_ROWS else 0,
        )

    def to_plain(self) -> dict[str, Any]:
        """Return the notes as plain values."""
        return {
            "description": self.description,
            "warnings": list(self.warnings),
            "metrics": list(self.metrics),
            "undefined": dict(self.undefined),
            "rows": self.rows,
        }

    @property
    def told(self) -> tuple[str, ...]:
        """All that the user should know, a sentence each."""
        return (*self.warnings, *undefined_told(self.undefined))


@dataclass(frozen=True)
class LaneNotes:
    """How trials shared programs: epochs that were trained by one, and by trials themselves.

    `reasons` say why trials that could have shared one didn't.
    """

    num_fused: int = 0
    num_alone: int = 0
    reasons: tuple[str, ...] = ()
    #: time of a trial's step by itself over its share of a program's; None: not measured
    speedup: float | None = None

    @classmethod
    def read(cls, plain: Any) -> LaneNotes:
        """Read notes from plain values; what isn't as it should be counts as not there."""
        found = plain if isinstance(plain, Mapping) else {}
        counts = (found.get(name) for name in ("fused", "alone"))
        fused, alone = (count if isinstance(count, int) else 0 for count in counts)
        speedup = found.get("speedup")
        known = speedup if isinstance(speedup, float) and math.isfinite(speedup) else None
        return cls(fused, alone, _texts(found.get("reasons")), known)

    def to_plain(self) -> dict[str, Any]:
        """Return the notes as plain values."""
        return {
            "fused": self.num_fused,
            "alone": self.num_alone,
            "reasons": list(self.reasons),
            "speedup": self.speedup,
        }

    def with_more(
        self,
        num_fused: int,
        num_alone: int,
        reasons: Sequence[str] = (),
        speedup: float | None = None,
    ) -> LaneNotes:
        """Return the notes with more epochs, and reasons that may be known."""
        new = (reason for reason in reasons if reason not in self.reasons)
        together = (*self.reasons, *new)[:MAX_REASONS]
        counts = self.num_fused + num_fused, self.num_alone + num_alone
        return LaneNotes(*counts, together, speedup or self.speedup)

    @property
    def told(self) -> str:
        """What the user should know, in a line; empty where no trials could share a program."""
        why = "; ".join(self.reasons)
        if not self.num_fused:
            return f"trials are trained one by one: {why}" if why else ""
        share = self.num_fused / (self.num_fused + self.num_alone)
        told = f"{share:.0%} of the epochs were trained by programs of several trials"
        if self.speedup is not None:
            told += f", {self.speedup:.1f} times as fast a step as one by one"
        return f"{told}; others one by one: {why}" if why else told


@dataclass(frozen=True)
class OutlookNote:
    """What further trials would bring when that was last asked: the mean improvement of the
    objective, and the probability that it is below `stop_when.improvement_below`.

    `num_ended` trials had ended; of the forecasts after each of them the last `num_agreeing` had a
    probability of `stop_when.probability` or more.
    """

    num_trials: int
    expected: float
    probability: float
    num_ended: int = 0
    num_agreeing: int = 0

    def told(self, direction: str) -> str:
        """Return it in words.

        >>> OutlookNote(40, 0.0004, 0.91).told("maximize")
        'another 40 trials: expected +0.0004'
        """
        trials = "trial" if self.num_trials == 1 else "trials"
        sign = "+" if direction == "maximize" else "-"
        return f"another {self.num_trials} {trials}: expected {sign}{self.expected:.2g}"


@dataclass(frozen=True)
class LrCurve:
    """The loss of one range test at each learning rate, (steps,) each.

    `settings` are what was set for it: `batch_size`, and another keyword of the optimizer.
    """

    settings: Mapping[str, int | float | str]
    rates: tuple[float, ...]
    losses: tuple[float, ...]


@dataclass(frozen=True)
class LrRangeNote:
    """What range tests found for the learning rate of an optimizer.

    `name` is that of the hyperparameter, `low` and `high` are the range that is searched. Not
    `is_found`: the tests found none, the spec's stays, and `message` says why.
    """

    name: str
    low: float
    high: float
    is_found: bool
    message: str
    curves: tuple[LrCurve, ...] = ()

    def __str__(self) -> str:
        """`optimizer.lr: 0.003 to 0.2 by range test: the loss falls fastest …`."""
        how = "by range test" if self.is_found else "as in the spec"
        return f"{self.name}: {self.low:.4g} to {self.high:.4g} {how}: {self.message}"


def undefined_told(undefined: Mapping[str, str]) -> list[str]:
    """Say which metrics aren't reported and why, those with one reason together.

    >>> undefined_told({"val_f1": "why", "val_auc": "why"})
    ['val_f1, val_auc: not reported, because why']
    """
    by_reason: dict[str, list[str]] = {}
    for name, why in undefined.items():
        by_reason.setdefault(why, []).append(name)
    return [f"{', '.join(names)}: not reported, because {why}" for why, names in by_reason.items()]


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list | tuple) else ()
