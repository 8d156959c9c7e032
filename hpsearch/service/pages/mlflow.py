"""MLflow's UI behind the sign-in, for reading only: the tracking server itself has no users.

Its page takes all it needs from paths beside its own, so it is passed on under `/mlflow/`. What
writes is refused. Artifacts are written by users' code: they come in a sandbox, so that a page
among them can't act for who looks at it.
"""

from __future__ import annotations

import logging

import requests
from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from hpsearch.errors import ConflictError, NotAllowedError, SearchNotFoundError, TrackingError
from hpsearch.service.api.auth import TheService
from hpsearch.service.api.searches import Name
from hpsearch.service.core import Service
from hpsearch.service.pages.rendering import HEADERS
from hpsearch.service.pages.session import SignedIn, is_same_origin
from hpsearch.tracking import address_of_run

router = APIRouter()
TIMEOUT_S = 60.0
_KEPT = ("content-type", "content-disposition", "cache-control", "etag", "last-modified")
_SENT = ("accept", "content-type", "if-none-match", "if-modified-since")
#: MLflow's page styles and evaluates as it likes, but loads and sends nothing elsewhere
_PAGE_POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'none'; "
    "form-action 'none'; base-uri 'none'"
)
_log = logging.getLogger(__name__)


@router.get("/searches/{name}/mlflow")
def of_search(name: Name, service: TheService, user: SignedIn) -> Response:
    """Go to a search's run in MLflow's UI, which is asked only now."""
    uri = tracking_server(service)
    service.table.get(name)
    try:
        address = address_of_run(service.records.read(name)[0], uri, "/mlflow")
    except TrackingError as error:
        raise ConflictError(
            f"MLflow can't be reached, or doesn't know {name} yet: try again later"
        ) from error
    return RedirectResponse(address, 303)


@router.get("/mlflow")
def to_the_page(user: SignedIn) -> Response:
    """Go to the address from which MLflow's page finds its files."""
    return RedirectResponse("/mlflow/", 303)


@router.api_route("/mlflow/{path:path}", methods=["GET", "POST"])
async def pass_on(path: str, request: Request, service: TheService, user: SignedIn) -> Response:
    """Return what the tracking server answers to a request that reads."""
    if request.method == "POST":
        if not is_same_origin(request):
            raise NotAllowedError("MLflow must be asked from the service's own pages")
        if not _reads(path):
            raise HTTPException(405, "MLflow can only be read here")
    body = await request.body()
    return await run_in_threadpool(_ask, tracking_server(service), path, request, body)


def has_tracking_server(service: Service) -> bool:
    """Whether there is a tracking server to be asked."""
    return (service.settings.tracking_uri or "").startswith(("http://", "https://"))


def tracking_server(service: Service) -> str:
    """Return the tracking server's URL; SearchNotFoundError without one."""
    uri = service.settings.tracking_uri
    if uri is None or not has_tracking_server(service):
        raise SearchNotFoundError("this service knows no MLflow server")
    return uri


def _reads(path: str) -> bool:
    """Whether a POST only looks: searches have bodies, too long for an address."""
    last = path.rpartition("/")[2]
    return last.startswith("search") or last in ("graphql", "get-history-bulk-interval")


def _ask(server: str, path: str, request: Request, body: bytes) -> Response:
    headers = {name: request.headers[name] for name in _SENT if name in request.headers}
    try:
        answer = requests.request(
            request.method,
            f"{server.rstrip('/')}/{path}",
            params=request.url.query,
            data=body or None,
            headers=headers,
            timeout=TIMEOUT_S,
            allow_redirects=False,
        )
    except requests.RequestException as error:
        _log.warning("MLflow can't be reached: %s", error)
        raise HTTPException(502, "MLflow can't be reached: try again later") from error
    response = Response(answer.content, answer.status_code)
    for name in _KEPT:
        if name in answer.headers:
            response.headers[name] = answer.headers[name]
    is_its_own = path == "" or path.startswith("static-files/")
    policy = _PAGE_POLICY if is_its_own else "sandbox; default-src 'none'"
    for name, value in {**HEADERS, "Content-Security-Policy": policy}.items():
        if name != "Cache-Control" or name not in response.headers:
            response.headers[name] = value
    return response
