"""What the tests of the service share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from hpsearch.service.core import Service
from hpsearch.service.settings import Settings
from hpsearch.service.uploads import UploadLimits
from tests.support.browser import Visitor
from tests.support.team import Team


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    """A service without a cluster, with its users."""
    runs = tmp_path / "runs"
    runs.mkdir()
    limits = UploadLimits(archive=100_000)
    database = f"sqlite:///{tmp_path / 'service.db'}"
    service = Service(Settings(runs, database, "http://127.0.0.1:1", upload_limits=limits))
    yield Team(service)
    service.close()


@pytest.fixture
def visit(team: Team) -> Visitor:
    """Return a function that returns a browser without JavaScript, signed in or not."""

    def open_browser(role: str | None = "user", name: str = "ann", **options: Any) -> TestClient:
        headers = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin"}
        client = TestClient(team.app, headers=headers, raise_server_exceptions=False, **options)
        if role is not None:
            token = team.service.tokens.create(name, role)
            assert client.post("/sign-in", data={"token": token}).status_code == 200
        return client

    return open_browser
