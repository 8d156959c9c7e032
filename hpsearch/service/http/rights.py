"""Long responses end with the rights of their user: a revoked token, an ended session."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from contextlib import suppress

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hpsearch.errors import NotAuthenticatedError
from hpsearch.service.database.tokens import User

#: seconds between two looks, so that with a slow database they are no more than 5 s apart
CHECK_S = 4.0
#: seconds for which the look may fail, such as while the database is away
MAX_UNSURE_S = 60.0
#: seconds that a client has to take the last words
_LAST_WORDS_S = 1.0
_log = logging.getLogger(__name__)


def keep_asking(request: Request, user: User, look: Callable[[], User]) -> None:
    """Let a long answer end once `look` raises NotAuthenticatedError, or finds another user."""

    def check() -> None:
        if look() != user:
            raise NotAuthenticatedError(f"{user.name} is no longer a {user.role}")

    request.state.check = check


class RightsWatch:
    """Checks the rights of every long response again and again, and aborts it when they end.

    Only a stream of events ends regularly: a part must not be taken for the whole.
    """

    def __init__(self, app: ASGIApp, interval_s: float = CHECK_S) -> None:
        self._app = app
        self._interval_s = interval_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and watch over its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer, state = _Answer(send), scope.setdefault("state", {})
        task = asyncio.ensure_future(self._app(scope, receive, answer.send))
        try:
            sure_at = time.monotonic()
            while not (await asyncio.wait({task}, timeout=self._interval_s))[0]:
                if not answer.has_started or "check" not in state:
                    continue
                sure_at, reason = await _look(state["check"], sure_at)
                if reason is not None:
                    _log.info("%s: response aborted: %s", scope["path"], reason)
                    await _stop(task)
                    await answer.end(reason)
                    return
            await task
        finally:
            task.cancel()


class _Answer:
    """What is sent to a client, until it is ended."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._headers: dict[str, str] = {}
        self._has_ended = False
        self.has_started = False

    async def send(self, message: Message) -> None:
        """Send on, but nothing more after the end."""
        if self._has_ended:
            return
        if message["type"] == "http.response.start":
            self.has_started = True
            self._headers = {n.decode().lower(): v.decode() for n, v in message["headers"]}
        await self._send(message)

    async def end(self, reason: str) -> None:
        """Say why no more comes, where that can't be taken for content, and send nothing more."""
        self._has_ended = True
        words, is_whole = self._last_words(reason)
        if words:
            with suppress(TimeoutError):  # a client that takes nothing
                async with asyncio.timeout(_LAST_WORDS_S):
                    body = {"type": "http.response.body", "body": words.encode()}
                    await self._send(body | {"more_body": not is_whole})

    def _last_words(self, reason: str) -> tuple[str, bool]:
        """Return what is said at the end, and whether the answer is whole with it."""
        kind = self._headers.get("content-type", "")
        if kind.startswith("text/event-stream"):
            return f"event: end\ndata: {json.dumps(reason)}\n\n", True
        if kind.startswith("text/plain") and "content-length" not in self._headers:
            return f"\nhpsearch: response ended: {reason}\n", False
        return "", False


async def _look(check: Callable[[], object], sure_at: float) -> tuple[float, str | None]:
    """Return when the rights were known the last time, and why they ended if they did."""
    try:
        await run_in_threadpool(check)
    except NotAuthenticatedError as error:
        return sure_at, str(error)
    except Exception:
        _log.exception("can't check whether a response may continue")
        is_over = time.monotonic() - sure_at > MAX_UNSURE_S
        return sure_at, "the user's rights can't be checked" if is_over else None
    return time.monotonic(), None


async def _stop(task: asyncio.Future[None]) -> None:
    """Cancel a task; one that waits for a thread may take longer than anybody waits for it."""
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    task.cancel()
    await asyncio.wait({task}, timeout=_LAST_WORDS_S)
