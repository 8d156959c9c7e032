"""What the pages show works as it is shown: links, specs, commands, code."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from hpsearch.analysis import SearchReport
from hpsearch.cli import app
from hpsearch.search import run_search
from hpsearch.spec import load_spec
from hpsearch.validation import load_checked_spec
from tests.support.examples import FASHION_MNIST
from tests.support.pages import DOCS, GENERATED, Page, pages

PAGES = pages()
SHORT = ["search.trials=2", "search.max_concurrent=1", "search.early_stopping={max_epochs: 2}"]


def page(name: str) -> Page:
    return Page(DOCS / name)


def write(files: Mapping[str, str], folder: Path) -> Path:
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("shown", PAGES, ids=lambda shown: shown.name)
def test_links_lead_to_files_and_headings(shown: Page) -> None:
    for link in shown.links:
        file, _, anchor = link.partition("#")
        target = (shown.path.parent / file).resolve() if file else shown.path
        if target.is_relative_to(DOCS) and str(target.relative_to(DOCS)) in GENERATED:
            continue
        assert target.exists(), link
        assert not anchor or anchor in Page(target).anchors, link


@pytest.mark.parametrize("shown", PAGES, ids=lambda shown: shown.name)
def test_commands_exist_with_their_options(shown: Page) -> None:
    for words in shown.commands():
        command: Any = typer.main.get_command(app)
        names = list(words)
        while hasattr(command, "commands") and names and not names[0].startswith("-"):
            name = names.pop(0)
            assert name in command.commands, words
            command = command.commands[name]
        known = {option for each in command.params for option in each.opts} | {"--help"}
        used = {word.partition("=")[0] for word in names if word.startswith("-")}
        assert used <= known, words


def test_every_command_is_explained() -> None:
    commands: Any = typer.main.get_command(app)
    text = page("commands.md").text
    named = set(re.findall(r"`(?:hpsearch )?(\w+)", text))
    assert set(commands.commands) - named == {"job"}  # the service's own


@pytest.mark.parametrize("shown", PAGES, ids=lambda shown: shown.name)
def test_code_can_be_parsed(shown: Page) -> None:
    for code in shown.blocks("python"):
        compile(code, shown.name, "exec")
    assert all(isinstance(yaml.safe_load(text), dict) for text in shown.blocks("yaml"))


SPECS = [
    pytest.param(
        shown,
        text,
        marks=pytest.mark.skipif(
            "fashion_mnist" in text and not FASHION_MNIST.is_dir(),
            reason="needs Debian's package dataset-fashion-mnist",
        ),
        id=f"{shown.name}-{yaml.safe_load(text)['name']}",
    )
    for shown in PAGES
    for text in shown.blocks("yaml")
    if text.startswith("name:")
]


@pytest.mark.parametrize(("shown", "text"), SPECS)
def test_specs_are_valid(shown: Page, text: str, tmp_path: Path) -> None:
    path = write({**shown.files, "spec.yaml": text}, tmp_path) / "spec.yaml"
    assert load_checked_spec(path).name == yaml.safe_load(text)["name"]


def test_points_are_those_of_the_quick_start(tmp_path: Path) -> None:
    """Points name hyperparameters of a space."""
    [points] = [text for text in page("how-to/warm-start.md").blocks("yaml") if "points" in text]
    folder = write(page("quickstart.md").files, tmp_path)
    wanted = yaml.safe_load(points)["search"]["points"]
    spec = load_checked_spec(folder / "digits.yaml", [f"search.points={wanted}"])
    assert [*spec.search.points] == wanted


def search_shortly(folder: Path, spec: str) -> SearchReport:
    report = run_search(load_spec(folder / spec, SHORT), folder / "runs")
    assert report.best is not None
    return report


@pytest.mark.parametrize(
    ("name", "spec"),
    [("how-to/own-component.md", "own.yaml"), ("how-to/own-training-loop.md", "loop.yaml")],
)
@pytest.mark.usefixtures("ray_cluster")
def test_own_code_searches(name: str, spec: str, tmp_path: Path) -> None:
    search_shortly(write(page(name).files, tmp_path), spec)


@pytest.mark.usefixtures("ray_cluster")
def test_the_tutorial_from_an_empty_folder_to_predictions(tmp_path: Path) -> None:
    """Its search, its predictions, and the trial trained again, epoch by epoch."""
    again = page("how-to/reproduce-a-trial.md").files
    folder = write({**page("tutorial.md").files, **again}, tmp_path)
    best = search_shortly(folder, "ring.yaml").best
    spec = (folder / "runs" / "ring" / "spec.yaml").read_text()
    (folder / "ring.yaml").write_text(spec)  # with the short budget
    for program, begin in (("predict.py", "tensor(["), ("again.py", f"trial {best.number}: 2")):
        command = [sys.executable, program]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(begin)
