"""What the pages show works as it is shown: links, specs, commands, code."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
import yaml

from hpsearch.cli import app
from hpsearch.components.vision import torchvision
from hpsearch.runs import Runs
from hpsearch.studies import cells, load_study
from hpsearch.validation import load_checked_spec
from tests.support.examples import FASHION_MNIST
from tests.support.images import write_images
from tests.support.pages import DOCS, GENERATED, Page, pages

PAGES = pages()
#: pages whose search is run, and its spec
SEARCHED = {
    "tutorial.md": "ring.yaml",
    "how-to/own-component.md": "own.yaml",
    "how-to/own-training-loop.md": "loop.yaml",
}
#: in a process of its own: modules of such names may be loaded in this one
SEARCH_ALL = """
import sys
from hpsearch import load_spec, run_search
from hpsearch.spec import Resources
from hpsearch.tuning.on_ray.cluster import ray_cluster

short = ["search.trials=3", "search.max_concurrent=1", "search.early_stopping={max_epochs: 2}"]
with ray_cluster(None) as cluster:
    cluster.slots(Resources(), None)  # waits for it
    for spec in sys.argv[1:]:
        run_search(load_spec(spec, short))
"""


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
        names = list(words[: words.index("--")] if "--" in words else words)
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
    named = set(re.findall(r"`(?:hpsearch )?([\w-]+)", text))
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


@pytest.fixture
def own_modules() -> Iterator[None]:
    """Names such as `data` may be those of another test's files, and of the next one's."""
    names = {Path(name).stem for shown in PAGES for name in shown.files}
    kept = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    before = list(sys.path)
    yield
    for name in names:
        sys.modules.pop(name, None)
    sys.modules.update(kept)
    sys.path[:] = before


@pytest.mark.parametrize(("shown", "text"), SPECS)
@pytest.mark.usefixtures("own_modules", "vision_packages")
def test_specs_are_valid(shown: Page, text: str, tmp_path: Path) -> None:
    path = write({"train.py": "", **shown.files, "spec.yaml": text}, tmp_path) / "spec.yaml"
    if "torchvision/resnet18" in text:
        write_images(tmp_path / "flowers", ("rose", "tulip"), count=60)
        weights = torchvision("the test", "torchvision.models").resnet18().state_dict()
        torch.save(weights, tmp_path / "resnet18.pth")
    if "\nvariants:" in text:
        assert load_study(path).name == yaml.safe_load(text)["name"]
        assert cells(load_study(path))
    else:
        assert load_checked_spec(path).name == yaml.safe_load(text)["name"]


def test_points_are_those_of_the_quick_start(tmp_path: Path) -> None:
    """Points name hyperparameters of a space."""
    [points] = [text for text in page("how-to/warm-start.md").blocks("yaml") if "points" in text]
    folder = write(page("quickstart.md").files, tmp_path)
    wanted = yaml.safe_load(points)["search"]["points"]
    spec = load_checked_spec(folder / "digits.yaml", [f"search.points={wanted}"])
    assert [*spec.search.points] == wanted


@pytest.fixture(scope="module")
def readers_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of three pages in one folder, and their searches, run in short."""
    folder = tmp_path_factory.mktemp("reader")
    for name in (*SEARCHED, "how-to/reproduce-a-trial.md"):
        write(page(name).files, folder)
    (folder / "search_all.py").write_text(SEARCH_ALL)
    run_program(folder, "search_all.py", *SEARCHED.values())
    return folder


def run_program(folder: Path, *command: str) -> str:
    words = [sys.executable, *command]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("spec", SEARCHED.values())
def test_own_code_searches(readers_folder: Path, spec: str) -> None:
    record = Runs(readers_folder / "runs").search(Path(spec).stem).open_record()
    assert record.best is not None
    assert {trial.outcome for trial in record.trials} <= {"completed", "stopped_early"}


def test_the_tutorials_model_predicts(readers_folder: Path) -> None:
    assert run_program(readers_folder, "predict.py").startswith("tensor([")


def test_a_trial_is_reproduced(readers_folder: Path) -> None:
    """The program compares every epoch."""
    resolved = readers_folder / "runs" / "ring" / "spec.yaml"  # with the short budget
    (readers_folder / "ring.yaml").write_text(resolved.read_text())
    best = Runs(readers_folder / "runs").search("ring").open_record().best
    assert best is not None
    shown = run_program(readers_folder, "again.py")
    assert shown.startswith(f"trial {best.number}: {best.epochs} epochs")
