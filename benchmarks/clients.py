"""The clients of a team's service, all in one process: `benchmarks.service` starts it.

A script polls as often as a search may change, every two seconds: that is the reconciler's
interval. A page does what `pages.js` does: it listens to events, and a second after one it asks
for itself again, and for its figures.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp

from hpsearch.service.settings import Settings

POLL_S = Settings.interval_s
PAGE_PAUSE_S = 1.0
API = "/api/v1"


class Load:
    """Clients of a service; by route, when each answer was wanted and how long it took.

    Both in seconds; the first since the beginning.
    """

    def __init__(self, session: aiohttp.ClientSession, seconds: float) -> None:
        self._session = session
        self._begin = time.monotonic()
        self._end = self._begin + seconds
        self.took: dict[str, list[tuple[float, float]]] = defaultdict(list)

    async def script(self, number: int, search: str, delay: float) -> None:
        """Poll a search and the list in turn; scripts begin at different places."""
        await asyncio.sleep(delay)
        of_search = f"{API}/searches/{search}"
        polls = [
            ("list, 100 of it", f"{API}/searches"),
            ("one search", of_search),
            ("its trials, 100", f"{of_search}/trials?order=leaders"),
            ("its curves", f"{of_search}/curves"),
        ]
        while await self._poll(*polls[number % len(polls)]):
            number += 1

    async def watch(self, delay: float) -> None:
        """Do as `watch hpsearch list` does."""
        await asyncio.sleep(delay)
        while await self._poll("list, all of it", f"{API}/searches?limit=1000"):
            pass

    async def listen(self) -> None:
        """Take the events of all searches, as a script does."""
        async for kind, data in self._events(f"{API}/events"):
            if kind == "search":
                self._note("event after its change", time.time() - json.loads(data)["changed_at"])

    async def page(self, search: str | None) -> None:
        """Keep a page open: the list, or a search with its figures."""
        path = "/" if search is None else f"/searches/{search}"
        route = "page of the list" if search is None else "page of a search"
        events = "/events" if search is None else f"/events?search={search}"
        looks: asyncio.Event = asyncio.Event()
        looks.set()
        looking = asyncio.create_task(self._look_again(looks, route, path, search is not None))
        async for kind, _ in self._events(events):
            if kind == "search":
                looks.set()
        looking.cancel()

    async def _look_again(
        self, looks: asyncio.Event, route: str, path: str, has_figures: bool
    ) -> None:
        pause, tag = 0.0, ""
        while True:
            await looks.wait()
            await asyncio.sleep(pause)
            looks.clear()
            began = time.monotonic()
            await self._get(route, path)
            if has_figures:
                tag = await self._get("its figures", f"{path}/figures", tag)
            pause = max(PAGE_PAUSE_S, 5 * (time.monotonic() - began)) * (0.5 + random.random())

    async def _poll(self, route: str, path: str) -> bool:
        began = time.monotonic()
        await self._get(route, path)
        left = began + POLL_S - time.monotonic()
        await asyncio.sleep(max(0.0, left))
        return time.monotonic() < self._end

    async def _get(self, route: str, path: str, tag: str = "") -> str:
        began = time.monotonic()
        async with self._session.get(path, headers={"If-None-Match": tag}) as answer:
            await answer.read()
            assert answer.status in (200, 304), (path, answer.status)
        self._note(route, time.monotonic() - began)
        return answer.headers.get("ETag", "")

    def _note(self, route: str, seconds: float) -> None:
        self.took[route].append((time.monotonic() - seconds - self._begin, seconds))

    async def _events(self, path: str) -> AsyncIterator[tuple[str, str]]:
        """Yield the kind and the data of each event until the time is over."""
        async with self._session.get(path) as answer:
            assert answer.status == 200, (path, answer.status)
            kind = ""
            while (left := self._end - time.monotonic()) > 0:
                try:
                    line = (await asyncio.wait_for(answer.content.readline(), left)).decode()
                except TimeoutError:
                    return
                name, _, value = line.strip().partition(": ")
                if name == "event":
                    kind = value
                elif name == "data":
                    yield kind, value


async def load(request: dict[str, Any]) -> dict[str, list[tuple[float, float]]]:
    """Run the clients that a request asks for."""
    headers = {"Authorization": f"Bearer {request['token']}", "Accept-Encoding": "gzip"}
    async with aiohttp.ClientSession(
        request["url"],
        headers=headers,
        cookie_jar=aiohttp.CookieJar(unsafe=True),  # those of an address without a name
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=None),
    ) as session:
        await _sign_in(session, request["token"])
        clients = Load(session, request["seconds"])
        scripts, watchers = request["scripts"], request["watchers"]
        await asyncio.gather(
            *(
                clients.script(number // 4, name, delay)
                for number, (name, delay) in enumerate(_spread(scripts))
            ),
            *(clients.watch(delay) for _, delay in _spread([""] * watchers)),
            *(clients.listen() for _ in range(request["listeners"])),
            *(clients.page(name) for name in request["pages"]),
        )
        return clients.took


async def _sign_in(session: aiohttp.ClientSession, token: str) -> None:
    """Get the cookie that the pages want."""
    headers = {"Sec-Fetch-Site": "same-origin"}
    async with session.post("/sign-in", data={"token": token}, headers=headers) as answer:
        answer.raise_for_status()


def _spread(names: list[str]) -> list[tuple[str, float]]:
    """Return names with the seconds after which each begins, so that they don't march in step."""
    return [(name, POLL_S * place / len(names)) for place, name in enumerate(names)]


def main(read: Callable[[], str] = sys.stdin.readline) -> None:
    """Take a request as a line of JSON, and print the times."""
    print(json.dumps(asyncio.run(load(json.loads(read())))))


if __name__ == "__main__":
    main()
