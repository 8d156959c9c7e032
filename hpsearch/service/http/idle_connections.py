"""Closes connections of clients that send no request: each would hold a descriptor for ever."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterable
from typing import Any

#: seconds that a client has for the head of a request
HEAD_S = 20.0


def raise_limit() -> None:
    """Let this process have as many connections and files as the system allows it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class IdleConnections:
    """Closes uvicorn's connections on which no request has begun for a while."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: the last request of each idle connection, None before the first, and when it was seen
        self._idle: dict[Any, tuple[Any, float]] = {}

    def close_old(self, connections: Iterable[Any]) -> None:
        """Look at all connections; to be called again and again."""
        now, idle = self._clock(), {}
        for each in list(connections):
            if each.cycle is None or each.cycle.response_complete:
                last, since = self._idle.get(each, (each.cycle, now))
                idle[each] = (each.cycle, since if last is each.cycle else now)
                if now - idle[each][1] > HEAD_S:
                    each.transport.close()
        self._idle = idle
