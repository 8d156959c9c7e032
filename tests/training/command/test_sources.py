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


@pytest.mark.parametrize(
    "rows",
    [
        "epoch;accuracy\n0;0,0\n1;0,25\n",
        "\ufeffepoch;accuracy\n0;0.0\n1;0.25\n",
        "\ufeffepoch\taccuracy\n0\t0.0\n1\t0.25\n",
        "\ufeffepoch, accuracy\n0, 0.0\n1, 0.25\n",
        "accuracy\n0.0\n0.25\n",
    ],
)
def test_csv_as_people_write_it(rows: str, tmp_path: Path) -> None:
    script = f"""
        import sys
        open(sys.argv[1] + "/log.csv", "w", encoding="utf-8").write({rows!r})
    """
    metrics = {"name": "csv", "path": "{output_dir}/log.csv"}
    command = {"run": ["python", "train.py", "{output_dir}"]}
    with training(tmp_path, script, command, max_epochs=2, metrics=metrics, space={}) as trainer:
        assert curve(trainer) == [0.0, 0.25]


@pytest.mark.parametrize(
    ("stream", "expected"),
    [("both", [0.0, 0.25, 0.5]), ("stderr", [0.0]), ("stdout", [0.25, 0.5])],
)
def test_logged_lines_are_read(stream: str, expected: list[float], tmp_path: Path) -> None:
    script = """
        import logging, sys
        logging.basicConfig(level=logging.INFO, format="%(message)s")
        logging.info("acc=0.0")
        sys.stderr.close()
        print("acc=0.25")
        print("acc=0.5")
    """
    metrics = {"name": "stdout", "pattern": "acc=(?P<accuracy>[0-9.]+)", "stream": stream}
    with training(tmp_path, script, max_epochs=3, metrics=metrics, space={}) as trainer:
        assert curve(trainer) == expected


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


def appending(start: str) -> str:
    """Return a script that appends rows without an epoch, from its checkpoint on."""
    return dedent(
        f"""
        import json, sys, time, hpsearch
        saved = hpsearch.checkpoint_dir() / "epoch"
        first = int(saved.read_text()) if saved.exists() else 0
        for i in range(first, 6):
            with open(sys.argv[1] + "/log.jsonl", "{start}") as log:
                log.write(json.dumps({{"accuracy": 100 + i}}) + "\\n")
            saved.write_text(str(i + 1))
            time.sleep(0.3)
        """
    )


def test_rows_of_an_earlier_run_count_once(tmp_path: Path) -> None:
    metrics = {"name": "jsonl", "path": "{output_dir}/log.jsonl"}
    command = {"run": ["python", "train.py", "{output_dir}"]}
    script = appending("a")
    with training(tmp_path, script, command, max_epochs=6, metrics=metrics, space={}) as trainer:
        curve_before = [trainer.train_epoch()["accuracy"] for _ in range(3)]
        state = trainer.state_dict()
    assert curve_before == [100, 101, 102]
    with training(tmp_path, script, command, max_epochs=6, metrics=metrics, space={}) as trainer:
        trainer.load_state_dict(state)
        assert curve(trainer)[-1] == 105


def test_a_last_row_needs_no_line_end(tmp_path: Path) -> None:
    script = """
        import json, sys
        rows = [json.dumps({"epoch": i, "accuracy": i}) for i in range(3)]
        open(sys.argv[1] + "/log.jsonl", "w").write("\\n".join(rows))
    """
    metrics = {"name": "jsonl", "path": "{output_dir}/log.jsonl"}
    command = {"run": ["python", "train.py", "{output_dir}"]}
    with training(tmp_path, script, command, max_epochs=3, metrics=metrics, space={}) as trainer:
        assert curve(trainer) == [0.0, 1.0, 2.0]


def test_mlflow_s_metrics_without_a_step_are_epochs(tmp_path: Path) -> None:
    script = """
        import mlflow
        with mlflow.start_run():
            for i in range(3):
                mlflow.log_metric("accuracy", i)
    """
    with training(tmp_path, script, max_epochs=3, metrics={"name": "mlflow"}) as trainer:
        assert curve(trainer) == [0.0, 1.0, 2.0]


def test_what_is_filled_into_a_path_is_no_pattern(tmp_path: Path) -> None:
    folder = tmp_path / "runs [1]"
    folder.mkdir()
    script = """
        import sys
        print('{"epoch": 1, "accuracy": 0.5}', file=open(sys.argv[1] + "/log.jsonl", "w"))
    """
    metrics = {"name": "jsonl", "path": "{output_dir}/*.jsonl"}
    command = {"run": ["python", "train.py", "{output_dir}"]}
    with training(folder, script, command, max_epochs=1, metrics=metrics, space={}) as trainer:
        assert curve(trainer) == [0.5]


def test_a_file_that_was_there_is_not_the_trial_s(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"epoch": 1, "accuracy": 99}\n')
    script = """
        with open("log.jsonl", "a") as log:
            print('{"epoch": 1, "accuracy": 0.5}', file=log)
    """
    command, metrics = {"working_dir": "trial"}, {"name": "jsonl", "path": "log.jsonl"}
    with training(tmp_path, script, command, max_epochs=1, metrics=metrics) as trainer:
        assert curve(trainer) == [0.5]
    assert (tmp_path / "log.jsonl").read_text().count("\n") == 1
