"""The gateway's routes: what of MLflow's REST interface drivers use."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from hpsearch.errors import NotAuthenticatedError, SearchNotFoundError
from hpsearch.service.core import Service
from hpsearch.service.forwarding import Target, find_target
from hpsearch.service.gateway.owners import Experiments, SearchOwner
from hpsearch.service.gateway.rules import ROUTES, UPLOAD, WRITES, check_upload
from hpsearch.service.http.auth import Credentials, TheService
from hpsearch.service.http.bodies import received
from hpsearch.service.slots import UserSlots
from hpsearch.service.upstream import NO_MLFLOW, PassedOn, ask_mlflow, json_object

PREFIX = "/tracking"
#: below it come files, which no limit of other bodies holds for
FILES = f"{PREFIX}/{UPLOAD.template.partition('{')[0]}"
#: bytes of a batch of metrics (MLflow takes a megabyte), and of a file, such as a model's weights
MAX_BODY, MAX_FILE = 1_000_000, 20_000_000_000
_KEPT = ("content-type",)
_BY_ROUTE = {write.route: write for write in WRITES}
router = APIRouter(prefix=PREFIX, include_in_schema=False)


async def the_owner(
    request: Request, service: TheService, credentials: Credentials
) -> AsyncIterator[SearchOwner]:
    """Yield the search whose driver asks, once its user's searches have a slot."""
    experiments: Experiments | None = request.app.state.experiments
    if experiments is None:
        raise SearchNotFoundError(NO_MLFLOW)
    if credentials is None:
        raise NotAuthenticatedError("a search's token is required")
    token = credentials.credentials
    row = await run_in_threadpool(service.tracking_tokens.search, token)
    slots: UserSlots = request.app.state.slots
    async with slots.of(f"searches of {row.owner}"):
        since = await run_in_threadpool(service.table.name_since, row)
        names = await run_in_threadpool(service.table.experiment_names, row)
        yield SearchOwner(row.name, names, since, experiments)


async def the_target(request: Request) -> Target:
    """Return what is asked of the tracking server."""
    return find_target(request, f"{PREFIX}/", ROUTES)


@router.api_route("/{path:path}", methods=["GET", "POST", "PATCH", "DELETE", "PUT"])
async def pass_on(
    request: Request,
    target: Annotated[Target, Depends(the_target)],
    owner: Annotated[SearchOwner, Depends(the_owner, scope="function")],
    service: TheService,
) -> Response:
    """Forward a driver's request if it reads, or writes to its own search."""
    if target.route == UPLOAD:
        return await _upload(request, target, owner, service)
    body = await request.body()
    return await run_in_threadpool(_ask, service, target, owner, request, body)


def _ask(
    service: Service, target: Target, owner: SearchOwner, request: Request, body: bytes
) -> Response:
    content = json_object(request.headers, body, MAX_BODY) if body else None
    if (write := _BY_ROUTE.get(target.route)) is not None:
        write.check(owner, target.segments, content or {})
    return PassedOn(ask_mlflow(service.settings, target, {}, content), _KEPT)


async def _upload(
    request: Request, target: Target, owner: SearchOwner, service: Service
) -> Response:
    """Pass a file on; it is kept on the disk meanwhile, for a client may be slow."""
    await run_in_threadpool(check_upload, owner, target.segments)
    async with received(request, MAX_FILE, "a file") as file:
        headers = {"Content-Type": "application/octet-stream"}
        answer = await run_in_threadpool(ask_mlflow, service.settings, target, headers, file)
    return PassedOn(answer, _KEPT)
