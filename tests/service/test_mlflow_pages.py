"""MLflow's UI through the service: behind the sign-in, reading only, from a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from hpsearch.service.core import Service
from hpsearch.service.embedded.processes import free_ports
from hpsearch.service.settings import Settings
from hpsearch.tracking import sync
from tests.support.breaking import mlflow_server, wait_for_server
from tests.support.team import Team

ASK = "/mlflow/ajax-api/2.0/mlflow"


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    folder = tmp_path_factory.mktemp("service")
    (folder / "runs").mkdir()
    port = free_ports(1)[0]
    uri = f"http://127.0.0.1:{port}"
    with mlflow_server(folder, port):
        wait_for_server(uri)
        database = f"sqlite:///{folder / 'service.db'}"
        service = Service(
            Settings(folder / "runs", database, "http://127.0.0.1:1", tracking_uri=uri)
        )
        team = Team(service)
        sync(team.add_finished("done", trials=3), uri)
        yield team
        service.close()


@pytest.fixture
def viewer(team: Team) -> TestClient:
    return _signed_in(team, "viewer")


@pytest.fixture
def admin(team: Team) -> TestClient:
    return _signed_in(team, "admin")


def _signed_in(team: Team, role: str) -> TestClient:
    headers = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin"}
    client = TestClient(team.app, headers=headers, raise_server_exceptions=False)
    token = team.service.tokens.create("vic", role)
    assert client.post("/sign-in", data={"token": token}).status_code == 200
    return client


def _names(team: Team) -> set[str]:
    """Return the names of MLflow's experiments, as it says itself."""
    from mlflow import MlflowClient

    assert team.service.settings.tracking_uri is not None
    return {
        each.name for each in MlflowClient(team.service.settings.tracking_uri).search_experiments()
    }


def test_a_search_leads_to_its_run(viewer: TestClient) -> None:
    assert "/searches/done/mlflow" in viewer.get("/searches/done").text
    answer = viewer.get("/searches/done/mlflow", follow_redirects=False)
    location = answer.headers["location"]
    assert location.startswith("/mlflow/#/experiments/")
    run = location.rpartition("/")[2].partition("?")[0]
    found = viewer.get(f"{ASK}/runs/get", params={"run_id": run}).json()
    assert found["run"]["info"]["run_name"] == "done"


def test_its_page_and_files_come_from_here(viewer: TestClient) -> None:
    page = viewer.get("/mlflow/")
    assert "<title>MLflow</title>" in page.text
    assert "default-src 'self'" in page.headers["content-security-policy"]
    script = page.text.split('src="static-files/')[1].split('"')[0]
    answer = viewer.get(f"/mlflow/static-files/{script}")
    assert answer.headers["content-type"].startswith(("text/javascript", "application/javascript"))
    assert viewer.get("/mlflow", follow_redirects=False).headers["location"] == "/mlflow/"


def test_searches_may_be_asked(viewer: TestClient) -> None:
    experiments = viewer.post(f"{ASK}/experiments/search", json={"max_results": 10}).json()
    (number,) = [
        each["experiment_id"] for each in experiments["experiments"] if each["name"] == "done"
    ]
    runs = viewer.post(f"{ASK}/runs/search", json={"experiment_ids": [number]}).json()["runs"]
    assert len(runs) == 4  # the search's and three trials'


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "runs/delete"),
        ("POST", "runs/update"),
        ("POST", "experiments/delete"),
        ("POST", "registered-models/create"),
        ("PATCH", "registered-models/update"),
        ("DELETE", "registered-models/delete"),
        ("PUT", "anything"),
    ],
)
def test_nothing_can_be_written(viewer: TestClient, method: str, path: str) -> None:
    assert viewer.request(method, f"{ASK}/{path}", json={}).status_code == 405


@pytest.mark.parametrize("client", ["viewer", "admin"])
def test_what_looks_like_a_search_creates_nothing(
    team: Team, client: str, request: pytest.FixtureRequest
) -> None:
    """An address that one reader takes for a search, and another for what stands before it."""
    asked: TestClient = request.getfixturevalue(client)
    for end in ("%3Fx=/search", "%23/search", "?/search", ";/search", "/../search", "%00search"):
        for path in ("experiments/create", "registered-models/create", "webhooks"):
            body = {"name": "evil", "url": "http://127.0.0.1:1", "events": []}
            answer = asked.post(f"{ASK}/{path}{end}", json=body)
            assert answer.status_code in (400, 404, 405)
    assert _names(team) == {"Default", "done"}
    assert asked.get(f"{ASK}/gateway-proxy?gateway_path=http://127.0.0.1:1").status_code == 404


def test_other_sites_can_ask_nothing(viewer: TestClient) -> None:
    headers = {"Sec-Fetch-Site": "cross-site"}
    answer = viewer.post(f"{ASK}/runs/search", json={}, headers=headers)
    assert answer.status_code == 403


def test_nobody_sees_it_without_a_sign_in(team: Team) -> None:
    stranger = TestClient(team.app)
    for path in ("/mlflow/", f"{ASK}/experiments/search", "/mlflow/static-files/x"):
        assert stranger.get(path, follow_redirects=False).status_code == 401


def test_what_users_code_wrote_is_in_a_sandbox(team: Team, viewer: TestClient) -> None:
    from mlflow import MlflowClient

    location = viewer.get("/searches/done/mlflow", follow_redirects=False).headers["location"]
    run = location.rpartition("/")[2].partition("?")[0]
    assert team.service.settings.tracking_uri is not None
    client = MlflowClient(team.service.settings.tracking_uri)
    client.log_text(run, "<script>alert(1)</script>", "evil.html")
    answer = viewer.get("/mlflow/get-artifact", params={"path": "evil.html", "run_uuid": run})
    assert "alert(1)" in answer.text
    assert answer.headers["content-security-policy"].startswith("sandbox")


def test_a_server_that_is_down_is_told(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    settings = Settings(
        tmp_path / "runs",
        f"sqlite:///{tmp_path / 'service.db'}",
        "http://127.0.0.1:1",
        tracking_uri=f"http://127.0.0.1:{free_ports(1)[0]}",
    )
    service = Service(settings)
    client = TestClient(Team(service).app, headers={"Sec-Fetch-Site": "same-origin"})
    client.post("/sign-in", data={"token": service.tokens.create("vic", "viewer")})
    answer = client.get("/mlflow/")
    assert (answer.status_code, "MLflow can't be reached" in answer.text) == (502, True)
    service.close()
