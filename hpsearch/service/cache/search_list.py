"""Lists of searches as JSON, for many clients that poll."""

from __future__ import annotations

import json
from typing import Any

from hpsearch.service.cache.cache import Cache
from hpsearch.service.database.search_lists import Filter
from hpsearch.service.database.search_table import SearchTable
from hpsearch.service.summaries import finite

#: searches whose JSON is held in memory, each of a kilobyte or less
MAX_KEPT = 20_000


class SearchListCache:
    """Makes the JSON of a search once for each change of it; may be used from many threads."""

    def __init__(self, table: SearchTable) -> None:
        self._table = table
        self._kept: Cache[str, str] = Cache(MAX_KEPT)  # name → its JSON; stamp: when it changed

    def page(self, wanted: Filter, limit: int, offset: int) -> bytes:
        """Return some searches, the newest first, and how many there are in all."""
        changes, total = self._table.changes(wanted, limit, offset)
        found = {name: self._kept.find(name, at) for name, at in changes.items()}
        for row in self._table.shown([name for name in found if found[name] is None]):
            name, made = row["name"], to_json(row)
            self._kept.keep(name, made, changes[name])
            found[name] = made
        searches = ",".join(filter(None, found.values()))  # without one that was just removed
        return f'{{"searches":[{searches}],"total":{total}}}'.encode("ascii")


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
