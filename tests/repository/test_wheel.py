"""The wheel holds all that the package needs, and works where nothing else is installed."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import packages_distributions
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
    assert install(environment, [("--constraint", lock, str(wheel))])
    folder = tmp_path / "empty"
    folder.mkdir()
    (folder / "first.yaml").write_text(SPEC)
    program = environment / "bin" / "hpsearch"
    for arguments in (["--version"], ["validate", "first.yaml"]):
        subprocess.run([program, *arguments], cwd=folder, check=True)
    command = [program, "run", "first.yaml"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3/3 trials" in done.stdout
    assert (folder / "runs" / "first" / "report.html").is_file()
    assert install(environment, [("--constraint", lock, f"{wheel}[service]")])
    subprocess.run([program, "serve", "--help"], cwd=folder, check=True)


#: imported by modules without being a dependency, and what brings them
BROUGHT = {"starlette": "of MLflow's server, which loads this module"}
#: what an extra brings: folders, and the module of a command
OF_EXTRAS = ("service", "integrations", "cli/mcp_server.py")
CORE = [
    path
    for path in (ROOT / "hpsearch").rglob("*.py")
    if not any(path.is_relative_to(ROOT / "hpsearch" / extra) for extra in OF_EXTRAS)
]


def test_what_modules_import_first_is_a_dependency_without_extras() -> None:
    """Extras are for what is imported in functions, where it is used."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = (re.match(r"[\w.-]+", each) for each in project["dependencies"])
    dependencies = {_normal(name[0]) for name in names if name is not None}
    packages = packages_distributions()
    for path in CORE:
        for module in _imports(ast.parse(path.read_text())):
            brought_by = {_normal(name) for name in packages.get(module, [module])}
            assert brought_by & dependencies or module in BROUGHT, f"{path}: {module}"


def _imports(module: ast.Module) -> Iterator[str]:
    """Yield the packages that a module of ours imports when it is imported itself."""
    for statement in module.body:
        names = []
        if isinstance(statement, ast.Import):
            names = [each.name for each in statement.names]
        elif isinstance(statement, ast.ImportFrom) and statement.module is not None:
            names = [statement.module]
        for name in names:
            top = name.partition(".")[0]
            if top not in sys.stdlib_module_names and top != "hpsearch":
                yield top


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
