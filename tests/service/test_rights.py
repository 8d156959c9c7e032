"""Long answers end with the rights of who asked, on a real HTTP server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import requests
from sqlalchemy import update
from sqlalchemy.exc import OperationalError

from hpsearch.errors import NotAuthenticatedError
from hpsearch.service.app import create_app
from hpsearch.service.client.http_client import Client
from hpsearch.service.core import Service
from hpsearch.service.database import tables
from hpsearch.service.database.tokens import User
from hpsearch.service.http import rights
from hpsearch.service.settings import Settings
from tests.support.polling import wait_until
from tests.support.serving import served
from tests.support.team import API, Team

SIZE = 300_000_000  # more than a socket's buffers hold
Change = Callable[[], object]


class EndlessArtifact(BaseHTTPRequestHandler):
    """An MLflow server whose artifacts have no end."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"x" * 1000)
        except OSError:
            pass

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Place:
    """A service that looks at rights again and again, and a user of it."""

    def __init__(self, folder: Path, uri: str) -> None:
        (folder / "runs").mkdir()
        database = f"sqlite:///{folder / 'service.db'}"
        settings = Settings(folder / "runs", database, "http://127.0.0.1:1", tracking_uri=uri)
        self.service = Service(settings)
        self.team = Team(self.service)
        self.token = self.service.tokens.create("dan", "user")
        self.session = self.service.sessions.begin(self.service.tokens.authenticate(self.token))
        self.address = ""

    def revoke(self) -> None:
        self.service.tokens.revoke(self.token.split("_")[1])

    def end_session(self) -> None:
        self.service.sessions.end(self.session)

    def change_role(self) -> None:
        with self.service.engine.begin() as connection:
            connection.execute(update(tables.tokens).values(role="viewer"))

    def add_running(self, name: str) -> Path:
        """Put a search into the table that runs, and return its log."""
        self.team.add(name, desired="running", actual="running")
        log = self.service.runs.path / name / "driver.log"
        log.parent.mkdir()
        log.write_text("a line\n")
        return log

    @contextmanager
    def ask(self, path: str) -> Iterator[requests.Response]:
        headers = {"Authorization": f"Bearer {self.token}", "Cookie": f"hpsearch={self.session}"}
        with requests.get(self.address + path, headers=headers, stream=True, timeout=30) as answer:
            assert answer.status_code == 200
            yield answer


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with ThreadingHTTPServer(("127.0.0.1", 0), EndlessArtifact) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        place = Place(tmp_path, f"http://127.0.0.1:{server.server_port}")
        with served(create_app(place.service, check_s=0.2)) as place.address:
            yield place
        server.shutdown()
        thread.join()
        place.service.close()


def _rest(chunks: Iterator[bytes]) -> tuple[bytes, bool]:
    """Return what still comes of an answer, and whether it comes to its regular end."""
    rest = []
    try:
        for chunk in chunks:
            rest.append(chunk)
    except requests.RequestException:
        return b"".join(rest), False
    return b"".join(rest), True


@pytest.fixture
def wait_for_the_end(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], None]]:
    """Wait, without taking more of an answer, until the service has broken it off."""
    with caplog.at_level("INFO", rights.__name__):
        yield lambda: wait_until(lambda: "response aborted" in caplog.text)


@pytest.mark.parametrize("how", ["revoke", "change_role"])
def test_a_log_says_why_it_ends_and_breaks_off(place: Place, how: str) -> None:
    place.add_running("live")
    with place.ask(f"{API}/searches/live/logs?follow=true") as answer:
        chunks = answer.iter_content(None)
        assert next(chunks) == b"a line\n"
        getattr(place, how)()
        rest, is_whole = _rest(chunks)
    assert rest.startswith(b"\nhpsearch: response ended: ")
    assert (b"revoked" in rest, b"no longer a user" in rest) == (how == "revoke", how != "revoke")
    assert not is_whole


def test_who_follows_a_log_is_told_as_an_error(place: Place) -> None:
    place.add_running("live")
    client = Client(place.address, place.token)
    told = client.logs("live", follow=True)
    assert next(told) == "a line\n"
    place.revoke()
    with pytest.raises(NotAuthenticatedError, match="revoked"):
        list(told)


def test_a_log_of_a_trial_ends_too(place: Place) -> None:
    record = place.team.add_finished("done")
    record.go_on()
    record.add_trial(
        {"model.dropout": 0.1, "optimizer": "sgd", "optimizer.sgd.lr": 0.1, "batch_size": 32}
    )
    row = place.service.table.get("done")
    place.service.table.change(row, actual="running")
    outputs = place.service.runs.search("done").outputs
    outputs.mkdir(exist_ok=True)
    (outputs / "trial-0003.log").write_text("epoch 1\n")
    with place.ask(f"{API}/searches/done/logs?follow=true&trial=3") as answer:
        chunks = answer.iter_content(None)
        assert next(chunks) == b"epoch 1\n"
        place.revoke()
        rest, is_whole = _rest(chunks)
    assert (b"response ended" in rest, is_whole) == (True, False)


@pytest.mark.parametrize(
    ("path", "how"),
    [
        (f"{API}/events", "revoke"),
        ("/events", "revoke"),
        ("/events", "end_session"),
        ("/events", "change_role"),
    ],
)
def test_events_end_with_one_that_says_why(place: Place, path: str, how: str) -> None:
    with place.ask(path) as answer:
        lines = answer.iter_lines()
        assert next(lines) == b": listening"
        getattr(place, how)()
        rest = [line for line in lines if line]
    assert rest[0] == b"event: end"
    assert rest[1].startswith(b'data: "')
    assert len(rest) == 2


def test_others_go_on_listening(place: Place) -> None:
    token = place.service.tokens.create("bob", "user")
    headers = {"Authorization": f"Bearer {token}"}
    url = f"{place.address}{API}/events"
    with requests.get(url, headers=headers, stream=True, timeout=30) as kept:
        lines = kept.iter_lines()
        assert next(lines) == b": listening"
        with place.ask("/events") as answer:
            place.revoke()
            assert _rest(answer.iter_content(None))[1]
        row = place.team.add("a")
        place.service.table.change(row, reason="it waits")
        assert b"event: search" in (next(lines) for _ in range(9))


def test_a_download_breaks_off(place: Place, wait_for_the_end: Callable[[], None]) -> None:
    _add_large_checkpoint(place)
    with place.ask(f"{API}/searches/done/model") as answer:
        chunks = answer.iter_content(1 << 20)
        assert next(chunks)
        place.revoke()
        wait_for_the_end()
        rest, is_whole = _rest(chunks)
    assert not is_whole
    assert len(rest) < SIZE - (1 << 20)


def test_who_downloads_is_told_why_and_keeps_nothing(
    place: Place, tmp_path: Path, wait_for_the_end: Callable[[], None]
) -> None:
    _add_large_checkpoint(place)
    client = Client(place.address, place.token)
    chunks = client._chunks

    def revoked(*arguments: Any) -> Iterator[bytes]:
        for number, chunk in enumerate(chunks(*arguments)):
            if number == 0:
                place.revoke()
                wait_for_the_end()
            yield chunk

    client._chunks = revoked  # type: ignore[method-assign]
    (tmp_path / "to").mkdir()
    with pytest.raises(NotAuthenticatedError, match="revoked"):
        client.download("done", tmp_path / "to")
    assert not list((tmp_path / "to").iterdir())


def test_what_mlflow_sends_breaks_off(place: Place, wait_for_the_end: Callable[[], None]) -> None:
    with place.ask("/mlflow/get-artifact?run_id=1&path=a.txt") as answer:
        chunks = answer.iter_content(1000)
        assert next(chunks) == b"x" * 1000
        place.end_session()
        wait_for_the_end()
        _, is_whole = _rest(chunks)
    assert not is_whole


def test_an_answer_outlives_a_database_that_is_away_for_a_while(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def away(token: str) -> None:
        asked.append(token)
        raise OperationalError("SELECT", {}, OSError("away"))

    log = place.add_running("live")
    with place.ask(f"{API}/searches/live/logs?follow=true") as answer:
        chunks = answer.iter_content(None)
        assert next(chunks) == b"a line\n"
        monkeypatch.setattr(place.service.tokens, "authenticate", away)
        wait_until(lambda: len(asked) >= 3)
        log.write_text("a line\nanother\n")
        assert next(chunks) == b"another\n"
        monkeypatch.setattr(rights, "MAX_UNSURE_S", 0.1)
        rest, is_whole = _rest(chunks)
    assert (b"can't be checked" in rest, is_whole) == (True, False)


def test_an_answer_whose_rights_hold_comes_whole(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, authenticate = [], place.service.tokens.authenticate

    def look(token: str) -> User:
        looks.append(token)
        return authenticate(token)

    monkeypatch.setattr(place.service.tokens, "authenticate", look)
    log = place.add_running("live")
    with place.ask(f"{API}/searches/live/logs?follow=true") as answer:
        chunks = answer.iter_content(None)
        assert next(chunks) == b"a line\n"
        wait_until(lambda: len(looks) > 3)
        log.write_text("a line\nanother\n")
        place.service.table.change(place.service.table.get("live"), actual="finished")
        assert _rest(chunks) == (b"another\n", True)


def _add_large_checkpoint(place: Place) -> None:
    record = place.team.add_finished("done")
    assert record.best is not None
    assert record.best.checkpoint is not None
    path = place.service.runs.search("done").checkpoints / record.best.checkpoint
    with path.open("wb") as file:
        file.truncate(SIZE)
