"""What one user asks for is bounded, and keeps no other user waiting."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import requests

from hpsearch.service.cache.readonly_storage import study_id
from hpsearch.service.http.errors import MAX_PROBLEMS
from hpsearch.service.slots import UserSlots
from tests.support.archives import archive
from tests.support.browser import Visitor
from tests.support.serving import served
from tests.support.team import API, Team

#: threads that answer, and of them one user's
THREADS, RUNNING = 5, 2
DEEP = "[" * 100_000


class Held:
    """Stands where a call shall wait, and counts those that do."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.entered = threading.Semaphore(0)
        self._lock = threading.Lock()
        self.now = self.most = 0

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Wait until all may go on."""
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        self.entered.release()
        assert self.released.wait(60)
        try:
            yield
        finally:
            with self._lock:
                self.now -= 1


class Crowd:
    """Clients that ask at once, of a service whose records take as long to read as one likes."""

    def __init__(self, team: Team, url: str) -> None:
        self.held = Held()
        self.url = url
        self._team = team
        self._threads = ThreadPoolExecutor(20)
        read = team.service.records.read

        def read_later(name: str, fresh: bool = False) -> object:
            with self.held.hold():
                return read(name, fresh)

        team.service.records.read = read_later  # type: ignore[method-assign, assignment]

    def asks(self, user: str, times: int) -> list[Future[int]]:
        """Let a user ask for a record some times at once."""
        token = self._team.service.tokens.create(user, "viewer")
        path = f"{API}/searches/whole/status"
        return [self._threads.submit(self._status, path, token) for _ in range(times)]

    def asks_for_little(self, user: str) -> int:
        """Let a user ask for what no record is read for."""
        return self._status(f"{API}/me", self._team.service.tokens.create(user, "viewer"))

    def _status(self, path: str, token: str | None = None) -> int:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return requests.get(self.url + path, headers=headers, timeout=60).status_code

    def wait_for(self, count: int) -> None:
        """Wait until so many more reads are held."""
        for _ in range(count):
            assert self.held.entered.acquire(timeout=60)


@pytest.fixture
def crowd(team: Team, monkeypatch: pytest.MonkeyPatch) -> Iterator[Crowd]:
    monkeypatch.setattr("hpsearch.service.app.MAX_THREADS", THREADS)
    team.app.state.slots = UserSlots(RUNNING)
    team.add_finished("whole")
    with served(team.app) as url:
        crowd = Crowd(team, url)
        try:
            yield crowd
        finally:
            crowd.held.released.set()


def test_one_user_takes_a_part_of_the_threads(crowd: Crowd) -> None:
    answers = crowd.asks("ann", 12)
    crowd.wait_for(RUNNING)
    assert crowd.asks_for_little("bob") == 200  # while all of ann's wait
    assert not any(answer.done() for answer in answers)
    crowd.held.released.set()
    assert {answer.result(60) for answer in answers} == {200}  # none was refused
    assert crowd.held.most == RUNNING


def test_health_needs_no_thread(crowd: Crowd) -> None:
    answers = [each for user in ("ann", "bob", "carl") for each in crowd.asks(user, 2)]
    crowd.wait_for(THREADS)
    assert requests.get(f"{crowd.url}/health", timeout=60).status_code == 200
    crowd.held.released.set()
    assert {answer.result(60) for answer in answers} == {200}


def test_a_followed_log_holds_no_slot(team: Team) -> None:
    team.app.state.slots = UserSlots(1)
    team.add("runs", actual="running", desired="running")
    (team.service.files.path("runs")).mkdir()
    token = team.service.tokens.create("ann", "user")
    headers = {"Authorization": f"Bearer {token}"}
    with served(team.app) as url:
        path = f"{url}{API}/searches/runs/logs?follow=true"
        with requests.get(path, headers=headers, stream=True, timeout=60) as log:
            assert log.status_code == 200
            assert requests.get(f"{url}{API}/me", headers=headers, timeout=60).status_code == 200
        team.service.table.remove("runs")


def _put(url: str, team: Team, code: str) -> int:
    content = archive(("train.py", code.encode()))
    path = f"{url}{API}/code/{hashlib.sha256(content).hexdigest()}"
    headers = {"Authorization": team.ann.headers["Authorization"]}
    return requests.put(path, data=content, headers=headers, timeout=60).status_code


def test_one_archive_of_a_user_is_unpacked_at_a_time(
    team: Team,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held, store = Held(), team.service.uploads.store

    def store_later(code_hash: str, chunks: Iterator[bytes]) -> object:
        with held.hold():
            return store(code_hash, chunks)

    monkeypatch.setattr(team.service.uploads, "store", store_later)
    with served(team.app) as url, ThreadPoolExecutor(3) as threads:
        answers = [threads.submit(_put, url, team, f"x = {number}") for number in range(3)]
        assert held.entered.acquire(timeout=60)
        held.released.set()
        assert {answer.result(60) for answer in answers} == {201}
    assert held.most == 1


@pytest.mark.parametrize(
    "body",
    [
        DEEP,
        '{"spec": ' + DEEP,
        '{"a":' * 100_000,
        '{"spec": "x", "priority": ' + "9" * 900_000 + "}",
        '{"spec": "x", "priority": 1e' + "9" * 900_000 + "}",
        '{"spec": "x", "priority": -' + "9" * 4_000 + "}",
        "[" + "{}," * 300_000 + "{}]",
        '"\\ud800"',
        '{"spec": "\\ud800"}',
    ],
    ids=range(9),
)
@pytest.mark.parametrize("path", ["/searches", "/searches/whole/extend"])
def test_bodies_that_are_hard_to_parse_are_refused(team: Team, path: str, body: str) -> None:
    team.add_finished("whole")
    headers = {"Content-Type": "application/json"}
    answer = team.ann.post(f"{API}{path}", content=body, headers=headers)
    assert 400 <= answer.status_code < 500, answer.text
    assert len(answer.text) < 5_000
    assert json.loads(answer.text)["error"]["message"]


def test_an_answer_names_a_part_of_many_mistakes(team: Team) -> None:
    states = "&".join(f"state=s{i}" for i in range(3 * MAX_PROBLEMS))
    error = team.ann.get(f"{API}/searches?{states}").json()["error"]
    assert len(error["problems"]) == MAX_PROBLEMS
    assert error["message"].endswith(f"and {2 * MAX_PROBLEMS} more")


def test_the_dashboard_follows_no_link_of_a_searchs_folder(
    team: Team,
    visit: Visitor,
) -> None:
    team.add_finished("whole")
    team.add("linked")
    folder = team.service.files.path("linked")
    folder.mkdir()
    journal = team.service.files.path("whole") / "record.journal"
    (folder / journal.name).symlink_to(journal)
    found = visit("viewer").get("/api/studies")
    assert [each["study_name"] for each in found.json()["study_summaries"]] == ["whole"]
    assert visit("viewer").get(f"/api/studies/{study_id('whole')}").status_code == 200
