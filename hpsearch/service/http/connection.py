"""Work that is cancelled when its client disconnects."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from fastapi import Request
from starlette.exceptions import HTTPException

_Result = TypeVar("_Result")
#: what is answered to nobody
CLIENT_GONE = 499


async def while_connected(request: Request, work: Coroutine[Any, Any, _Result]) -> _Result:
    """Return what work returns; cancels it when the client hangs up. Its body must be read."""
    task = asyncio.create_task(work)
    hung_up = asyncio.create_task(_hung_up(request))
    try:
        await asyncio.wait((task, hung_up), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise HTTPException(CLIENT_GONE, "the client disconnected")
        return task.result()
    finally:
        for each in (task, hung_up):
            each.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await each


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
