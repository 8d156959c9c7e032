"""Bodies of requests that are kept on the disk: a client may be slow, and a file large."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import IO

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException


@asynccontextmanager
async def received(request: Request, max_bytes: int, what: str) -> AsyncIterator[IO[bytes]]:
    """Yield a file with the whole body, at its beginning; HTTPException for a larger one."""
    with tempfile.TemporaryFile() as file:
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > max_bytes:
                raise HTTPException(413, f"{what} must be at most {max_bytes:,} bytes")
            await run_in_threadpool(file.write, chunk)
        file.seek(0)
        yield file
