"""A user asks for an act, and hears what became of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from hpsearch.acts.checks import check_act
from hpsearch.acts.requests import pending, request
from hpsearch.errors import ConflictError
from hpsearch.record import Act, Record
from hpsearch.runs import SearchFolder

#: seconds that a user waits for a driver, and between two looks at its record
WAIT_S, POLL_S = 10.0, 0.2


def ask(folder: SearchFolder, user: str, **what: Any) -> dict[str, Any]:
    """Ask the driver of a search on this machine for an act; returns it as plain values.

    Where no driver works on the search, or it is busy, the act waits. Raises ConflictError where
    the driver refuses it, and what `check_act` raises.
    """
    record = folder.open_record()
    check_act(record, Act("", user, time.time(), **what))
    act = request(folder, user, **what)
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline and (folder.is_driven() or _is_taken(folder, act)):
        record.refresh()
        found = next((each for each in record.acts if each.id == act.id), None)
        if found is not None and found.refused is not None:
            raise ConflictError(found.refused)
        if found is not None and _is_done(record, found):
            return plain_act(record, found)
        time.sleep(POLL_S)
    return plain_act(record, act)


def plain_acts(record: Record, waiting: Iterator[Act]) -> list[dict[str, Any]]:
    """Return the acts of a record, and those that wait for its driver, oldest first."""
    known = {act.id for act in record.acts}
    acts = [*record.acts, *(act for act in waiting if act.id not in known)]
    return [plain_act(record, act) for act in acts]


def plain_act(record: Record, act: Act) -> dict[str, Any]:
    """Return an act as plain values: with what it says, its state, and the trial that it made."""
    state = "refused" if act.refused is not None else "waiting"
    state = "done" if act.taken_at is not None and _is_done(record, act) else state
    shown = {"told": act.told, "state": state, "made": _made(record, act)}
    return {"refused": None, "taken_at": None, **act.to_plain(), **shown}


def _made(record: Record, act: Act) -> int | None:
    return next((t.number for t in record.trials if t.origin and t.origin.act == act.id), None)


def _is_done(record: Record, act: Act) -> bool:
    """Whether what an act of the record changes has been written too."""
    if act.refused is not None or act.trial is None:
        return act.refused is None
    if act.trial >= len(record.trials):  # of a record that users' code wrote
        return False
    trial = record.trials[act.trial]
    if act.action == "stop_trial":
        return trial.outcome is not None
    if _made(record, act) is not None:
        return True
    is_wanted = trial.goal is not None and trial.goal.epochs >= (act.to_epoch or 0)
    return act.action == "extend_trial" and is_wanted


def _is_taken(folder: SearchFolder, act: Act) -> bool:
    return all(each.id != act.id for each in pending(folder))
