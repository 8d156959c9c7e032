"""Slots that users share fairly."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from hpsearch.errors import TooManyRequestsError
from hpsearch.service.slots import FairSlots


class Bench:
    """Requests for slots: who has one, in which order they got it, and what ends each."""

    def __init__(self, slots: int, max_waiting: int = 100) -> None:
        self.slots = FairSlots(slots, max_waiting, "checks")
        self.began: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def ask(self, *names: str) -> None:
        """Ask for slots; a name's first letter is its user."""
        for name in names:
            self._ends[name] = asyncio.Event()
            self.tasks[name] = asyncio.create_task(self._hold(name))
        await settle()

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await self.tasks[name]
        await settle()

    async def cancel(self, name: str) -> None:
        self.tasks[name].cancel()
        await asyncio.gather(self.tasks[name], return_exceptions=True)
        await settle()

    async def _hold(self, name: str) -> None:
        async with self.slots.of(name[0]):
            self.began.append(name)
            await self._ends[name].wait()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def scenario(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def run() -> None:
        asyncio.run(test())

    run.__name__ = test.__name__
    return run


@scenario
async def test_one_user_holds_one_slot_however_much_they_ask_for() -> None:
    bench = Bench(2)
    await bench.ask("a1", "a2", "a3", "b1", "c1")
    assert bench.began == ["a1", "b1"]
    await bench.end("a1")
    assert bench.began == ["a1", "b1", "c1"]
    await bench.end("b1")
    assert bench.began == ["a1", "b1", "c1", "a2"]
    await bench.end("a2")
    await bench.end("c1")
    await bench.end("a3")


@scenario
async def test_users_take_turns() -> None:
    bench = Bench(1)
    await bench.ask("a1", "a2", "a3", "b1", "b2")
    for name in ("a1", "b1", "a2", "b2", "a3"):
        assert bench.began[-1] == name
        await bench.end(name)


@scenario
async def test_who_hangs_up_gives_way_waiting_or_not() -> None:
    bench = Bench(1)
    await bench.ask("a1", "b1", "c1", "a2")
    await bench.cancel("b1")
    await bench.cancel("a1")
    assert bench.began == ["a1", "c1"]
    await bench.cancel("c1")
    assert bench.began == ["a1", "c1", "a2"]
    await bench.end("a2")
    await bench.ask("b2")
    assert bench.began[-1] == "b2"
    await bench.end("b2")


@scenario
async def test_a_slot_that_came_just_when_its_user_hung_up_is_not_lost() -> None:
    bench = Bench(1)
    await bench.ask("a1", "b1", "c1")
    bench._ends["a1"].set()
    await asyncio.sleep(0)  # a1 ends, b1 is told to go on, and has not yet
    await asyncio.sleep(0)
    await bench.cancel("b1")
    assert bench.began[-1] == "c1"
    await bench.end("c1")


@scenario
async def test_too_many_that_wait_are_refused() -> None:
    bench = Bench(1, max_waiting=2)
    await bench.ask("a1", "a2", "a3", "a4", "b1")
    with pytest.raises(TooManyRequestsError, match="a has 2 checks waiting"):
        await bench.tasks["a4"]
    for name in ("a1", "b1", "a2", "a3"):
        await bench.end(name)
