"""Bodies of answers on records, made once for each version of a record."""

from __future__ import annotations

import threading
from collections.abc import Callable

from hpsearch.service.cache.cache import Cache

#: bytes that are held in memory
MAX_BYTES = 64_000_000


class ResponseCache:
    """Keeps the bodies that were asked for last; may be used from many threads."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._kept: Cache[tuple[object, ...], bytes] = Cache(max_size=max_bytes, size=len)
        self._making = threading.Lock()

    def get(self, key: tuple[object, ...], version: str, make: Callable[[], bytes]) -> bytes:
        """Return the body of a key, remade for another version of what it is made of."""

        def make_alone() -> bytes:
            with self._making:  # several at once would only delay each other, and small answers
                return make()

        return self._kept.get(key, make_alone, version)
