"""Templates, and the headers that every page carries."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import jinja2
from fastapi import Request
from starlette.responses import HTMLResponse, Response
from starlette.templating import Jinja2Templates

from hpsearch.formatting import show, show_seconds
from hpsearch.service.pages.assets import asset_url

#: scripts come from the service alone, and none stands in a page. Plotly styles what it draws.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    # Not `no-referrer`: forms would then be sent with the origin `null`.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
}

#: pages are made one at a time: many at once would only hold each other up, and small answers too
_RENDERING = threading.Lock()


def render(request: Request, name: str, status: int = 200, **context: Any) -> Response:
    """Return a page from a template; `user` is who is signed in, if anybody."""
    context.setdefault("user", getattr(request.state, "user", None))
    with _RENDERING:
        text = _TEMPLATES.env.get_template(name).render(request=request, **context)
    # A text of users' code may hold half a character, which no encoding has.
    return HTMLResponse(text.encode(errors="replace"), status, headers=HEADERS)


def _ago(moment: float) -> str:
    """Return how long ago a moment was, in one unit."""
    number, unit, *_ = show_seconds(max(time.time() - moment, 0.0)).split()
    return f"{number} {unit} ago"


def _iso(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


def _templates() -> Jinja2Templates:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"ago": _ago, "iso": _iso, "show": show}
    environment.globals["asset"] = asset_url
    return Jinja2Templates(env=environment)


_TEMPLATES = _templates()
