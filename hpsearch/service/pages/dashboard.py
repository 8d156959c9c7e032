"""optuna-dashboard on the searches' own studies: behind the sign-in, and for reading only.

It knows paths from the root only (`/dashboard`, `/api/studies`, `/static`, `/csv`), so these are
its own here too. Its application has routes that write and no sign-in: those that show a study are
passed on and no others, and the storage that it is given can't be written to.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from functools import cached_property
from io import BytesIO
from typing import Any

import optuna_dashboard
from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from hpsearch.service.api.searches import Name
from hpsearch.service.cache.cache import Cache
from hpsearch.service.cache.readonly_storage import SearchStorage, study_id
from hpsearch.service.core import Service
from hpsearch.service.database.search_lists import Filter
from hpsearch.service.forwarding import Route, Target, find_target
from hpsearch.service.http.auth import TheService
from hpsearch.service.pages.rendering import HEADERS
from hpsearch.service.pages.session import SignedIn

router = APIRouter()
#: searches that its list shows, the newest
MAX_STUDIES = 1000
_MAX_APPS = 16
#: its page, with the addresses that its script makes of that, and what is the same for all studies
FRAME_ROUTES = tuple(
    Route("GET", template) for template in ("dashboard", "dashboard/{*}", "static/{*}", "api/meta")
)
#: what shows one study; the first number is the study's
STUDY_ROUTES = (
    Route("GET", "api/studies/{int}", frozenset({"after"})),
    Route("GET", "api/studies/{int}/param_importances"),
    Route("GET", "api/studies/{int}/plot/{}"),
    Route("GET", "csv/{int}", frozenset({"trial_ids"})),
)
_log = logging.getLogger(__name__)
WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Any]


class Dashboards:
    """The dashboard's applications, one a search, those used last."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._apps: Cache[int, WsgiApp] = Cache(_MAX_APPS)
        self._names: dict[int, str] = {}

    def app(self, number: int) -> WsgiApp:
        """Return the application of a search; HTTPException if there is none of that number."""
        name = self._name(number)
        storage = SearchStorage(self._service.records, name)
        return self._apps.get(number, lambda: optuna_dashboard.wsgi(storage))

    @cached_property
    def frame(self) -> WsgiApp:
        """An application without studies: its page and its files are the same for all."""
        from optuna.storages import InMemoryStorage

        app: WsgiApp = optuna_dashboard.wsgi(InMemoryStorage())
        return app

    def _name(self, number: int) -> str:
        if number not in self._names:
            self._names = {study_id(name): name for name in self._service.table.names()}
        name = self._names.get(number)
        if name is None or not self._service.table.has(name):
            raise HTTPException(404, "no search has this number")
        return name


def call(app: WsgiApp, request: Request, target: Target) -> Response:
    """Ask a WSGI application for a target."""
    takes_gzip = "gzip" in request.headers.get("accept-encoding", "")
    environment = {
        "REQUEST_METHOD": target.route.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": f"/{target.path}",
        "QUERY_STRING": target.query,
        "SERVER_NAME": "hpsearch",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_ACCEPT_ENCODING": "gzip" if takes_gzip else "",
        "wsgi.url_scheme": request.url.scheme,
        "wsgi.input": BytesIO(),
    }
    started: list[Any] = []

    def start(status: str, headers: list[tuple[str, str]], *_: Any) -> None:
        started[:] = [int(status.split()[0]), headers]

    chunks = app(environment, start)
    try:
        body = b"".join(chunks)
    finally:
        if hasattr(chunks, "close"):
            chunks.close()
    status, headers = started
    if status >= 500:
        _log.error("optuna-dashboard failed at %s", target.path)
        raise HTTPException(502, "optuna-dashboard can't show this search")
    response = Response(body, status)
    for name, value in headers:
        if name.lower() != "content-length":
            response.headers[name] = value
    for name, value in HEADERS.items():  # its page has a policy of its own
        response.headers.setdefault(name, value)
    return response


@router.get("/searches/{name}/dashboard")
def of_search(name: Name, service: TheService, user: SignedIn) -> Response:
    """Go to a search's study in the dashboard."""
    service.records.read(service.table.get(name).name)
    return RedirectResponse(f"/dashboard/studies/{study_id(name)}", 303)


@router.get("/dashboard/")
def to_the_page(user: SignedIn) -> Response:
    """Go to the dashboard's page."""
    return RedirectResponse("/dashboard", 303)


@router.get("/dashboard")
@router.get("/dashboard/{path:path}")
@router.get("/static/{path:path}")
@router.get("/api/meta")
def frame(request: Request, user: SignedIn) -> Response:
    """Return the dashboard's page and its files."""
    dashboards: Dashboards = request.app.state.dashboards
    return call(dashboards.frame, request, find_target(request, "/", FRAME_ROUTES))


@router.get("/api/studies")
def studies(service: TheService, user: SignedIn) -> Response:
    """Return the dashboard's list: the newest searches that have a record."""
    rows, _ = service.table.page(Filter(), MAX_STUDIES, 0)
    found = [
        {
            "study_id": study_id(row["name"]),
            "study_name": row["name"],
            "directions": [row["summary"].get("direction") or "maximize"],
            "user_attrs": [],
            "is_preferential": False,
        }
        for row in rows
        if service.files.has(row["name"])
    ]
    return Response(json.dumps({"study_summaries": found}), media_type="application/json")


@router.get("/api/studies/{path:path}")
@router.get("/csv/{path:path}")
def of_study(request: Request, user: SignedIn) -> Response:
    """Return what the dashboard shows of a search."""
    dashboards: Dashboards = request.app.state.dashboards
    target = find_target(request, "/", STUDY_ROUTES)
    number = next(int(segment) for segment in target.path.split("/") if segment.isdecimal())
    return call(dashboards.app(number), request, target)
