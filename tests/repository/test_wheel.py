"""The wheel holds all that the package needs, and works where nothing else is installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from deploy.install import install

ROOT = Path(__file__).parents[2]


SPEC = """
name: first
objective: {metric: val_accuracy}
dataset: {name: breast_cancer}
model: {name: mlp, hidden_sizes: [16]}
optimizer: {name: sgd, lr: {low: 1e-3, high: 1.0, log: true}}
search: {trials: 3, early_stopping: {max_epochs: 3}}
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a build of the checkout would take what an earlier one left
    shutil.copytree(ROOT / "hpsearch", source / "hpsearch")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder]
    command = [sys.executable, "-m", "pip", "wheel", *options, source]
    subprocess.run(command, check=True, cwd=folder)
    [built] = folder.glob("hpsearch-*.whl")
    return built


def test_every_file_of_the_package_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        held = {name for name in opened.namelist() if not name.partition("/")[0].endswith("-info")}
    files = (path for path in (ROOT / "hpsearch").rglob("*") if path.is_file())
    wanted = {str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts}
    assert held == wanted


def test_a_wheel_in_a_bare_environment_runs_a_search(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "env"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    lock = str(ROOT / "requirements.lock")  # which versions, not what to install
    assert install(environment, [("--constraint", lock, f"{wheel}[service]")])
    folder = tmp_path / "empty"
    folder.mkdir()
    (folder / "first.yaml").write_text(SPEC)
    program = environment / "bin" / "hpsearch"
    for arguments in (["--version"], ["serve", "--help"], ["validate", "first.yaml"]):
        subprocess.run([program, *arguments], cwd=folder, check=True)
    command = [program, "run", "first.yaml"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3/3 trials" in done.stdout
    assert (folder / "runs" / "first" / "report.html").is_file()
