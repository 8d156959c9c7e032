"""MLflow's UI behind the sign-in, for reading only: the tracking server itself has no users.

Its page takes all it needs from paths beside its own, so it is passed on under `/mlflow/`: the
routes that show experiments, runs, metrics, artifacts and models, and no others. Artifacts are
written by users' code: they come in a sandbox, so that a page among them can't act for who looks
at it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from hpsearch.errors import ConflictError, NotAllowedError, SearchNotFoundError, TrackingError
from hpsearch.service.api.searches import Name
from hpsearch.service.core import Service
from hpsearch.service.forwarding import Route, Target, find_target
from hpsearch.service.http.auth import TheService
from hpsearch.service.pages.graphql_queries import rebuilt
from hpsearch.service.pages.rendering import HEADERS
from hpsearch.service.pages.session import SignedIn, is_same_origin
from hpsearch.service.settings import Settings
from hpsearch.service.upstream import NO_MLFLOW, PassedOn, ask_mlflow, json_object
from hpsearch.tracking import address_of_run

router = APIRouter()
#: bytes of a request's body
MAX_BODY = 256_000
_KEPT = ("content-type", "content-disposition", "cache-control", "etag", "last-modified")
_SENT = ("accept", "if-none-match", "if-modified-since")
#: MLflow's page styles and evaluates as it likes, but loads and sends nothing elsewhere, and no
#: script stands in it
_PAGE_POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-eval'; worker-src 'self' blob:; "
    "style-src 'self' 'unsafe-inline'; object-src 'none'; frame-ancestors 'none'; "
    "form-action 'none'; base-uri 'none'"
)


def _get(template: str, *query: str) -> Route:
    return Route("GET", template, frozenset(query))


_API = "ajax-api/2.0/mlflow"
_PAGED = ("filter", "max_results", "order_by", "page_token")
_RUN = ("run_id", "run_uuid")
#: What MLflow's UI asks to show experiments, runs, metrics, artifacts and models. Not what writes,
#: asks other servers (webhooks, the gateway, telemetry), starts work or tells of credentials. Of
#: traces, which the page of an experiment counts, their numbers and the list.
ROUTES = (
    _get(""),
    _get("static-files/{*}"),
    _get("get-artifact", "path", *_RUN),
    _get("model-versions/get-artifact", "path", "name", "version"),
    _get("ajax-api/3.0/mlflow/server-info"),
    _get(f"{_API}/artifacts/list", "path", "page_token", *_RUN),
    _get(f"{_API}/experiments/get", "experiment_id"),
    _get(f"{_API}/experiments/get-by-name", "experiment_name"),
    _get(f"{_API}/experiments/search", "view_type", *_PAGED),
    _get(f"{_API}/logged-models/{{}}"),
    _get(f"{_API}/logged-models/{{}}/artifacts/directories", "artifact_directory_path"),
    _get(f"{_API}/logged-models/{{}}/artifacts/files", "artifact_file_path"),
    _get(f"{_API}/metrics/get-history", "metric_key", "max_results", "page_token", *_RUN),
    _get(
        f"{_API}/metrics/get-history-bulk-interval",
        *("run_ids", "metric_key", "start_step", "end_step", "max_results"),
    ),
    _get(f"{_API}/model-versions/get", "name", "version"),
    _get(f"{_API}/model-versions/search", *_PAGED),
    _get(f"{_API}/registered-models/get", "name"),
    _get(f"{_API}/registered-models/search", *_PAGED),
    _get(f"{_API}/runs/get", *_RUN),
    Route("POST", "graphql"),
    Route("POST", f"{_API}/experiments/search"),
    Route("POST", f"{_API}/experiments/search-datasets"),
    Route("POST", f"{_API}/logged-models/search"),
    Route("POST", f"{_API}/runs/search"),
    Route("POST", "ajax-api/3.0/mlflow/traces/metrics"),
    Route("POST", "ajax-api/3.0/mlflow/traces/search"),
)


@router.get("/searches/{name}/mlflow")
def of_search(name: Name, service: TheService, user: SignedIn) -> Response:
    """Redirect to a search's run in MLflow's UI."""
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


async def the_target(request: Request) -> Target:
    """Return what is asked of the tracking server; looked at before anything else."""
    return find_target(request, "/mlflow/", ROUTES)


@router.api_route("/mlflow/{path:path}", methods=["GET", "POST"])
async def pass_on(
    request: Request,
    target: Annotated[Target, Depends(the_target)],
    service: TheService,
    user: SignedIn,
) -> Response:
    """Return what the tracking server answers to a request that is on the list."""
    if target.route.method == "POST" and not is_same_origin(request):
        raise NotAllowedError("requests to MLflow must come from the service's own pages")
    body = await request.body() if target.route.method == "POST" else None
    tracking_server(service)  # there must be one
    return await run_in_threadpool(_ask, service.settings, target, request.headers, body)


def has_tracking_server(service: Service) -> bool:
    """Whether there is a tracking server to be asked."""
    return (service.settings.tracking_uri or "").startswith(("http://", "https://"))


def tracking_server(service: Service) -> str:
    """Return the tracking server's URL; SearchNotFoundError without one."""
    uri = service.settings.tracking_uri
    if uri is None or not has_tracking_server(service):
        raise SearchNotFoundError(NO_MLFLOW)
    return uri


def _ask(
    settings: Settings, target: Target, headers: Mapping[str, str], body: bytes | None
) -> Response:
    sent = {name: headers[name] for name in _SENT if name in headers}
    content = None if body is None else json_object(headers, body, MAX_BODY)
    if content is not None and target.route.template == "graphql":
        content = rebuilt(content)
    response = PassedOn(ask_mlflow(settings, target, sent, content), _KEPT)
    is_its_own = target.route.template in ("", "static-files/{*}")
    policy = _PAGE_POLICY if is_its_own else "sandbox; default-src 'none'"
    for name, value in {**HEADERS, "Content-Security-Policy": policy}.items():
        if name != "Cache-Control" or name not in response.headers:
            response.headers[name] = value
    return response
