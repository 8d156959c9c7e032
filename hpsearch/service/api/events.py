"""Changes of searches as server-sent events: one look at the table for all who listen."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable

from fastapi import APIRouter, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from hpsearch.errors import NotAuthenticatedError
from hpsearch.service.api.auth import TheUser
from hpsearch.service.api.models import SearchView
from hpsearch.service.table import SearchTable

router = APIRouter(tags=["searches"])
INTERVAL_S = 1.0
#: changes that a slow listener may be behind before it misses some
MAX_BEHIND = 1000
#: seconds between two looks at whether listeners may still listen
CHECK_S = 5.0
#: clocks of several processes write the times of changes
CLOCK_SKEW_S = 5.0
_log = logging.getLogger(__name__)
#: raises NotAuthenticatedError once a listener's token was revoked or their session ended
Check = Callable[[], object]
#: what a listener has not taken yet; None is the end
_Queue = asyncio.Queue[SearchView | None]


class Feed:
    """Looks for changes while anybody listens, and tells all listeners."""

    def __init__(self, table: SearchTable) -> None:
        self._table = table
        self._listeners: dict[_Queue, Check] = {}
        self._checked_at = 0.0
        self._told: dict[str, float] = {}
        self._since = time.time()

    async def run(self) -> None:
        """Look again and again, until it is cancelled."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            if not self._listeners:
                self._since = time.time()
                continue
            try:
                await self._dismiss()
                await self._look()
            except Exception:  # such as a database that is away for a while
                _log.exception("changes of searches can't be read now")

    async def listen(self, check: Check) -> AsyncIterator[SearchView]:
        """Yield each search that changes from now on, while the check raises nothing."""
        queue: _Queue = asyncio.Queue(MAX_BEHIND)
        self._listeners[queue] = check
        try:
            while (search := await queue.get()) is not None:
                yield search
        finally:
            self._listeners.pop(queue, None)

    async def _dismiss(self) -> None:
        """End the streams of those who may no longer listen."""
        if time.monotonic() - self._checked_at < CHECK_S:
            return
        self._checked_at = time.monotonic()
        for queue in await run_in_threadpool(_not_allowed, dict(self._listeners)):
            self._listeners.pop(queue, None)
            while not queue.empty():
                queue.get_nowait()
            queue.put_nowait(None)

    async def _look(self) -> None:
        rows = await run_in_threadpool(self._table.changed_since, self._since - CLOCK_SKEW_S)
        for row in rows:
            if self._told.get(row.name) == row.changed_at:
                continue
            self._told[row.name] = row.changed_at
            self._since = max(self._since, row.changed_at)
            for queue in self._listeners:
                if not queue.full():
                    queue.put_nowait(SearchView.of(row))


def _not_allowed(listeners: dict[_Queue, Check]) -> list[_Queue]:
    found = []
    for queue, check in listeners.items():
        try:
            check()
        except NotAuthenticatedError:
            found.append(queue)
    return found


@router.get("/events", response_class=EventSourceResponse)
async def events(request: Request, user: TheUser) -> AsyncIterator[ServerSentEvent]:
    """Stream each search that changes, as `search` events; GET the list first."""
    feed: Feed = request.app.state.feed
    yield ServerSentEvent(comment="listening")
    async for search in feed.listen(request.state.check):
        yield ServerSentEvent(event="search", data=search.model_dump())
