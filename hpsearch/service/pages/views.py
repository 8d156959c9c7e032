"""What templates know of a search in the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpsearch.service.database.search_table import ACTIVE, ENDED
from hpsearch.service.database.tokens import User
from hpsearch.service.permissions import allowed_actions


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
        row = self.row
        recorded = self.summary.get("state")
        allowed = allowed_actions(self.user, row["name"], row["owner"], row["state"], recorded)
        is_ending = row["desired"] not in ("queued", "running")  # it has been asked to stop
        return tuple(action for action in allowed if not (action == "stop" and is_ending))


def states(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the number of searches in each state, those that may still change first."""
    return {state: counts.get(state, 0) for state in ("queued", *ACTIVE, *ENDED)}
