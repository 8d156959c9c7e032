"""What users may do: by their role, by whose a search is, and by its state."""

from __future__ import annotations

from typing import Literal, get_args

from hpsearch.errors import ConflictError, NotAllowedError
from hpsearch.service.database.search_table import ACTIVE, ENDED
from hpsearch.service.database.tokens import User

Action = Literal["stop", "resume", "extend", "delete"]
#: in which states something may be done with a search; it can be extended in any
_STATES: dict[Action, tuple[tuple[str, ...], str]] = {
    "stop": (("queued", *ACTIVE), "must be running or queued to be stopped"),
    "resume": (("stopped", "failed"), "must be stopped or failed to be resumed"),
    "delete": (("queued", *ENDED), "must have ended to be deleted"),
}


def check_may_write(user: User) -> None:
    """Raise NotAllowedError for a viewer."""
    if user.role == "viewer":
        raise NotAllowedError(f"{user.name} is a viewer, with read access only")


def check_owns(user: User, action: Action, name: str, owner: str) -> None:
    """Raise NotAllowedError unless a search is a user's own, or the user is an admin."""
    if not user.is_admin and owner != user.name:
        raise NotAllowedError(f"{name} belongs to {owner}: only they may {action} it")


def check_state(action: Action, name: str, state: str, recorded: object = None) -> None:
    """Raise ConflictError where a search's state doesn't allow an action.

    `recorded` is the state in its record: a job that couldn't start fails a search that hasn't.
    """
    if action == "resume" and state == recorded == "failed":
        raise ConflictError(f"{name} has failed: `hpsearch extend {name}` gives it more budget")
    if action in _STATES:
        states, rule = _STATES[action]
        if state not in states:
            raise ConflictError(f"{name} {rule}, but it is {state}")


def allowed_actions(
    user: User, name: str, owner: str, state: str, recorded: object = None
) -> tuple[Action, ...]:
    """Return what a user may do with a search now; see `check_state`."""

    def may(action: Action) -> bool:
        return _may(user, action, name, owner, state, recorded)

    return tuple(filter(may, get_args(Action)))


def _may(user: User, action: Action, name: str, owner: str, state: str, recorded: object) -> bool:
    try:
        check_may_write(user)
        check_owns(user, action, name, owner)
        check_state(action, name, state, recorded)
    except (NotAllowedError, ConflictError):
        return False
    return True
