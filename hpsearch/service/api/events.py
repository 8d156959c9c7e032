"""Changes of searches as server-sent events: one poll of the table for all listeners."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from hpsearch.service.database.search_table import SearchTable
from hpsearch.service.http.auth import TheUser
from hpsearch.service.http.schemas import SearchView

router = APIRouter(tags=["searches"])
INTERVAL_S = 1.0
#: changes that a slow listener may be behind before it misses some
MAX_BEHIND = 1000
#: clocks of several processes write the times of changes
CLOCK_SKEW_S = 5.0
_log = logging.getLogger(__name__)


class Feed:
    """Polls for changes while there are listeners, and sends them to all."""

    def __init__(self, table: SearchTable) -> None:
        self._table = table
        self._listeners: set[asyncio.Queue[SearchView]] = set()  # with what each has not taken yet
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
                await self._look()
            except Exception:  # such as a database that is away for a while
                _log.exception("can't read changes of searches; will retry")

    async def listen(self) -> AsyncIterator[SearchView]:
        """Yield each search that changes from now on."""
        queue: asyncio.Queue[SearchView] = asyncio.Queue(MAX_BEHIND)
        self._listeners.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._listeners.discard(queue)

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


@router.get("/events", response_class=EventSourceResponse)
async def events(request: Request, user: TheUser) -> AsyncIterator[ServerSentEvent]:
    """Stream each search that changes, as `search` events; GET the list first.

    An `end` event gives the reason why the stream ends: the token was revoked.
    """
    feed: Feed = request.app.state.feed
    yield ServerSentEvent(comment="listening")
    async for search in feed.listen():
        yield ServerSentEvent(event="search", data=search.model_dump())
