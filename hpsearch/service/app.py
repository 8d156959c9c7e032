"""The application: its routes, its errors, and what runs beside it."""

from __future__ import annotations

import asyncio
import importlib.metadata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio.to_thread
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hpsearch.service import pages
from hpsearch.service.api import acts, admin, events, monitoring, search_results, searches
from hpsearch.service.core import Service
from hpsearch.service.database.tokens import FailedLogins
from hpsearch.service.gateway import app as gateway
from hpsearch.service.gateway.owners import Experiments
from hpsearch.service.http.errors import PlainJson, add_error_handlers, error_response
from hpsearch.service.http.rights import CHECK_S, RightsWatch
from hpsearch.service.http.schemas import ErrorBody
from hpsearch.service.slots import UserSlots

PREFIX = "/api/v1"
#: threads that answer; those that wait for a record or for figures must not keep others waiting
MAX_THREADS = 200
#: requests of one user that are worked on at once; the others wait, without a thread
MAX_RUNNING = 50
#: bytes of a request's body; uploads of code have their own limit
MAX_BODY = 1_000_000
#: seconds that it may take to come
BODY_S = 30.0
_CLOSE = {"Connection": "close"}
_OF_OTHER_SIZE = (f"{PREFIX}/code/", gateway.FILES)
_MEANINGS = {
    400: "bad request",
    401: "no valid token",
    403: "the role does not allow it",
    404: "not there",
    409: "conflict with the search's state",
    413: "too large",
    422: "problems, each with its place, rule and value",
    429: "too many failed logins, or submissions at once",
    503: "the cluster or a record is unavailable",
}
# JSON, even where a route answers with text.
_CONTENT = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}}}
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"description": what, "content": _CONTENT} for status, what in _MEANINGS.items()
}
#: puts the schema into the document
_ERRORS_WITH_MODEL = {status: each | {"model": ErrorBody} for status, each in _ERRORS.items()}


def create_app(service: Service, check_s: float = CHECK_S) -> FastAPI:
    """Return the application of a service.

    Long answers ask every `check_s` seconds whether they may continue.
    """
    # Its page is served from the package: FastAPI's own loads scripts from elsewhere.
    app = FastAPIOffline(
        redoc_url=None,
        title="hpsearch",
        description="Hyperparameter searches of a team on a Ray cluster.",
        version=importlib.metadata.version("hpsearch"),
        default_response_class=PlainJson,
        lifespan=_lifespan,
    )
    app.state.service = service
    app.state.failed_logins = FailedLogins()
    app.state.slots = UserSlots(MAX_RUNNING)
    app.state.feed = events.Feed(service.table)
    add_error_handlers(app)
    app.include_router(searches.router, prefix=PREFIX, responses=_ERRORS_WITH_MODEL)
    for module in (acts, search_results, admin, events):
        app.include_router(module.router, prefix=PREFIX, responses=_ERRORS)
    app.include_router(monitoring.router, responses=_ERRORS)
    app.state.experiments = _experiments(service)
    app.include_router(gateway.router)
    pages.add_pages(app)
    app.add_middleware(RightsWatch, interval_s=check_s)
    app.add_middleware(_BodyLimit)
    return app


def _experiments(service: Service) -> Experiments | None:
    uri = service.settings.tracking_uri or ""
    return Experiments(uri) if uri.startswith(("http://", "https://")) else None


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    anyio.to_thread.current_default_thread_limiter().total_tokens = MAX_THREADS
    feed = asyncio.create_task(app.state.feed.run())
    try:
        yield
    finally:
        feed.cancel()
        with suppress(asyncio.CancelledError):
            await feed


class _BodyLimit:
    """Refuses bodies that are too large, whatever they say of their length, or take too long."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and count the bytes of its body."""
        if scope["type"] != "http" or scope["path"].startswith(_OF_OTHER_SIZE):
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(BODY_S):
                body = await _whole_body(receive)
        except TimeoutError:
            rule = f"the body must arrive within {BODY_S:g} s"
            await error_response(408, rule, headers=_CLOSE)(scope, receive, send)
            return
        if body is None:
            return  # the client disconnected
        if len(body) > MAX_BODY:
            rule = f"the body must be at most {MAX_BODY:,} bytes"
            await error_response(413, rule)(scope, receive, send)
            return
        waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return waiting.pop() if waiting else await receive()

        await self._app(scope, replay, send)


async def _whole_body(receive: Receive) -> bytes | None:
    """Return the body of a request, of one that is too large a part; None without a client."""
    body = bytearray()
    while len(body) <= MAX_BODY:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    return bytes(body)
