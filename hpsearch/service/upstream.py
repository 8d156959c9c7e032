"""Requests that are passed on to MLflow's server, and what it answers."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import IO, Any

import requests
from starlette.exceptions import HTTPException
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from hpsearch.service.forwarding import Target
from hpsearch.service.settings import Settings

TIMEOUT_S = 60.0
#: the error of a request that needs one
NO_MLFLOW = "this service has no MLflow server"
_CHUNK = 1 << 16
_log = logging.getLogger(__name__)


def ask_mlflow(
    settings: Settings,
    target: Target,
    headers: Mapping[str, str],
    body: Mapping[str, Any] | IO[bytes] | None = None,
) -> requests.Response:
    """Return what MLflow's server answers, whose content is not read yet.

    A mapping is sent as JSON. HTTPException where it doesn't answer.
    """
    server, token = settings.tracking_uri or "", settings.tracking_token
    sent = {**headers, **({"Authorization": f"Bearer {token}"} if token else {})}
    if isinstance(body, Mapping):
        sent["Content-Type"] = "application/json"
    try:
        answer = requests.request(
            target.route.method,
            f"{server.rstrip('/')}/{target.path}",
            params=target.query,
            data=json.dumps(body, allow_nan=False) if isinstance(body, Mapping) else body,
            headers=sent | {"Accept-Encoding": "identity"},
            timeout=TIMEOUT_S,
            allow_redirects=False,
            stream=True,
        )
    except requests.RequestException as error:
        _log.warning("MLflow can't be reached: %s", error)
        raise HTTPException(502, "MLflow can't be reached: try again later") from error
    if answer.is_redirect:
        answer.close()
        raise HTTPException(502, "MLflow answered with a redirect, which is not followed")
    return answer


def json_object(headers: Mapping[str, str], body: bytes, max_bytes: int) -> dict[str, Any]:
    """Return the JSON object of a body; HTTPException for another one."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" or len(body) > max_bytes:
        raise HTTPException(415, f"the body must be JSON, of at most {max_bytes:,} bytes")
    try:
        content = json.loads(body.decode(), parse_constant=_refuse_constant)
        if not isinstance(content, dict):
            raise ValueError("no object")
        json.dumps(content, allow_nan=False)  # 1e999 is read as infinity
        return content
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "the body must be a JSON object") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


class PassedOn(StreamingResponse):
    """An answer that is passed on as it comes; its connection ends with it, however that ends."""

    def __init__(self, answer: requests.Response, kept: tuple[str, ...]) -> None:
        """`kept` are the headers that are passed on too."""
        super().__init__(answer.iter_content(_CHUNK), answer.status_code)
        self._answer = answer
        if "content-encoding" not in answer.headers and "content-length" in answer.headers:
            self.headers["content-length"] = answer.headers["content-length"]
        for name in kept:
            if name in answer.headers:
                self.headers[name] = answer.headers[name]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._answer.close()
