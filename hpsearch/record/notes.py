"""What is known of a search's data, for those who read its record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class DataNotes:
    """How the data was read, and what speaks against it.

    `metrics` are the names that every trial reports where they are defined; `undefined` says of
    those that aren't why.
    """

    description: str = ""
    warnings: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    undefined: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, plain: Any) -> DataNotes:
        """Read notes from plain values; what isn't as it should be counts as not there."""
        found = plain if isinstance(plain, Mapping) else {}
        undefined = found.get("undefined")
        return cls(
            str(found.get("description") or ""),
            _texts(found.get("warnings")),
            _texts(found.get("metrics")),
            {str(name): str(why) for name, why in undefined.items()}
            if isinstance(undefined, Mapping)
            else {},
        )

    def to_plain(self) -> dict[str, Any]:
        """Return the notes as plain values."""
        return {
            "description": self.description,
            "warnings": list(self.warnings),
            "metrics": list(self.metrics),
            "undefined": dict(self.undefined),
        }

    @property
    def told(self) -> tuple[str, ...]:
        """All that the user should know, a sentence each."""
        return (*self.warnings, *undefined_told(self.undefined))


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
