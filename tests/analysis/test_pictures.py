"""What a reader sees of the pictures, in Chromium, and when there is none."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, sync_playwright
from rich.console import Console

from hpsearch.analysis import SearchReport
from hpsearch.analysis.figures import figure_names, objective_over_trials
from hpsearch.analysis.importance import importances
from hpsearch.live import render_report
from hpsearch.outcome import Outcome
from hpsearch.record import Record
from tests.support.browser import CHROMIUM
from tests.support.records import add, make_spec
from tests.support.searched import searched

CHOICES = ["xavier_uniform", "he_normal", "lecun_normal", "orthogonal_initializer"]
MANY = {f"hyperparameter_{i}": {"low": 0.0, "high": 1.0} for i in range(8)}


def record_of(folder: Path, space: Any, count: int) -> Record:
    """Trials that are the better the larger the first hyperparameter is."""
    record, draw = Record.create(folder / "record.journal", make_spec(space)), random.Random(0)
    for _ in range(count):
        params = {
            name: draw.choice(tree["choices"]) if "choices" in tree else draw.uniform(0, 1)
            for name, tree in space.items()
        }
        add(record, [params[min(space)]] * 9, **params)
    return record


@pytest.fixture(scope="module")
def report_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A report with more axes than fit beside each other, and choices with long names."""
    folder = tmp_path_factory.mktemp("report")
    record = record_of(folder, {**MANY, "initializer": {"choices": CHOICES}}, 20)
    (folder / "report.html").write_text(SearchReport(record).to_html())
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.goto((folder / "report.html").as_uri())
        yield page
        browser.close()


def ticks(page: Page, figure: str) -> list[str]:
    place = page.locator(f"[data-figure='{figure}']")
    place.scroll_into_view_if_needed()
    place.locator(".xtick text").first.wait_for()
    return place.locator(".xtick text:visible").all_text_contents()


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_every_choice_and_every_axis_has_its_name(report_page: Page) -> None:
    assert ticks(report_page, "slice:initializer") == CHOICES
    assert ticks(report_page, "parallel")[-1] == "score"
    assert len(ticks(report_page, "parallel")) == 10


def test_an_axis_of_few_trials_has_whole_numbers(tmp_path: Path) -> None:
    few = objective_over_trials(record_of(tmp_path, MANY, 2))
    assert few is not None and few.layout.xaxis.dtick == 1


def test_a_search_without_results_has_no_place_for_slices(tmp_path: Path) -> None:
    record = record_of(tmp_path, MANY, 0)
    add(record, [], Outcome.FAILED, "ValueError", **dict.fromkeys(MANY, 0.5))
    assert not [name for name in figure_names(record, importances(record)) if "slice" in name]
    add(record, [0.5], **dict.fromkeys(MANY, 0.5))
    assert len([n for n in figure_names(record, importances(record)) if "slice" in n]) == 8


def test_importances_have_intervals_and_are_printed_from_many_trials(tmp_path: Path) -> None:
    for name, count in (("few", 30), ("many", 150)):
        (tmp_path / name).mkdir()
        report = SearchReport(record_of(tmp_path / name, MANY, count))
        (best, share), *_ = report.importances.items()
        low, high = report.importance_intervals[best]
        assert best == "hyperparameter_0" and low <= share <= high
        assert all(0 <= low <= high <= 1 for low, high in report.importance_intervals.values())
        assert f"| `{best}` | {share:.1%} | {low:.0%} to {high:.0%} |" in report.to_markdown()
        console = Console(width=500)
        with console.capture() as printed:
            console.print(render_report(report))
        told = f"importance: {best} {share:.0%} ({low:.0%} to {high:.0%}), "
        assert (told in printed.get()) == (name == "many")


def test_importances_of_a_hyperparameter_that_a_resample_has_no_trial_of(tmp_path: Path) -> None:
    gain = {"low": 0.5, "high": 2.0}
    space = {
        "lr": {"low": 0.0, "high": 1.0},
        "kind": {"choices": ["a", {"name": "b", "gain": gain}]},
    }
    record, draw = Record.create(tmp_path / "record.journal", make_spec(space)), random.Random(0)
    drawn = np.random.default_rng(0).integers(0, 30, 30)  # the first resample
    rare = sorted(set(range(30)) - set(drawn.tolist()))[:5]
    for number in range(30):
        lr = draw.uniform(0, 1)
        kind: dict[str, Any] = (
            {"kind": "b", "kind.b.gain": 1.0 + lr} if number in rare else {"kind": "a"}
        )
        add(record, [lr] * 9, lr=lr, **kind)
    found = importances(record)
    assert {"lr", "kind.b.gain"} <= found.intervals.keys()
    low, high = found.intervals["kind.b.gain"]
    assert 0 <= low <= high <= 1


def test_an_axis_of_powers_of_two_has_them_as_ticks(tmp_path: Path) -> None:
    powers = {"low": 8, "high": 128, "powers_of_two": True}
    record = searched(tmp_path, {"n": powers}, lambda p: -abs(np.log2(p["n"]) - 5))
    axis = SearchReport(record).figures["slice:n"].layout.xaxis
    assert axis.type == "log" and list(axis.tickvals) == [8, 16, 32, 64, 128]
