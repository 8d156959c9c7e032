"""Adapters of libraries, with the real libraries, in scripts that are killed and restarted.

Those of Lightning, Transformers and Accelerate are in `examples/`, which have tests like these.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from tests.support.commands import curve, training
from tests.support.examples import ROOT

KERAS = """
    import os
    os.environ["KERAS_BACKEND"] = "torch"
    import keras
    import numpy as np
    from hpsearch.integrations.keras import ReportCallback

    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    y = (x[:, 0] > 0).astype("float32")
    model = keras.Sequential([keras.layers.Dense(8, "relu"), keras.layers.Dense(1, "sigmoid")])
    model.compile(keras.optimizers.Adam(0.05), "binary_crossentropy", metrics=["accuracy"])
    model.fit(x, y, epochs=4, shuffle=False, verbose=2, callbacks=[ReportCallback()])
"""
SKORCH = """
    import numpy as np
    import torch
    from skorch import NeuralNetClassifier
    from skorch.dataset import Dataset
    from skorch.helper import predefined_split
    from hpsearch.integrations.skorch import ReportCallback

    torch.manual_seed(0)
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    y = (x[:, 0] > 0).astype("int64")
    net = NeuralNetClassifier(
        torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)),
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=0.05,
        max_epochs=4,
        train_split=predefined_split(Dataset(x[48:], y[48:])),
        callbacks=[ReportCallback()],
    )
    net.fit(x, y)
    print(net.max_epochs, "epochs")
"""
#: a script and its objective
SCRIPTS = {"keras": (KERAS, "loss"), "skorch": (SKORCH, "valid_loss")}


@pytest.mark.parametrize("library", ["skorch", pytest.param("keras", marks=pytest.mark.soak)])
def test_a_script_is_stopped_and_ends_as_alone(
    library: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    script, metric = SCRIPTS[library]
    settings = {"max_epochs": 4, "space": {}, "metric": metric}
    with training(tmp_path, script, **settings) as trainer:
        before = [trainer.train_epoch()[metric], trainer.train_epoch()[metric]]
        state = trainer.state_dict()
    capfd.readouterr()
    with training(tmp_path, script, **settings) as trainer:
        trainer.load_state_dict(state)
        metrics = [*before, *curve(trainer, metric)]
        assert trainer.train_epoch() is None
    output = capfd.readouterr().out
    assert len(metrics) == 4
    (tmp_path / "alone").mkdir()
    alone = run_alone(script, tmp_path / "alone")
    assert f"{metrics[-1]:.4f}" in alone and f"{metrics[-1]:.4f}" in output
    assert f"{metrics[0]:.4f}" in alone and f"{metrics[0]:.4f}" not in output
    assert os.listdir(tmp_path / "alone") == ["train.py"]


def run_alone(script: str, folder: Path) -> str:
    """Run a script without a search; returns what it prints."""
    (folder / "train.py").write_text(dedent(script))
    command = [sys.executable, "train.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_report_that_a_kill_prevented_is_made_by_the_restart(tmp_path: Path) -> None:
    script, metric = SCRIPTS["skorch"]
    settings = {"max_epochs": 4, "space": {}, "metric": metric}
    with training(tmp_path, script, **settings) as trainer:
        first = trainer.train_epoch()[metric]
    (tmp_path / "files.jsonl").unlink()  # the report was never taken
    with training(tmp_path, script, **settings) as trainer:
        assert trainer.train_epoch()[metric] == pytest.approx(first)


LIGHTNING = """
    import lightning as L
    from data import WineData
    from model import Classifier
    from hpsearch.integrations.lightning import attach

    trainer = L.Trainer(
        max_epochs=2, val_check_interval=2, accelerator="cpu", logger=False,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
    )
    trainer.fit(Classifier(), WineData(), ckpt_path=attach(trainer, every="validation"))
"""
TRANSFORMERS = """
    import sys
    sys.argv += ["--eval_strategy", "steps", "--eval_steps", "2", "--max_steps", "8"]
    sys.argv += ["--use_cpu", "true", "--disable_tqdm", "true", "--report_to", "none"]
    import example
    example.main()
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("script", "files", "metric", "folder"),
    [
        (
            LIGHTNING,
            {"data.py": "data.py", "model.py": "model.py"},
            "val_loss",
            "lightning_project",
        ),
        (TRANSFORMERS, {"train.py": "example.py"}, "eval_loss", "text_classification"),
    ],
    ids=["lightning", "transformers"],
)
def test_validations_within_an_epoch_are_reported_by_step(
    script: str, files: dict[str, str], metric: str, folder: str, tmp_path: Path
) -> None:
    for name, copied in files.items():
        shutil.copy(ROOT / "examples" / folder / name, tmp_path / copied)
    settings = {"command": {"steps_per_epoch": 2}, "max_epochs": 4, "space": {}, "metric": metric}
    with training(tmp_path, script, **settings) as trainer:
        found = curve(trainer, metric)
    assert len(set(found)) == 4
    assert len(list((tmp_path / "checkpoints").iterdir())) == 1
