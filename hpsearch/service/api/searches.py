"""Routes of searches: create, list, look, stop, resume, extend, delete."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Request, Response

from hpsearch.service.core import Submission
from hpsearch.service.database.search_lists import Filter
from hpsearch.service.http.auth import TheService, TheUser
from hpsearch.service.http.connection import while_connected
from hpsearch.service.http.schemas import (
    NAME_PATTERN,
    TEXT_PATTERN,
    USER_PATTERN,
    ExtendBody,
    RepeatBody,
    SearchDetail,
    SearchPage,
    SearchView,
    State,
    SubmitBody,
)

router = APIRouter(prefix="/searches", tags=["searches"])
Name = Annotated[str, Path(pattern=NAME_PATTERN, description="name of a search")]
Limit = Annotated[int, Query(ge=1, le=1000)]
Offset = Annotated[int, Query(ge=0, le=10_000_000)]
IdempotencyKey = Annotated[str | None, Header(max_length=200, pattern=TEXT_PATTERN)]


@router.post("", status_code=201, responses={200: {"model": SearchDetail}})
async def create(
    body: SubmitBody,
    service: TheService,
    user: TheUser,
    request: Request,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> SearchDetail:
    """Check a spec and queue its search.

    The same Idempotency-Key, spec and code again return the search that is there, with 200.
    """
    submission = Submission(body.spec, body.code_hash, body.priority, idempotency_key)
    row, is_new = await while_connected(request, service.submit(user, submission))
    if not is_new:
        response.status_code = 200
    return SearchDetail.of(row)


@router.get("", response_model=SearchPage)
def list_searches(
    service: TheService,
    user: TheUser,
    mine: bool = False,
    owner: Annotated[str | None, Query(pattern=USER_PATTERN)] = None,
    state: Annotated[list[State] | None, Query()] = None,
    text: Annotated[str | None, Query(max_length=100, pattern=TEXT_PATTERN)] = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> Response:
    """List searches, the newest first."""
    wanted = Filter(user.name if mine else owner, tuple(state or ()), text)
    return Response(service.list_cache.page(wanted, limit, offset), media_type="application/json")


@router.get("/{name}")
def get(name: Name, service: TheService, user: TheUser) -> SearchDetail:
    """Return one search with its spec."""
    return SearchDetail.of(service.table.get(name))


@router.post("/{name}/stop", status_code=202)
def stop(name: Name, service: TheService, user: TheUser) -> SearchView:
    """Stop a search; its record says how it ended."""
    return SearchView.of(service.stop(user, name))


@router.post("/{name}/resume", status_code=202)
def resume(name: Name, service: TheService, user: TheUser) -> SearchView:
    """Queue a stopped or failed search, to resume from its record."""
    return SearchView.of(service.resume(user, name))


@router.post("/{name}/extend", status_code=202)
def extend(name: Name, body: ExtendBody, service: TheService, user: TheUser) -> SearchView:
    """Give a search more budget; an ended one resumes."""
    row = service.extend(user, name, **body.model_dump())
    return SearchView.of(row)


@router.post("/{name}/repeat", status_code=202)
def repeat(name: Name, body: RepeatBody, service: TheService, user: TheUser) -> SearchView:
    """Train a finished search's best configuration again with new seeds."""
    return SearchView.of(service.repeat(user, name, body.seeds))


@router.delete("/{name}", status_code=204)
def delete(name: Name, service: TheService, user: TheUser) -> None:
    """Delete an ended search and its files; its MLflow runs are kept."""
    service.delete(user, name)
