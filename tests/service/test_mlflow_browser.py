"""MLflow's UI behind the service in a real Chromium: what shows a search is passed on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from playwright.sync_api import Page, sync_playwright
from torch import nn

from hpsearch.service.core import Service
from hpsearch.service.embedded.processes import free_ports
from hpsearch.service.settings import Settings
from hpsearch.tracking import register_best, sync
from tests.support.breaking import mlflow_server, wait_for_server
from tests.support.browser import CHROMIUM
from tests.support.serving import served
from tests.support.team import Team

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
#: what its pages ask in vain: its own users, its assistant, and a gateway that isn't there
NOT_PASSED_ON = ("/users/current", "/assistant/", "/gateway-proxy", "/ui-telemetry")


@dataclass
class Shown:
    """A page of MLflow's UI, and what it asked in vain."""

    page: Page
    experiment: str
    run: str
    model: str
    refused: list[str]

    def open(self, place: str) -> Page:
        self.page.goto("about:blank")
        self.page.goto(f"/mlflow/#{place}")
        return self.page


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """A search of three trials in a real MLflow, with a model and an artifact, in a browser."""
    folder = tmp_path_factory.mktemp("service")
    port = free_ports(1)[0]
    uri = f"http://127.0.0.1:{port}"
    with mlflow_server(folder, port):
        wait_for_server(uri)
        service = _service(folder, uri)
        team = Team(service)
        run, model = _add_search(team, uri)
        with served(team.app) as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page = browser.new_context(base_url=address).new_page()
            refused: list[str] = []
            page.on(
                "console",
                lambda said: (
                    refused.append(f"{said.text} {said.location['url']}")
                    if said.type == "error"
                    else None
                ),
            )
            _sign_in(page, service.tokens.create("vic", "viewer"))
            yield Shown(page, "1", run, model, refused)
            browser.close()
        service.close()


def _service(folder: Path, uri: str) -> Service:
    (folder / "runs").mkdir()
    database = f"sqlite:///{folder / 'service.db'}"
    return Service(Settings(folder / "runs", database, "http://127.0.0.1:1", tracking_uri=uri))


def _add_search(team: Team, uri: str) -> tuple[str, str]:
    """Return the best trial's run, and its model."""
    record = team.add_finished("done", trials=3)
    sync(record, uri)
    assert record.best is not None
    register_best(record, uri, record.best, nn.Linear(4, 2), np.zeros((2, 4), np.float32))
    client = MlflowClient(uri)
    (model,) = client.search_logged_models(["1"])
    assert model.source_run_id is not None
    client.log_text(model.source_run_id, "what a trial wrote", "notes/of a trial.txt")
    return model.source_run_id, model.model_id


def _sign_in(page: Page, token: str) -> None:
    page.goto("/")
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("link", name="done").wait_for()


def test_experiments_are_listed(shown: Shown) -> None:
    page = shown.open("/experiments")
    page.get_by_role("link", name="done").first.wait_for()


def test_runs_are_listed(shown: Shown) -> None:
    page = shown.open(f"/experiments/{shown.experiment}/runs")
    page.get_by_role("link", name="done").nth(1).wait_for()


def test_a_run_has_its_curves(shown: Shown) -> None:
    page = shown.open(f"/experiments/{shown.experiment}/runs/{shown.run}/model-metrics")
    page.get_by_text("val_accuracy").first.wait_for()
    page.locator(".js-plotly-plot .scatterlayer").first.wait_for()


def test_a_run_has_its_values_and_artifacts(shown: Shown) -> None:
    page = shown.open(f"/experiments/{shown.experiment}/runs/{shown.run}")
    page.get_by_text("model.dropout").first.wait_for()
    page.get_by_text("0.73").first.wait_for()
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_text("notes").click()
    page.get_by_text("of a trial.txt").first.click()
    page.get_by_text("what a trial wrote").wait_for()


def test_models_are_shown(shown: Shown) -> None:
    page = shown.open("/models")
    page.get_by_role("link", name="done").wait_for()
    page = shown.open("/models/done/versions/1")
    page.get_by_role("link", name="trial-0002").wait_for()
    page = shown.open(f"/experiments/{shown.experiment}/models/{shown.model}/artifacts")
    page.get_by_text("conda.yaml").click()
    page.get_by_text("channels").first.wait_for()


def test_its_pages_ask_little_else(shown: Shown) -> None:
    """The console tells of nothing that they could not load, or were not allowed to do."""
    assert shown.refused
    assert not [each for each in shown.refused if not any(part in each for part in NOT_PASSED_ON)]
