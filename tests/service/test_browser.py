"""The service's pages in a real Chromium: layout, live changes, keyboard, a quiet console."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from hpsearch.analysis.plain import plain_summary
from hpsearch.outcome import Outcome
from hpsearch.record import Record
from hpsearch.service.core import Service
from hpsearch.service.settings import Settings
from tests.support.browser import CHROMIUM
from tests.support.serving import served
from tests.support.specs import make_spec
from tests.support.team import Team

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
PHONE = {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    folder = tmp_path_factory.mktemp("service")
    (folder / "runs").mkdir()
    database = f"sqlite:///{folder / 'service.db'}"
    service = Service(Settings(folder / "runs", database, "http://127.0.0.1:1"))
    team = Team(service)
    team.add("x" * 100, reason="y" * 200)
    record = team.add_finished("done", trials=12)
    (service.runs.path / "done" / "driver.log").write_text("a long line " * 60 + "\n" + "last\n")
    assert record.best is not None
    yield team
    service.close()


@pytest.fixture(scope="module")
def address(team: Team) -> Iterator[str]:
    """Where the pages are served."""
    with served(team.app) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


Visit = Callable[..., Any]


@pytest.fixture
def visit(browser: Browser, address: str, team: Team) -> Visit:
    """Return a function that opens a page, signed in; its console must stay without errors."""

    @contextmanager
    def open_page(path: str, **options: Any) -> Iterator[Page]:
        context = browser.new_context(base_url=address, **options)
        page = context.new_page()
        errors: list[str] = []
        page.on("console", lambda message: _note(errors, message.type, message.text))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(path)
        page.get_by_label("Token").fill(team.service.tokens.create("ann", "user"))
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"**{path}")
        yield page
        context.close()
        assert not errors

    return open_page


def _note(errors: list[str], kind: str, text: str) -> None:
    if kind in ("error", "warning") and "status of 404" not in text:  # a page of this test
        errors.append(text)


def _width(page: Page) -> int:
    return int(page.locator("html").evaluate("each => each.scrollWidth"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_a_phone_in_both_schemes(visit: Visit, scheme: str) -> None:
    with visit("/", viewport=PHONE, color_scheme=scheme) as page:
        assert _width(page) == 360
        page.goto("/searches/done")
        page.locator("[data-figure][data-known]").first.scroll_into_view_if_needed()
        page.locator(".js-plotly-plot").first.wait_for()
        page.get_by_text("Extend…").click()
        assert _width(page) == 360
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, background[4:-1].split(","))) < 200) == (scheme == "dark")
        drawn = page.locator('[data-figure="objective"] .main-svg').first
        assert (drawn.evaluate("each => each.style.background") == "rgb(22, 27, 34)") == (
            scheme == "dark"
        )
        page.goto("/searches/none")
        assert _width(page) == 360
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url("**/sign-in")
        assert _width(page) == 360


def test_a_search_is_live(team: Team, visit: Visit) -> None:
    record = _begin(team, "live")
    with visit("/searches/live") as page:
        page.get_by_text("There is none: no trial has completed yet").wait_for()
        assert page.locator('[data-figure="objective"]').count() == 1
        page.locator('[data-figure="objective"].js-plotly-plot').wait_for()
        page.get_by_text("As resolved").click()
        page.get_by_text("Extend…").click()
        page.get_by_role("textbox", name="Additional trials").fill("12")
        page.evaluate("window.isTheSame = true")
        record.report(0, 3, {"val_accuracy": 0.8125})
        record.end_trial(0, Outcome.COMPLETED)
        _tell(team, record)
        page.locator("dd", has_text="0.8125").wait_for(timeout=60_000)
        page.locator('[data-figure="objective"].js-plotly-plot').wait_for()
        assert page.evaluate("window.isTheSame")  # it was not loaded again
        assert (
            page.get_by_role("textbox", name="Additional trials").input_value() == "12"
        )  # and nothing typed was lost
        assert page.get_by_text("name: live").is_visible()
        assert page.get_by_role("status").inner_text() == "live"


def test_figures_are_drawn_when_they_come_near(visit: Visit) -> None:
    with visit("/searches/done", viewport=PHONE) as page:
        page.locator("[data-figure][data-known]").first.scroll_into_view_if_needed()
        page.locator(".js-plotly-plot").first.wait_for()
        last = page.locator("[data-figure][data-known]").last
        assert "js-plotly-plot" not in (last.get_attribute("class") or "")
        last.scroll_into_view_if_needed()
        page.locator("[data-figure][data-known]").last.locator(".main-svg").first.wait_for()


def test_nothing_moves_where_figures_are_drawn(visit: Visit) -> None:
    """A button would slip away from under the pointer."""
    with visit("/searches/done") as page:
        page.locator(".js-plotly-plot").first.wait_for()
        top = "each => each.getBoundingClientRect().top + scrollY"
        spec = page.get_by_text("As resolved")
        before = spec.evaluate(top)
        for place in page.locator("[data-figure][data-known]").all():
            place.scroll_into_view_if_needed()
            place.locator(".main-svg").first.wait_for()
        assert spec.evaluate(top) == before


def test_the_list_is_live(team: Team, visit: Visit) -> None:
    record = _begin(team, "listed")
    with visit("/") as page:
        row = page.locator("tr", has_text="listed")
        assert "0.51" in row.inner_text()
        record.report(0, 3, {"val_accuracy": 0.8125})
        _tell(team, record)
        row.get_by_text("0.8125").wait_for(timeout=60_000)


def test_a_page_says_when_its_session_has_ended(team: Team, visit: Visit) -> None:
    with visit("/") as page:
        page.get_by_role("status").get_by_text("live", exact=True).wait_for()
        for token in team.service.tokens.list():
            team.service.tokens.revoke(token["id"])
        page.get_by_text("this page is no longer live").wait_for(timeout=60_000)


def test_it_can_be_used_from_the_keyboard(visit: Visit) -> None:
    with visit("/") as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        page.keyboard.press("Enter")
        page.get_by_role("link", name="done").focus()
        page.keyboard.press("Enter")
        page.wait_for_url("**/searches/done")
        page.get_by_text("Delete…").focus()
        page.keyboard.press("Enter")
        assert page.get_by_label("Type the search's name").is_visible()


def test_everything_can_be_read_without_javascript(visit: Visit) -> None:
    with visit("/searches/done", java_script_enabled=False, viewport=PHONE) as page:
        assert page.get_by_role("heading", name="Leaderboard").is_visible()
        assert page.get_by_role("img", name="val_accuracy of 12 trials").is_visible()
        assert page.locator("polyline.completed").count() == 12
        assert _width(page) == 360
        page.get_by_text("As a table").first.click()
        assert page.get_by_role("cell", name="completed").first.is_visible()
        page.get_by_text("Extend…").click()
        assert page.get_by_role("textbox", name="Additional trials").is_visible()


def test_the_dashboard_works(visit: Visit) -> None:
    with visit("/searches/done") as page:
        page.get_by_role("link", name="optuna-dashboard").click()
        page.wait_for_url("**/dashboard/studies/*")
        page.get_by_text("Hyperparameter Importance").first.wait_for(timeout=30_000)


def _begin(team: Team, name: str) -> Record:
    """Put a search into the table that runs its first trial."""
    record = team.service.runs.create(make_spec(name=name)).take_over()
    lr = {"optimizer": "sgd", "optimizer.sgd.lr": 0.1, "batch_size": 32}
    record.add_trial({"model.dropout": 0.1, **lr})
    record.start_attempt(0)
    for epoch in (1, 2):
        record.report(0, epoch, {"val_accuracy": 0.5 + 0.005 * epoch})
    team.add(name, desired="running", actual="running", summary=plain_summary(record))
    return record


def _tell(team: Team, record: Record) -> None:
    """Do as the reconciler does when a record has changed."""
    row = team.service.table.get(record.name)
    changed = team.service.table.change(row, summary=plain_summary(record))
    assert changed is not None
