"""What the README and `search_spaces/` show works as it is shown."""

from __future__ import annotations

import contextlib
import random
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from hpsearch.errors import DivergedError
from hpsearch.space import SearchSpace
from hpsearch.spec import TrialConfig, load_spec
from hpsearch.training import make_trainer
from hpsearch.validation import check_spec, load_checked_spec
from tests.support.examples import FASHION_MNIST, ROOT, SPECS, run_shortly
from tests.support.space import draw

README = (ROOT / "README.md").read_text()
needs_fashion_mnist = pytest.mark.skipif(
    not FASHION_MNIST.is_dir(), reason="needs Debian's package dataset-fashion-mnist"
)


def example(each: str | Path) -> Any:
    """A parameter of a test: the name or the file of a search space."""
    name = each.stem if isinstance(each, Path) else each
    return pytest.param(each, marks=needs_fashion_mnist if name.startswith("fashion") else ())


#: searched through Ray here; `make soak` does so with all
SEARCHED = (
    *("diabetes_regression", "digits_mlp", "fashion_mnist_cnn", "user_model"),
    *("user_training_function", "breast_cancer_regularization", "digits_rnn"),
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One runs folder for all, as a user has: MLflow's database is made once."""
    return tmp_path_factory.mktemp("runs")


@pytest.mark.parametrize("name", [example(name) for name in SEARCHED])
@pytest.mark.usefixtures("ray_cluster")
def test_search_spaces_run(name: str, runs: Path) -> None:
    run_shortly(name, runs)


@pytest.mark.parametrize("path", [example(path) for path in SPECS], ids=lambda path: path.stem)
def test_configurations_of_every_search_space_train(path: Path) -> None:
    """Three drawn at random, an epoch each."""
    short = ["dataset.train_rows=600", "dataset.val_rows=200"] if is_large(path) else []
    spec, data = check_spec(load_spec(path, short))
    if data is None:
        return  # a training function of the user's has no blocks
    space, rng = SearchSpace.of(spec), random.Random(0)
    for number in range(3):
        values = space.resolve(draw(space, rng))
        config = TrialConfig(number, 0, spec.max_epochs, values, folder=spec.folder)
        with contextlib.suppress(DivergedError):  # as some rates do
            metrics = make_trainer(config, data).train_epoch()
            assert metrics is not None and spec.objective.metric in metrics


def is_large(path: Path) -> bool:
    """Whether an epoch of its data takes long."""
    return path.stem.startswith("fashion") or "cnn" in path.read_text()


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
