"""Acts that wait for their driver: a file each in the folder `acts` of a search.

A file is there whole or not at all, and stays until the record has the act, so that a driver that
dies in between finds it again.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from hpsearch.errors import RecordError, UnsafeFileError
from hpsearch.record import Act
from hpsearch.record.acts import read_act
from hpsearch.runs import SearchFolder
from hpsearch.untrusted_files import (
    create_file,
    open_regular,
    regular_files,
    remove_below,
)

#: bytes of a request; a clone names a few values
MAX_BYTES = 20_000
_log = logging.getLogger(__name__)


def request(folder: SearchFolder, user: str, **what: Any) -> Act:
    """Ask the driver of a search for an act; returns it. `what` are fields of Act."""
    act = Act(_new_id(), user, time.time(), **what)
    content = json.dumps(act.to_plain()).encode()
    create_file(
        folder.path.parent, folder.name, folder.acts.name, f"{act.id}.json", content=content
    )
    return act


def pending(folder: SearchFolder) -> Iterator[Act]:
    """Yield the acts that no driver has taken, oldest first; what is none is removed."""
    for act_id in _ids(folder):
        try:
            yield _read(folder, act_id)
        except FileNotFoundError:
            continue
        except (RecordError, UnsafeFileError, ValueError, RecursionError) as error:
            _log.warning("%s: request %s removed: %s", folder.name, act_id, error)
            withdraw(folder, act_id)


def withdraw(folder: SearchFolder, act_id: str) -> None:
    """Remove a request; that it is gone is no error."""
    with suppress(FileNotFoundError):
        remove_below(folder.path.parent, folder.name, folder.acts.name, f"{act_id}.json")


def _ids(folder: SearchFolder) -> list[str]:
    try:
        found = list(regular_files(folder.path.parent, folder.name, folder.acts.name))
    except FileNotFoundError:
        return []
    return [path[0].removesuffix(".json") for path in found if path[0].endswith(".json")]


def _read(folder: SearchFolder, act_id: str) -> Act:
    with open_regular(folder.path.parent, folder.name, folder.acts.name, f"{act_id}.json") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError("it is too large")
    act = read_act(json.loads(content), f"request {act_id}")
    if act.id != act_id:
        raise ValueError("it is another act's")
    return act


def _new_id() -> str:
    """Return an id that sorts by time."""
    return f"{time.time_ns():020d}-{secrets.token_hex(4)}"
