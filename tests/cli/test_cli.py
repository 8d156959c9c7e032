"""The command line, as a user types it: real processes."""

from __future__ import annotations

import importlib.metadata
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner

from hpsearch.cli import app
from hpsearch.cli.panels import PANELS
from hpsearch.outcome import Outcome
from hpsearch.runs import Runs
from tests.support.cli import FIVE_MISTAKES, SPEC, hpsearch
from tests.support.polling import wait_until


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    (folder / "tiny.yaml").write_text(SPEC)
    (folder / "five.yaml").write_text(FIVE_MISTAKES)
    return folder


@pytest.fixture(scope="module")
def ran(folder: Path) -> subprocess.CompletedProcess[str]:
    return hpsearch("run", "tiny.yaml", "--set", "search.trials=3", cwd=folder)


def test_the_version_is_the_packages(tmp_path: Path) -> None:
    done = hpsearch("--version", cwd=tmp_path)
    version = importlib.metadata.version("hpsearch")
    assert (done.returncode, done.stdout) == (0, f"hpsearch {version}\n")


def test_run_shows_progress_result_and_what_to_do_next(
    ran: subprocess.CompletedProcess[str],
) -> None:
    assert ran.returncode == 0, ran.stderr
    for text in ("3/3 trials", "leaderboard", "test_accuracy", "hpsearch ui", "hpsearch best"):
        assert text in ran.stdout
    assert "Traceback" not in ran.stdout + ran.stderr
    checking, search = ran.stdout.splitlines()[:2]
    assert checking == "tiny.yaml: checking it while Ray starts"
    assert search.startswith("search tiny in ")
    assert search.endswith(": classification into 3 classes, because the data set states it")


@pytest.mark.usefixtures("ran")
def test_what_ran_can_be_looked_at(folder: Path) -> None:
    assert "tiny" in hpsearch("list", cwd=folder).stdout
    status = hpsearch("status", "tiny", cwd=folder).stdout
    assert "3 of 3 done" in status
    assert "# " in hpsearch("report", "tiny", cwd=folder).stdout
    best = json.loads(hpsearch("best", "tiny", "--output", "json", cwd=folder).stdout)
    assert best["values"]["model"]["name"] == "mlp"
    assert set(best["test_metrics"]) == {"test_loss", "test_accuracy"}


@pytest.mark.usefixtures("ran")
def test_the_best_configuration_is_a_spec_that_validates(folder: Path) -> None:
    (folder / "best.yaml").write_text(hpsearch("best", "tiny", cwd=folder).stdout)
    done = hpsearch("validate", "best.yaml", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "0 hyperparameters" in done.stdout


@pytest.mark.usefixtures("ran")
def test_a_name_that_exists_is_refused(folder: Path) -> None:
    done = hpsearch("run", "tiny.yaml", cwd=folder)
    assert done.returncode == 2
    assert "choose another name (--name)" in done.stderr


def test_five_mistakes_are_all_named(folder: Path) -> None:
    done = hpsearch("validate", "five.yaml", cwd=folder)
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    for start in (
        "objective.metric",
        "model.name",
        "optimizer.lr",
        "optimizer.momentun",
        "serach",
    ):
        assert any(start in line for line in lines), (start, done.stderr)
    for name in ("'val_accuracy'", "'mlp'", "'momentum'", "'search'"):
        assert name in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nothing.yaml"], "nothing.yaml"),
        (["run", "tiny.yaml", "--runs", "tiny.yaml/runs"], "must be a writable folder"),
        (["run", "tiny.yaml", "--name", "a", "--set", "optimizer.lr=0.1x"], "optimizer.lr"),
        (["run", "tiny.yaml", "--name", "a", "--set", "dataset.name=fashion_mnist", "--set",
          "dataset.data_dir=here"], "dataset-fashion-mnist"),
        (["status", "nothing"], "no search 'nothing'"),
        (["components", "modle"], "model"),
    ],
)  # fmt: skip
def test_bad_input_gets_one_clear_error(folder: Path, arguments: list[str], message: str) -> None:
    done = hpsearch(*arguments, cwd=folder)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_components_lists_names_and_keywords(folder: Path) -> None:
    listed = hpsearch("components", "optimizer", cwd=folder).stdout
    for word in ("sgd", "nesterov", "adamw", "rmsprop", "lr", "weight_decay"):
        assert word in listed


def test_help_lists_commands_by_what_they_are_for() -> None:
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "100"}).output
    places = [shown.index(f"─ {title} ─") for title in PANELS]
    assert places == sorted(places)
    assert "─ Commands ─" not in shown  # where those of no panel would be
    names = [name for names in PANELS.values() for name in names]
    assert len(names) == len(set(names))
    assert all(f"\u2502 {name} " in shown for name in names)


def test_schema_is_json(folder: Path) -> None:
    schema = json.loads(hpsearch("schema", cwd=folder).stdout)
    assert "objective" in schema["properties"]


def test_ctrl_c_stops_with_a_truthful_record(folder: Path) -> None:
    spec = folder / "long.yaml"
    stopping = "early_stopping: {name: none, max_epochs: 1000000}"  # so that a trial is running
    text = SPEC.replace("name: tiny", "name: long")
    spec.write_text(text.replace("early_stopping: {max_epochs: 3}", stopping))
    command = [sys.executable, "-m", "hpsearch.cli", "run", str(spec)]
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    journal = folder / "runs" / "long" / "record.journal"
    wait_until(lambda: has_epochs(journal), 120, interval_s=0.2)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of the group
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors.decode()
    assert b"leaderboard" in output
    record = Runs(folder / "runs").search("long").open_record()
    assert (record.state, record.reason) == ("stopped", "cancelled")
    assert [trial.outcome for trial in record.trials] == [Outcome.CANCELLED]
    assert record.trials[0].epochs > 5
    client = MlflowClient(Runs(folder / "runs").tracking_uri)
    experiment = client.get_experiment_by_name("long")
    statuses = {run.info.status for run in client.search_runs([experiment.experiment_id])}
    assert statuses == {"KILLED"}


def has_epochs(journal: Path) -> bool:
    return journal.is_file() and journal.read_text().count("epoch:") > 10


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--time", "soon", "--time: must be seconds or a text such as 45s"),
        ("--disk", "much", "--disk: must be bytes or a text such as 500MB"),
        ("--disk", "20GB", "search.disk_quota: must be a budget of the search to be extended"),
        ("--trials", "0", "extend: give --trials, --epochs, --time or --disk"),
    ],
)
@pytest.mark.usefixtures("ran")
def test_what_a_search_cannot_be_extended_by(
    folder: Path, option: str, value: str, expected: str
) -> None:
    done = hpsearch("extend", "tiny", option, value, cwd=folder)
    assert done.returncode == 2
    assert expected in done.stdout + done.stderr


def test_validate_shows_choices_as_they_are(folder: Path) -> None:
    (folder / "tag.py").write_text("def train(config, trial):\n    yield {'score': 1.0}\n")
    spec = """
name: tag
objective: {metric: score}
trainable: tag.py:train
space: {style: {choices: ["[red]", "[/]"]}}
"""
    (folder / "tag.yaml").write_text(spec)
    assert "[red] | [/]" in hpsearch("validate", "tag.yaml", cwd=folder).stdout


def test_validate_refuses_what_this_machine_does_not_have(folder: Path) -> None:
    more = ("--set", "resources.gpu=99")
    done = hpsearch("validate", "tiny.yaml", *more, cwd=folder)
    assert done.returncode == 2
    assert "resources.gpu: must be at most the GPUs of this machine (" in done.stderr
    assert "for a cluster or a service: `hpsearch validate --cluster`" in done.stderr
    assert hpsearch("validate", "tiny.yaml", *more, "--cluster", cwd=folder).returncode == 0
