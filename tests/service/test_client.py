"""The service's client, while services come and go."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from hpsearch.cli.remote import RemoteSearches
from hpsearch.errors import ServiceError, UnreachableError
from hpsearch.service.app import create_app
from hpsearch.service.client import http_client
from hpsearch.service.client.http_client import Client
from hpsearch.service.embedded.processes import free_ports
from tests.support.polling import wait_until
from tests.support.serving import served
from tests.support.team import Team


class Follower:
    """Somebody who follows a search's log; `text` is what they have seen."""

    def __init__(self, client: Client, name: str) -> None:
        self.text = ""
        self.error: Exception | None = None
        self._client, self._name = client, name
        self.thread = threading.Thread(target=self._follow)
        self.thread.start()

    def _follow(self) -> None:
        try:
            for text in self._client.logs(self._name, follow=True):
                self.text += text
        except ServiceError as error:
            self.error = error


def begin(team: Team, port: int) -> tuple[Path, Client]:
    """Put a search that runs into the table; returns its log, and a user's client."""
    team.add("live", desired="running", actual="running")
    log = team.service.runs.path / "live" / "driver.log"
    log.parent.mkdir()
    log.write_bytes("first, é".encode()[:-1])  # cut off within a letter
    token = team.service.tokens.create("ann", "user")
    return log, Client(f"http://127.0.0.1:{port}", token)


def test_who_follows_a_log_outlives_the_service(team: Team) -> None:
    [port] = free_ports(1)
    log, client = begin(team, port)
    with served(team.app, port):
        follower = Follower(client, "live")
        wait_until(lambda: follower.text == "first, ")
    with log.open("ab") as file:
        file.write("é".encode()[-1:] + b"\nsecond\n")
    with served(create_app(team.service), port):
        wait_until(lambda: follower.text == "first, é\nsecond\n")
        assert team.service.table.change(team.service.table.get("live"), actual="finished")
        follower.thread.join(30)
    assert (follower.text, follower.error) == ("first, é\nsecond\n", None)


def test_a_service_that_stays_away_is_one_error(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_client, "PATIENCE_S", 1.0)
    [port] = free_ports(1)
    _, client = begin(team, port)
    with served(team.app, port):
        follower = Follower(client, "live")
        wait_until(lambda: follower.text == "first, ")
    follower.thread.join(30)
    assert isinstance(follower.error, UnreachableError)
    monkeypatch.setattr(http_client, "PATIENCE_S", 600.0)
    with pytest.raises(UnreachableError, match="can't be reached"):  # at once
        list(client.logs("live", follow=True))


def test_another_users_log_does_nothing_to_a_terminal(team: Team) -> None:
    record = team.add_finished("done")
    assert record.state == "finished"
    log = team.service.files.path("done") / "driver.log"
    log.write_bytes(b"\x1b[31mred\x1b[0m 50%\r100%\n\x1b]0;title\x07\x1b[2J\x9b1A\tend\n")
    with served(team.app) as url:
        searches = RemoteSearches(url, team.service.tokens.create("ann", "user"))
        text = "".join(searches.logs("done", None, False))
    assert "\x1b[31mred\x1b[0m 50%\r100%\n" in text
    assert "\tend\n" in text
    assert not set(text.replace("\x1b[31m", "").replace("\x1b[0m", "")) & set("\x07\x1b\x9b")


class BreaksOff(BaseHTTPRequestHandler):
    """Promises more bytes than it sends."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.send_header("Content-Disposition", 'attachment; filename="a-trial-1.pt"')
        self.end_headers()
        self.wfile.write(b"half")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), BreaksOff)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_download_that_breaks_off_leaves_the_older_file(tmp_path: Path, address: str) -> None:
    older = tmp_path / "a-trial-1.pt"
    older.write_bytes(b"whole")
    with pytest.raises(
        UnreachableError, match="closed the connection before the end of its response"
    ):
        Client(address, "token").download("a", tmp_path)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"whole"]
