"""The style sheet and the scripts, named by their content so that browsers keep them for good."""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from pathlib import Path as FilePath
from typing import Annotated

from fastapi import APIRouter, Path, Request
from plotly.offline import get_plotlyjs
from starlette.exceptions import HTTPException
from starlette.responses import Response

from hpsearch.analysis.page_assets import SCRIPT, STYLE

router = APIRouter(prefix="/assets")
_FOLDER = FilePath(__file__).parent / "static"
_NAMES = ("pages.css", "pages.js", "plotly.js")
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}


def asset_url(name: str) -> str:
    """Return the address of an asset."""
    return f"{router.prefix}/{_digest(name)}/{name}"


def make_ready() -> None:
    """Compress the assets, which takes a while, before anybody waits for them."""
    for name in _NAMES:
        _compressed(name)


@router.get("/{digest}/{name}")
def asset(digest: str, name: Annotated[str, Path(max_length=100)], request: Request) -> Response:
    """Return an asset, compressed where the browser can take that."""
    if name not in _NAMES or digest != _digest(name):
        raise HTTPException(404, "no such file")
    headers = {
        "Cache-Control": "public, max-age=31536000, immutable",
        "X-Content-Type-Options": "nosniff",
        "Vary": "Accept-Encoding",
    }
    content = _content(name)
    if "gzip" in request.headers.get("accept-encoding", ""):
        content, headers["Content-Encoding"] = _compressed(name), "gzip"
    return Response(content, media_type=_TYPES[FilePath(name).suffix], headers=headers)


@cache
def _content(name: str) -> bytes:
    if name == "plotly.js":
        return str(get_plotlyjs()).encode()
    before = {"pages.css": STYLE, "pages.js": SCRIPT}[name]  # the report's come first
    return before.encode() + (_FOLDER / name).read_bytes()


@cache
def _compressed(name: str) -> bytes:
    return gzip.compress(_content(name), 6)


@cache
def _digest(name: str) -> str:
    return hashlib.sha256(_content(name)).hexdigest()[:16]
