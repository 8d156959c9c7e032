"""What users may do: by their role, by whose a search is, and by its state."""

from __future__ import annotations

from typing import Literal, get_args

from hpsearch.errors import ConflictError, NotAllowedError
from hpsearch.service.database.search_table import ACTIVE, ENDED
from hpsearch.service.database.tokens import User

Action = Literal["stop", "resume", "extend", "repeat", "act", "delete"]
#: in which states something may be done with a search; it can be extended in any
_STATES: dict[Action, tuple[tuple[str, ...], str]] = {
    "stop": (("queued", *ACTIVE), "must be running or queued to be stopped"),
    "resume": (("stopped", "failed"), "must be stopped, failed or paused to be resumed"),
    "repeat": (("finished",), "must be finished for its best to be trained again"),
    "act": (("starting", "running"), "must be running to be acted on"),
    "delete": (("queued", *ENDED), "must have ended to be deleted"),
}


def check_may_write(user: User) -> None:
    """Raise NotAllowedError for a viewer."""
    if user.role == "viewer":
        raise NotAllowedError(f"{user.name} is a viewer, with read access only")


def check_owns(user: User, action: Action, name: str, owner: str) -> None:
    """Raise NotAllowedError unless a search is a user's own, or the user is an admin."""
    if not user.is_admin and owner != user.name:
        verb = "act on" if action == "act" else action
        raise NotAllowedError(f"{name} belongs to {owner}: only they may {verb} it")


def check_state(
    action: Action, name: str, state: str, recorded: object = None, is_paused: bool = False
) -> None:
    """Raise ConflictError where a search's state doesn't allow an action.

    `recorded` is the state in its record: a job that couldn't start fails a search that hasn't.
    """
    if action == "resume" and is_paused and state in ("starting", "running"):
        return
    if action == "resume" and state == recorded == "failed":
        raise ConflictError(f"{name} has failed: `hpsearch extend {name}` gives it more budget")
    if action in _STATES:
        states, rule = _STATES[action]
        if state not in states:
            raise ConflictError(f"{name} {rule}, but it is {state}{_hint(action, name, state)}")


def _hint(action: Action, name: str, state: str) -> str:
    """Return what to do for an act on a search that has ended."""
    if action != "act" or state not in ENDED:
        return ""
    if state == "finished":
        return f": `hpsearch extend {name}` gives it more budget"
    return f": `hpsearch resume {name}` goes on with it"


def allowed_actions(
    user: User,
    name: str,
    owner: str,
    state: str,
    recorded: object = None,
    is_paused: bool = False,
) -> tuple[Action, ...]:
    """Return what a user may do with a search now; see `check_state`."""

    def may(action: Action) -> bool:
        return _may(user, action, name, owner, (state, recorded, is_paused))

    return tuple(filter(may, get_args(Action)))


def _may(
    user: User, action: Action, name: str, owner: str, state: tuple[str, object, bool]
) -> bool:
    try:
        check_may_write(user)
        check_owns(user, action, name, owner)
        check_state(action, name, *state)
    except (NotAllowedError, ConflictError):
        return False
    return True
