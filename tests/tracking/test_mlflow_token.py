"""MLflow's server for a service answers who has its token, and nobody else."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from hpsearch.tracking.server import VARIABLE, TokenGuard, create_app

TOKEN = "0123456789abcdef" * 2


async def behind(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers everything."""
    await PlainTextResponse("reached")(scope, receive, send)


@pytest.fixture
def client() -> TestClient:
    return TestClient(TokenGuard(behind, TOKEN))


@pytest.mark.parametrize("path", ["/", "/api/2.0/mlflow/runs/search", "/graphql", "/v1/traces"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD"])
def test_nothing_is_reached_without_the_token(client: TestClient, method: str, path: str) -> None:
    for headers in (
        {},
        {"Authorization": TOKEN},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Basic {TOKEN}"},
        {"X-Authorization": f"Bearer {TOKEN}"},
    ):
        assert client.request(method, path, headers=headers).status_code == 401
    allowed = client.request(method, path, headers={"Authorization": f"Bearer {TOKEN}"})
    assert allowed.status_code == 200


def test_two_tokens_are_none(client: TestClient) -> None:
    headers = [("Authorization", "Bearer x"), ("Authorization", f"Bearer {TOKEN}")]
    assert client.get("/", headers=headers).status_code == 401  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health", 200),
        ("POST", "/health", 401),
        ("GET", "/health/", 401),
        ("GET", "/health/../graphql", 401),
        ("GET", "/healthx", 401),
    ],
)
def test_anybody_may_ask_whether_it_is_well(
    client: TestClient, method: str, path: str, status: int
) -> None:
    assert client.request(method, path).status_code == status


def test_no_websocket_is_opened_without_the_token(client: TestClient) -> None:
    with pytest.raises(WebSocketDisconnect) as refused, client.websocket_connect("/ws"):
        raise AssertionError("it was opened")
    assert refused.value.code == 1008


@pytest.mark.parametrize("token", ["", "short", "é" * 40])
def test_it_does_not_start_without_a_token(monkeypatch: pytest.MonkeyPatch, token: Any) -> None:
    monkeypatch.setenv(VARIABLE, token)
    with pytest.raises(ValueError, match="must hold a token of at least 32 characters"):
        create_app()
