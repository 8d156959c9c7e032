"""How the pages join the application: their routes, and their errors as pages."""

from __future__ import annotations

from fastapi import FastAPI, Request
from starlette.responses import RedirectResponse, Response

from hpsearch.service.cache.figures import FigureProcess
from hpsearch.service.http.errors import ErrorAnswer, add_error_handlers
from hpsearch.service.pages import actions, assets, dashboard, mlflow, reading, session
from hpsearch.service.pages.contents import Contents
from hpsearch.service.pages.rendering import render

#: what programs ask for, though a browser may look at it
_FOR_PROGRAMS = ("/api/", "/metrics", "/health", "/ready", "/openapi.json")


def add_pages(app: FastAPI) -> None:
    """Add the pages to an application, and show its errors as pages too."""
    service = app.state.service
    app.state.figure_process = FigureProcess(service.files)
    app.state.contents = Contents(service.records, app.state.figure_process)
    app.state.dashboards = dashboard.Dashboards(service)
    for module in (assets, session, reading, actions, dashboard, mlflow):
        app.include_router(module.router, include_in_schema=False)
    add_error_handlers(app, _shown)


def _shown(request: Request, answer: ErrorAnswer) -> Response:
    """Show an error to browsers as a page, to programs as JSON."""
    if not _is_for_people(request):
        return answer.to_json()
    if answer.status == 401:
        return _to_sign_in(request)
    return render(request, "error.html", answer.status, message=answer.message)


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
