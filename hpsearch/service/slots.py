"""What users share, so that one of them can't keep others waiting."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, defaultdict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hpsearch.errors import TooManyRequestsError


class UserSlots:
    """Slots that each user has of their own; who has none left waits, without a thread."""

    def __init__(self, slots: int) -> None:
        self._of = defaultdict[str, asyncio.Semaphore](lambda: asyncio.Semaphore(slots))

    @asynccontextmanager
    async def of(self, user: str) -> AsyncIterator[None]:
        """Wait for a slot of a user and hold it."""
        async with self._of[user]:
            yield


class FairSlots:
    """Slots of which each user has one at a time; users take turns, in the order they came.

    For the tasks of one event loop at a time.
    """

    def __init__(self, slots: int, max_waiting: int, what: str) -> None:
        self._free = slots
        self._max_waiting = max_waiting
        self._what = what
        self._busy: set[str] = set()
        #: waiting users, the next one first, with a future for each of their requests
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def of(self, user: str) -> AsyncIterator[None]:
        """Wait for a slot and hold it; raises TooManyRequestsError where too many of a user's
        wait already."""
        await self._take(user)
        try:
            yield
        finally:
            self._give_back(user)

    async def _take(self, user: str) -> None:
        queue = self._waiting.setdefault(user, deque())
        if len(queue) >= self._max_waiting:
            rule = f"{user} has {len(queue)} {self._what} waiting"
            raise TooManyRequestsError(f"{rule}: try again when one has ended")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        self._pass_on()
        try:
            await turn
        except asyncio.CancelledError:
            self._drop(user, turn)
            if turn.done() and not turn.cancelled():  # it came just then
                self._give_back(user)
            raise

    def _give_back(self, user: str) -> None:
        self._busy.discard(user)
        self._free += 1
        if user in self._waiting:  # now it is the others' turn
            self._waiting.move_to_end(user)
        self._pass_on()

    def _pass_on(self) -> None:
        """Give free slots to those whose turn it is."""
        for user in list(self._waiting):
            if self._free == 0:
                return
            if user in self._busy:
                continue
            queue = self._waiting[user]
            turn = next((each for each in queue if not each.done()), None)  # not just cancelled
            if turn is not None:
                self._drop(user, turn)
                self._free -= 1
                self._busy.add(user)
                turn.set_result(None)

    def _drop(self, user: str, turn: asyncio.Future[None]) -> None:
        queue = self._waiting.get(user, deque())
        if turn in queue:
            queue.remove(turn)
        if not queue:
            self._waiting.pop(user, None)
