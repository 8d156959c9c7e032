"""Clients that connect and then say nothing, or say it as slowly as they can."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import uvicorn

from hpsearch.service.app import create_app
from hpsearch.service.embedded.serve import _Server
from hpsearch.service.http import idle_connections
from tests.support.serving import served
from tests.support.team import API, Team

HEAD = b"GET /health HTTP/1.1\r\nHost: x\r\n"
BODY = f"POST {API}/searches HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n{{".encode()


@pytest.fixture
def port(team: Team, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port of a server as `hpsearch serve` runs it, whose clients have little time."""
    monkeypatch.setattr(idle_connections, "HEAD_S", 0.5)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()  # who comes early waits
        config = uvicorn.Config(create_app(team.service), log_level="warning")
        server = _Server(config, lambda: None)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join()


@pytest.mark.parametrize("begun", [b"", HEAD, HEAD + b"\r\n" + HEAD], ids=["none", "head", "next"])
def test_a_client_that_asks_for_nothing_is_let_go(port: int, begun: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(begun)
        while client.recv(1000):
            pass


def test_a_body_that_does_not_come_is_waited_for_no_longer(
    team: Team,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hpsearch.service.app.BODY_S", 0.2)
    with served(create_app(team.service)) as url:
        where = ("127.0.0.1", urlsplit(url).port or 0)
        with socket.create_connection(where, timeout=30) as client:
            client.sendall(BODY)
            said = b""
            while more := client.recv(1000):
                said += more
    assert said.startswith(b"HTTP/1.1 408")
    assert b"must arrive within 0.2 s" in said
