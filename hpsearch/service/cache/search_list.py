"""Lists of searches as JSON, for many clients that look again and again."""

from __future__ import annotations

import json
from typing import Any

from hpsearch.service.database.search_table import Filter, SearchTable
from hpsearch.service.summaries import finite

#: searches whose JSON is held in memory, each of a kilobyte or less
MAX_KEPT = 20_000


class Listing:
    """Makes the JSON of a search once for each change of it; may be used from many threads."""

    def __init__(self, table: SearchTable) -> None:
        self._table = table
        self._kept: dict[str, tuple[float, str]] = {}  # name → when it changed, its JSON

    def page(self, wanted: Filter, limit: int, offset: int) -> bytes:
        """Return some searches, the newest first, and how many there are in all."""
        changes, total = self._table.changes(wanted, limit, offset)
        kept = self._kept
        missing = [name for name, at in changes.items() if kept.get(name, (None,))[0] != at]
        if len(kept) + len(missing) > MAX_KEPT:
            kept = self._kept = {}
            missing = list(changes)
        for row in self._table.shown(missing):
            kept[row["name"]] = (changes[row["name"]], to_json(row))
        found = ",".join(kept[name][1] for name in changes if name in kept)  # or just removed
        return f'{{"searches":[{found}],"total":{total}}}'.encode("ascii")


def to_json(content: Any) -> str:
    """Return JSON in ASCII, whatever a user may have written.

    A number that isn't finite is null, half a character of UTF-16 is the replacement character.
    """
    try:
        told = _dumps(content)
    except ValueError:
        told = ""
    # A second time costs more, and is rare.
    return told if told and "\\ud" not in told else _dumps(_plain(content))


def _dumps(content: Any) -> str:
    return json.dumps(content, allow_nan=False, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {_plain(key): _plain(each) for key, each in value.items()}
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if not is_number or finite(value) is not None else None
