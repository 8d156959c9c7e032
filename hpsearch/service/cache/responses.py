"""Bodies of answers on records, made once for each state of a record."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

#: bytes that are held in memory
MAX_BYTES = 64_000_000


class Answers:
    """Keeps what was asked for last; may be used from many threads."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[tuple[object, ...], bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._making = threading.Lock()

    def get(self, key: tuple[object, ...], make: Callable[[], bytes]) -> bytes:
        """Return what was made for a key, which names the version of what it is made of."""
        kept = self._find(key)
        if kept is not None:
            return kept
        with self._making:  # many at once would only hold each other up, and small answers too
            kept = self._find(key)
            if kept is None:
                kept = make()
                self._keep(key, kept)
            return kept

    def _find(self, key: tuple[object, ...]) -> bytes | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def _keep(self, key: tuple[object, ...], made: bytes) -> None:
        with self._lock:
            self._kept[key] = made
            self._bytes += len(made)
            while self._bytes > self._max_bytes:
                _, dropped = self._kept.popitem(last=False)
                self._bytes -= len(dropped)
