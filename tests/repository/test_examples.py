"""What `search_spaces/` shows works as it is shown."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path
from typing import Any

import pytest

from hpsearch.errors import DivergedError
from hpsearch.space import SearchSpace
from hpsearch.spec import TrialConfig, load_spec
from hpsearch.training import make_trainer
from hpsearch.validation import check_spec
from tests.support.examples import FASHION_MNIST, MORE, SPECS, run_shortly
from tests.support.space import draw

needs_fashion_mnist = pytest.mark.skipif(
    not FASHION_MNIST.is_dir(), reason="needs Debian's package dataset-fashion-mnist"
)


def example(each: str | Path) -> Any:
    """A parameter of a test: the name or the file of a search space."""
    name = each.stem if isinstance(each, Path) else each
    return pytest.param(each, marks=needs_fashion_mnist if name.startswith("fashion") else ())


#: searched through Ray here; `make soak` does so with all
SEARCHED = ("digits_mlp", "fashion_mnist_cnn", "user_model")


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
            assert metrics is not None
            is_earlier = any(name.startswith("stage1_") for name in metrics)  # has no objective
            assert is_earlier or spec.objective.metric in metrics


@pytest.mark.parametrize("path", [example(path) for path in MORE], ids=lambda path: path.stem)
def test_configurations_of_more_search_spaces_train(path: Path, tmp_path: Path) -> None:
    """One, on few rows, without the GPU that they are for."""
    (tmp_path / path.name).write_text(path.read_text())
    (tmp_path / "king_james.txt").write_text("In the beginning God created the heaven. " * 600)
    small = {"fashion_mnist_resnet": ["model.widths=[4, 4, 8]"]}.get(path.stem, [])
    is_fashion = path.stem.startswith("fashion")
    rows = ["dataset.train_rows=200", "dataset.val_rows=50"] if is_fashion else []
    spec, data = check_spec(load_spec(tmp_path / path.name, ["resources.gpu=0", *rows, *small]))
    assert data is not None
    space = SearchSpace.of(spec)
    values = space.resolve(draw(space, random.Random(0)))
    config = TrialConfig(0, 0, spec.max_epochs, values, folder=spec.folder)
    metrics = make_trainer(config, data).train_epoch()
    assert metrics is not None and spec.objective.metric in metrics


def is_large(path: Path) -> bool:
    """Whether an epoch of its data takes long."""
    return path.stem.startswith("fashion") or "cnn" in path.read_text()
