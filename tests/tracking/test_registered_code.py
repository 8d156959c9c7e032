"""A registered model brings all modules of the user's that it is made of."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from hpsearch import registry
from hpsearch.outcome import Outcome
from hpsearch.tracking import register_best, sync
from hpsearch.user_code import loaded_modules
from tests.support.mlflow_store import NAME, Store, add_trial, make_record
from tests.support.specs import make_spec

FILES = {
    "nets_entry.py": "from nets_package.deep import nets\nimport nets_helper\n"
    "def build(width):\n    return nets.Net(width, nets_helper.Scale())\n",
    "nets_helper.py": "from torch import nn\nclass Scale(nn.Module):\n"
    "    def forward(self, x):\n        return 2 * x\n",
    "nets_package/__init__.py": "",
    "nets_package/base.py": "from torch import nn\nclass Base(nn.Module): ...\n",
    "nets_package/deep/nets.py": "from torch import nn\nfrom ..base import Base\n"
    "class Net(Base):\n"
    "    def __init__(self, width, then):\n"
    "        super().__init__()\n"
    "        self.layers = nn.Sequential(nn.Linear(4, width), then)\n"
    "    def forward(self, x):\n        return self.layers(x)\n",
    "nets_package/data.csv": "not code",
    "nets_unused.py": "",
    ".venv/lib/python3/site-packages/nets_installed.py": "",
}
NAMES = [
    "nets_entry",
    "nets_helper",
    "nets_package",
    "nets_package.base",
    "nets_package.deep.nets",
]
LOAD = """
import sys
import mlflow, torch
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pytorch.load_model(sys.argv[2])
print(type(model).__module__, tuple(model(torch.ones(3, 4)).shape))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name, content in FILES.items():
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path / "project"
    for name in set(sys.modules) - before:
        if name.startswith("nets_"):
            del sys.modules[name]


def test_it_loads_where_the_code_is_not(
    folder: Path, tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec(folder, model={"name": "nets_entry.py:build", "width": 2})
    model = registry.get("model", "nets_entry.py:build", folder).build({"width": 2})
    sys.path.append(str(folder / ".venv" / "lib" / "python3" / "site-packages"))
    __import__("nets_installed")
    monkeypatch.chdir(folder)  # torch has modules whose files are mere names
    modules = loaded_modules(spec)
    assert sorted(modules) == NAMES
    assert loaded_modules(make_spec(folder)) == {}  # it names none

    record = make_record(tmp_path)
    add_trial(record, [0.5], Outcome.COMPLETED)
    sync(record, store.uri, store.artifacts)
    example = np.zeros((2, 4), np.float32)
    uri = register_best(record, store.uri, record.trials[0], model, example, modules=modules)
    folder.rename(tmp_path / "moved")
    command = [sys.executable, "-c", LOAD, store.uri, uri]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd="/")
    assert done.stdout == "nets_package.deep.nets (3, 2)\n", done.stderr
    source = MlflowClient(store.uri).get_model_version(NAME, "1").source
    code = Path(source.removeprefix("file://")) / "code"
    # beside the bytecode of the process that has loaded it
    assert sorted(path.relative_to(code).as_posix() for path in code.rglob("*.py")) == [
        "nets_entry.py",
        "nets_helper.py",
        "nets_package/__init__.py",
        "nets_package/base.py",
        "nets_package/deep/nets.py",
    ]
