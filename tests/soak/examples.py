"""Every search space that comes with hpsearch, through Ray to a registered model."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.examples import FASHION_MNIST, SPECS, run_shortly


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.mark.parametrize("name", [path.stem for path in SPECS])
@pytest.mark.usefixtures("ray_cluster")
def test_it_runs(name: str, runs: Path) -> None:
    if name.startswith("fashion") and not FASHION_MNIST.is_dir():
        pytest.skip("needs Debian's package dataset-fashion-mnist")
    run_shortly(name, runs)
