"""What tests share: a Ray cluster for all, and the parts of small searches."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hpsearch.components import Data
    from tests.support.mlflow_store import Store
    from tests.support.whole import Search


#: files of minutes, which `make test` leaves out, the longest first
LONG = (
    "tuning/test_search.py",
    "tuning/test_resume.py",
    "tuning/test_population_search.py",
    "cli/test_team_cli.py",
    "repository/test_examples.py",
    "repository/test_scripts_of_others.py",
    "cli/test_no_best.py",
    "cli/test_home.py",
    "repository/test_wheel.py",
    "repository/test_docs.py",
    "repository/test_pages.py",
    "record/test_postgresql.py",
    "cli/test_moved.py",
    "tuning/test_nodes.py",
    "training/test_ranks.py",
    "tuning/test_process.py",
    "integrations/test_integrations.py",
    "tuning/test_checked_code.py",
    "training/command/test_processes.py",
    "service/test_serve.py",
    "service/test_browser.py",
    "tuning/test_user_processes.py",
    "test_notebook_kernel.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the longest files and put them first, or one worker would end with them alone."""
    tests = Path(__file__).parent

    def rank(item: pytest.Item) -> int:
        name = item.path.relative_to(tests).as_posix()
        return LONG.index(name) if name in LONG else len(LONG)

    for item in items:
        if rank(item) < len(LONG):
            item.add_marker("long")
    items.sort(key=rank)


@pytest.fixture(autouse=True)
def mlflow_settings() -> Iterator[None]:
    """MLflow's place is a setting of the process: what a test sets of it is that test's alone."""
    names = "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"
    before = {name: os.environ[name] for name in names if name in os.environ}
    yield
    if mlflow := sys.modules.get("mlflow"):
        mlflow.set_registry_uri(None)
        mlflow.set_tracking_uri(None)
    for name in names:
        os.environ.pop(name, None)
    os.environ.update(before)


@pytest.fixture
def own_registry() -> Iterator[None]:
    """What a test registers, families included, is gone after it."""
    from hpsearch.registry import family, lookup

    family.families()  # imports what registers components as it is imported
    injected = dict(family.INJECTED)
    components = {name: dict(known) for name, known in lookup._components.items()}
    yield
    for now, before in (family.INJECTED, injected), (lookup._components, components):
        now.clear()
        now.update(before)


@pytest.fixture(autouse=True)
def forgotten_code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Code that a test writes is imported for that test alone: many call theirs train.py."""
    before = set(sys.modules)
    yield
    _forget(sys.modules.keys() - before, tmp_path_factory)


@pytest.fixture(scope="module", autouse=True)
def forgotten_code_of_a_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What fixtures of a file have imported is for that file alone."""
    before = set(sys.modules)
    yield
    _forget(sys.modules.keys() - before, tmp_path_factory)


def _forget(names: Iterable[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    written = os.path.join(tmp_path_factory.getbasetemp(), "")
    for name in names:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(written):
            del sys.modules[name]


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """One local Ray cluster for all tests that run searches in this process."""
    from hpsearch.spec import Resources
    from hpsearch.tuning.on_ray.cluster import ray_cluster

    with ray_cluster(None) as cluster:
        cluster.slots(Resources(), None)  # waits for it
        yield


@pytest.fixture(scope="module")
def vision_packages() -> Iterator[None]:
    """torchvision and timm, from a folder of their own (requirements-vision.lock says why)."""
    folder = str(Path(sys.prefix) / "vision")
    sys.path.append(folder)
    yield
    sys.path.remove(folder)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As in a trial that asks for one CPU. Small nets gain nothing from more, and the threads of
    two files at once would wait for each other: that took some tests 20 times as long."""
    import torch

    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


@pytest.fixture(scope="session")
def wine() -> Data:
    """A small classification: 114 rows to train, 13 features, 3 classes."""
    from hpsearch.components import load_data

    return load_data({"name": "wine"}, seed=0)


@pytest.fixture(scope="session")
def mlflow_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh store of MLflow's: it takes seconds to make one."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """URL of a PostgreSQL server, without a database name."""
    from tests.support.postgresql import postgresql_server

    with postgresql_server() as url:
        yield url


@pytest.fixture
def store(tmp_path: Path, mlflow_template: Path) -> Store:
    """A real store of MLflow's in a file."""
    from tests.support.mlflow_store import Store

    return Store(tmp_path, mlflow_template).make()


@pytest.fixture
def forgotten_imports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test imports is forgotten after it."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the search that is to be killed, and its code."""
    from tests.support.breaking import write_search

    write_search(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def whole_search(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs folder of a search that has ended; for copies only."""
    from tests.support.whole import make_whole_search

    path = tmp_path_factory.mktemp("whole") / "runs"
    make_whole_search(path)
    return path


@pytest.fixture
def search(whole_search: Path, tmp_path: Path) -> Search:
    """A copy of that search, to be broken."""
    from tests.support.whole import Search

    return Search(shutil.copytree(whole_search, tmp_path / "runs"))
