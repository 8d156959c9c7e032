"""What the README and `search_spaces/` show works as it is shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from hpsearch.outcome import Outcome
from hpsearch.search import run_search
from hpsearch.spec import load_spec
from hpsearch.validation import load_checked_spec

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
SPECS = sorted((ROOT / "search_spaces").glob("*.yaml"))
FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
needs_fashion_mnist = pytest.mark.skipif(
    not FASHION_MNIST.is_dir(), reason="needs Debian's package dataset-fashion-mnist"
)


def example(name: str) -> object:
    marks = needs_fashion_mnist if name.startswith("fashion") else ()
    return pytest.param(name, marks=marks)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One runs folder for all, as a user has: MLflow's database is made once."""
    return tmp_path_factory.mktemp("runs")


@pytest.mark.parametrize("name", [example(path.stem) for path in SPECS])
@pytest.mark.usefixtures("ray_cluster")
def test_every_search_space_runs(name: str, runs: Path) -> None:
    short = ["search.trials=2", "search.max_concurrent=1"]
    short += ["search.early_stopping={name: asha, max_epochs: 2}"]
    if name.startswith("fashion"):
        short += ["dataset.train_rows=600", "dataset.val_rows=200"]
    spec = load_spec(ROOT / "search_spaces" / f"{name}.yaml", short)
    report = run_search(spec, runs)
    assert report.best is not None
    assert {trial.outcome for trial in report.record.trials} <= {
        Outcome.COMPLETED,
        Outcome.STOPPED_EARLY,
    }


@needs_fashion_mnist
def test_the_spec_of_the_readme_is_valid(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(next(text for text in blocks("yaml") if text.startswith("name:")))
    assert load_checked_spec(path).search.trials == 64


def test_every_yaml_of_the_readme_can_be_read() -> None:
    assert all(isinstance(yaml.safe_load(block), dict) for block in blocks("yaml"))


def test_every_link_of_the_readme_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert links
    assert all((ROOT / link).exists() for link in links)


def test_every_command_of_the_readme_exists() -> None:
    from hpsearch.cli import app

    known = {command.name or command.callback.__name__ for command in app.registered_commands}
    named = set(re.findall(r"^hpsearch (\w+)|\| (\w+)", README, re.MULTILINE))
    words = {word for pair in named for word in pair if word}
    assert words & known >= {"run", "validate", "list", "status", "report", "best", "schema", "ui"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
