"""What templates know of a search in the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpsearch.service.table import ACTIVE, ENDED
from hpsearch.service.tokens import User


@dataclass(frozen=True)
class ShownSearch:
    """A search, as one user sees it; `row` has what lists of the API have."""

    row: Mapping[str, Any]
    user: User

    @property
    def summary(self) -> dict[str, Any]:
        """The numbers of its record, as the reconciler last saw them; few before it starts."""
        summary: dict[str, Any] = self.row["summary"]
        return summary

    @property
    def is_active(self) -> bool:
        """Whether it runs, or is about to or to end."""
        return self.row["state"] in ACTIVE

    @property
    def best(self) -> tuple[float, str] | None:
        """The best value, or before there is one the leading one, and what to say of it."""
        if (value := self.summary.get("best_value")) is not None:
            return value, ""
        if (value := self.summary.get("leader_value")) is not None:
            return value, f"after {self.summary.get('leader_epochs') or 'some'} epochs"
        return None

    @property
    def actions(self) -> tuple[str, ...]:
        """What the user may do with it now."""
        may_write = self.user.role != "viewer"
        if not may_write or not (self.user.is_admin or self.row["owner"] == self.user.name):
            return ()
        possible = {
            "stop": self.row["state"] not in ENDED
            and self.row["desired"] in ("queued", "running"),
            "resume": self.row["state"] in ("stopped", "failed"),
            "extend": True,
            "delete": self.row["state"] in (*ENDED, "queued"),
        }
        return tuple(action for action, is_possible in possible.items() if is_possible)


def states(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the number of searches in each state, those that may still change first."""
    return {state: counts.get(state, 0) for state in ("queued", *ACTIVE, *ENDED)}
