"""MLflow's server for a service: it answers only requests with its token.

MLflow knows it as the application `hpsearch`: `mlflow server --app-name hpsearch`. Whoever may
write to MLflow can make others run code, by the models that they load; so users' code, which may
be on the same machine or network, must not.
"""

from __future__ import annotations

import hmac
import json
import os

from starlette.types import ASGIApp, Receive, Scope, Send

VARIABLE = "HPSEARCH_MLFLOW_TOKEN"
MIN_CHARACTERS = 32


def create_app() -> ASGIApp:
    """Return MLflow's application behind the token in the environment."""
    token = os.environ.pop(VARIABLE, "")
    if len(token) < MIN_CHARACTERS or not token.isascii():
        raise ValueError(f"{VARIABLE}: must hold a token of at least {MIN_CHARACTERS} characters")
    from mlflow.server.fastapi_app import app

    return TokenGuard(app, token)


class TokenGuard:
    """Passes on requests that carry a token, and those that ask whether the server is well."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode("ascii")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "lifespan" or _asks_for_health(scope) or self._is_allowed(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await _refuse(send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    def _is_allowed(self, scope: Scope) -> bool:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        return len(given) == 1 and hmac.compare_digest(given[0], self._expected)


def _asks_for_health(scope: Scope) -> bool:
    return scope["type"] == "http" and (scope["method"], scope["path"]) == ("GET", "/health")


async def _refuse(send: Send) -> None:
    body = {"error_code": "UNAUTHENTICATED", "message": "a token of this server is required"}
    headers = [(b"content-type", b"application/json"), (b"www-authenticate", b"Bearer")]
    await send({"type": "http.response.start", "status": 401, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})
