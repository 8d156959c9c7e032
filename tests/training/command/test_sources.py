"""Metrics that a script writes anyway."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from hpsearch.errors import UserCodeError
from tests.support.commands import curve, training

WRITES = {
    "stdout": (
        {"pattern": r"epoch (?P<epoch>\d+): acc=(?P<accuracy>[\d.]+)"},
        "for i in range(3): print(f'epoch {i}: acc={i / 4}')",
    ),
    "jsonl": (
        {"path": "{output_dir}/log.jsonl", "epoch": "at"},
        """
        import json, sys
        with open(sys.argv[1] + "/log.jsonl", "w") as log:
            for i in range(3):
                print(json.dumps({"at": i, "accuracy": i / 4, "note": "x"}), file=log, flush=True)
        """,
    ),
    "csv": (
        {"path": "{output_dir}/*.csv"},
        """
        import sys
        with open(sys.argv[1] + "/metrics.csv", "w") as log:
            print("epoch,step,loss,accuracy", file=log)
            for i in range(3):
                print(f"{i},,0.5,", file=log)
                print(f"{i},,,{i / 4}", file=log, flush=True)
        """,
    ),
    "tensorboard": (
        {"path": "{output_dir}"},
        """
        import sys
        from torch.utils.tensorboard import SummaryWriter
        writer = SummaryWriter(sys.argv[1])
        for i in range(3):
            writer.add_scalar("accuracy", i / 4, i)
            writer.flush()
        """,
    ),
    "mlflow": (
        {},
        """
        import mlflow
        with mlflow.start_run():
            for i in range(3):
                mlflow.log_metrics({"accuracy": i / 4}, step=i)
        """,
    ),
    "wandb": (
        {},
        """
        import wandb
        run = wandb.init(project="x")
        for i in range(3):
            wandb.log({"epoch": i, "accuracy": i / 4, "note": "x"})
        run.finish()
        """,
    ),
}


@pytest.mark.parametrize("name", WRITES)
def test_metrics_are_read(name: str, tmp_path: Path) -> None:
    keywords, script = WRITES[name]
    metrics: dict[str, Any] = {"name": name, **keywords}
    command = {"run": ["python", "train.py", "{output_dir}"]}
    with training(tmp_path, script, command, max_epochs=3, metrics=metrics, space={}) as trainer:
        assert curve(trainer) == [0.0, 0.25, 0.5]


def test_a_line_that_is_no_number(tmp_path: Path) -> None:
    metrics = {"name": "stdout", "pattern": "acc=(?P<accuracy>.+)"}
    with (
        training(tmp_path, "print('acc=high')", metrics=metrics) as trainer,
        pytest.raises(UserCodeError, match="accuracy must be a number, but got 'high'"),
    ):
        trainer.train_epoch()


def test_a_script_whose_output_is_read_can_be_stopped(tmp_path: Path) -> None:
    script = dedent(
        """
        import time
        for i in range(1000):
            print(f"acc={i}")
            time.sleep(0.05)
        """
    )
    metrics = {"name": "stdout", "pattern": r"acc=(?P<accuracy>\d+)"}
    with training(tmp_path, script, metrics=metrics) as trainer:
        assert trainer.train_epoch()["accuracy"] == 0.0
