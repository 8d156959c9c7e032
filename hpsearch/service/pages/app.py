"""How the pages join the application: their routes, and their errors as pages."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from hpsearch.errors import HpsearchError
from hpsearch.service.cache.figures import Drawer
from hpsearch.service.pages import actions, assets, dashboard, mlflow, reading, session
from hpsearch.service.pages.contents import Contents
from hpsearch.service.pages.rendering import render

Handler = Callable[[Request, Any], Response | Awaitable[Response]]
#: what programs ask for, though a browser may look at it
_FOR_PROGRAMS = ("/api/", "/metrics", "/health", "/ready", "/openapi.json")


def add_pages(app: FastAPI) -> None:
    """Add the pages to an application whose error handlers are set."""
    service = app.state.service
    app.state.drawer = Drawer(service.files)
    app.state.contents = Contents(service.records, app.state.drawer)
    app.state.dashboards = dashboard.Dashboards(service)
    for module in (assets, session, reading, actions, dashboard, mlflow):
        app.include_router(module.router, include_in_schema=False)
    for kind in (HpsearchError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, _as_page(app.exception_handlers[kind]))


def _as_page(handler: Handler) -> Handler:
    """Return a handler that says to browsers, as a page, what another says as JSON."""

    async def handle(request: Request, error: Any) -> Response:
        answer = handler(request, error)
        response = answer if isinstance(answer, Response) else await answer
        if not _is_for_people(request):
            return response
        if response.status_code == 401:
            return _to_sign_in(request)
        told = json.loads(bytes(response.body))["error"]
        return render(request, "error.html", response.status_code, message=told["message"])

    return handle


def _is_for_people(request: Request) -> bool:
    wants_page = "text/html" in request.headers.get("accept", "")
    return wants_page and not request.url.path.startswith(_FOR_PROGRAMS)


def _to_sign_in(request: Request) -> Response:
    """Send to the form, to come back; but first look again where another site's link led here.

    Browsers keep a strict cookie from such a request, but send it when the page reloads itself.
    """
    if request.headers.get("sec-fetch-site") == "cross-site":
        return render(request, "reload.html", 401)
    target = request.url.path if request.method == "GET" else "/"
    query = f"?{request.url.query}" if target != "/" and request.url.query else ""
    form = request.url_for("sign_in_form").include_query_params(next=target + query)
    response = RedirectResponse(f"{form.path}?{form.query}", 303)
    session.forget(request, response)
    return response
