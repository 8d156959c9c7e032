"""The pages that show: the list of searches, a search, and what keeps them new."""

from __future__ import annotations

import gzip
import hashlib
import logging
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.responses import Response

from hpsearch.errors import ConflictError, SearchNotFoundError
from hpsearch.next_spec import next_text, plain_next
from hpsearch.service.api.events import Feed
from hpsearch.service.api.searches import Name
from hpsearch.service.database.search_lists import Filter
from hpsearch.service.http.auth import TheService
from hpsearch.service.http.schemas import NAME_PATTERN, TEXT_PATTERN, SearchView, State
from hpsearch.service.pages.contents import Content, Contents
from hpsearch.service.pages.mlflow import has_tracking_server
from hpsearch.service.pages.rendering import render
from hpsearch.service.pages.session import SignedIn
from hpsearch.service.pages.views import ShownSearch, ranges, states

router = APIRouter()
PAGE_SIZE = 50
_log = logging.getLogger(__name__)
Text = Annotated[str, Query(max_length=100, pattern=TEXT_PATTERN)]


@router.get("/")
def list_searches(
    request: Request,
    service: TheService,
    user: SignedIn,
    text: Text = "",
    owner: Text = "",
    state: Annotated[list[State] | None, Query()] = None,
    page: Annotated[int, Query(ge=1, le=100_000)] = 1,
) -> Response:
    """Show the searches, the newest first."""
    wanted = Filter(owner.strip() or None, tuple(state or ()), text.strip() or None)
    rows, total = service.table.page(wanted, PAGE_SIZE, (page - 1) * PAGE_SIZE)
    return render(
        request,
        "searches.html",
        searches=[ShownSearch(row, user) for row in rows],
        total=total,
        page=page,
        pages=max(1, -(-total // PAGE_SIZE)),
        states=states(service.table.counts()),
        wanted=wanted,
    )


@router.get("/searches/{name}")
def show_search(name: Name, request: Request, service: TheService, user: SignedIn) -> Response:
    """Show a search: its progress, its results, and the actions on it."""
    row = service.table.get(name)
    content, seconds_left, is_broken = _content(request, name)
    return render(
        request,
        "search.html",
        search=ShownSearch(SearchView.of(row).model_dump(), user),
        spec=row.spec,
        content=content,
        seconds_left=seconds_left,
        is_broken=is_broken,
        trials=[] if content is None else content.trials,
        ranges=[] if content is None else ranges(content.record),
        log=service.files.log_end(name),
        has_mlflow=has_tracking_server(service),
    )


@router.get("/searches/{name}/figures")
def figures(name: Name, request: Request, service: TheService, user: SignedIn) -> Response:
    """Return a search's figures for the page's script."""
    service.table.get(name)
    content, _, _ = _content(request, name)
    if content is None:
        raise ConflictError(f"{name} has no record yet")
    tag = f'"{hashlib.sha256(content.version.encode()).hexdigest()[:16]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache", "Vary": "Accept-Encoding"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    body = content.figures
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
    else:
        body = gzip.decompress(body)
    return Response(body, media_type="application/json", headers=headers)


@router.get("/searches/{name}/next.yaml")
def next_search(name: Name, request: Request, service: TheService, user: SignedIn) -> Response:
    """Download the spec of the next search, its changes as comments."""
    service.table.get(name)
    content, _, _ = _content(request, name)
    if content is None:
        raise ConflictError(f"{name} has no record yet")
    found = plain_next(content.record, imports=False)
    headers = {"Content-Disposition": f'attachment; filename="{name}-next.yaml"'}
    return Response(next_text(found), headers=headers, media_type="application/yaml")


@router.get("/events", response_class=EventSourceResponse)
async def events(
    request: Request,
    user: SignedIn,
    search: Annotated[str | None, Query(pattern=NAME_PATTERN)] = None,
) -> AsyncIterator[ServerSentEvent]:
    """Stream which searches change, or whether one does, to a page's script."""
    feed: Feed = request.app.state.feed
    yield ServerSentEvent(comment="listening")
    async for changed in feed.listen():
        if search in (None, changed.name):
            yield ServerSentEvent(event="search", data=changed.name)


def _content(request: Request, name: str) -> tuple[Content | None, float, bool]:
    """Return what Contents.of does if there is a record, and whether it can't be read."""
    contents: Contents = request.app.state.contents
    try:
        content, seconds_left = contents.of(name)
        return content, seconds_left, False
    except SearchNotFoundError:
        return None, 0.0, False
    except Exception:  # users' code wrote it, and what an error says may name files and databases
        _log.exception("the record of %s can't be read", name)
        return None, 0.0, True
