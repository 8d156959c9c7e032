"""What a search's end needs of MLflow is there before: nothing is imported after it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
from pathlib import Path
import numpy as np
import torch
from hpsearch.outcome import Outcome
from hpsearch.tracking import import_ahead, register_best, sync
from tests.support.mlflow_store import add_trial, make_record

folder = Path(sys.argv[1])
uri = f"sqlite:///{folder}/mlflow.db"
import_ahead(uri)
record = make_record(folder)
add_trial(record, [0.5], Outcome.COMPLETED)
sync(record, uri, folder / "mlartifacts")
before = set(sys.modules)
register_best(record, uri, record.trials[0], torch.nn.Linear(4, 2), np.zeros((2, 4), np.float32))
print(*(name for name in sys.modules if name.startswith("mlflow.") and name not in before))
"""


def test_registration_imports_nothing_of_mlflow(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


WITHOUT_LIGHTNING = """
import sys
from hpsearch.tracking.model_files import import_pytorch_flavor

mlflow = import_pytorch_flavor()
print(*(name for name in sys.modules if "lightning" in name))
assert not hasattr(mlflow.pytorch, "Callback")
from mlflow.pytorch import MlflowModelCheckpointCallback
from pytorch_lightning import Callback
assert issubclass(MlflowModelCheckpointCallback, Callback)
"""


def test_lightning_is_imported_where_it_is_used_only() -> None:
    program = [sys.executable, "-W", "ignore", "-c", WITHOUT_LIGHTNING]
    done = subprocess.run(program, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
