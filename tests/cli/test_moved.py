"""Projects and runs folders that were moved or copied: the new place is used, never the old."""

from __future__ import annotations

import hashlib
import os
import pty
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from hpsearch.errors import RecordError
from hpsearch.integrity.check import check_search
from hpsearch.outcome import Outcome
from hpsearch.record import Record
from hpsearch.runs import Runs, SearchFolder
from hpsearch.searches import sync_search
from hpsearch.tracking import sync
from hpsearch.tracking.places import moved_places, rebind
from hpsearch.user_code import code_hashes
from tests.support.cli import hpsearch
from tests.support.specs import make_spec
from tests.support.whole import Search, add_trial

SPEC = """
name: moved
objective: {metric: val_accuracy}
dataset: {name: csv, path: data.csv, target: kind, test_fraction: 0.2}
model: {name: "nets.py:build", width: {low: 2, high: 8}}
optimizer: {name: sgd, lr: 0.1}
batch_size: 8
search: {trials: 1, max_concurrent: 1, early_stopping: {max_epochs: 1}}
"""
NETS = """
from torch import nn
from widths import width_of

def build(input_shape, output_size, width: int = 4):
    return nn.Sequential(nn.Linear(*input_shape, width_of(width)), nn.Linear(width, output_size))
"""
WIDTHS = "def width_of(width): return width\n"


def write_project(folder: Path) -> Path:
    folder.mkdir()
    (folder / "moved.yaml").write_text(SPEC)
    (folder / "nets.py").write_text(NETS)
    (folder / "widths.py").write_text(WIDTHS)
    rows = [f"{i % 7},{i % 5},{'ab'[i % 2]}" for i in range(60)]
    (folder / "data.csv").write_text("\n".join(["x,y,kind", *rows]))
    return folder


def files_of(folder: Path) -> dict[str, tuple[int, str]]:
    """Return when each file was written and what it holds."""
    return {
        str(path): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in folder.rglob("*")
        if path.is_file()
    }


def places_in(database: Path) -> set[str]:
    """Return all texts in MLflow's tables that may be places."""
    with sqlite3.connect(database) as connection:
        found = {
            value
            for table, column in (
                ("experiments WHERE experiment_id != 0", "artifact_location"),
                ("runs", "artifact_uri"),
                ("logged_models", "artifact_location"),
                ("model_versions", "source"),
                ("model_versions", "storage_location"),
            )
            for (value,) in connection.execute(f"SELECT {column} FROM {table}")
        }
    connection.close()
    return found


def check_artifacts(runs: Path, trials: int) -> None:
    """Check that what MLflow has of the search lies in this folder, and can be had."""
    place = Runs(runs)
    ours = place.artifacts.as_uri()
    assert [each for each in places_in(runs / "mlflow.db") if not each.startswith(ours)] == []
    client = MlflowClient(place.tracking_uri, registry_uri=place.tracking_uri)
    experiment = client.get_experiment_by_name("moved")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    assert len(found) == trials + 1
    parent = next(run for run in found if "mlflow.parentRunId" not in run.data.tags)
    report = Path(client.download_artifacts(parent.info.run_id, "report.md"))
    assert "# moved" in report.read_text()
    version = client.get_model_version_by_alias("moved", "best")
    uri = client.get_model_version_download_uri("moved", version.version)
    assert (Path(mlflow.artifacts.download_artifacts(uri)) / "MLmodel").is_file()


def test_a_project_that_is_copied_and_one_whose_runs_were_moved(tmp_path: Path) -> None:
    old = write_project(tmp_path / "old")
    ran = hpsearch("run", "moved.yaml", cwd=old)
    assert ran.returncode == 0, ran.stderr
    assert str(old) not in (old / "runs" / "moved" / "record.journal").read_text()

    copy = shutil.copytree(old, tmp_path / "copy")
    (old / "nets.py").write_text("raise RuntimeError('the old place is used')")
    before = files_of(old)
    extended = hpsearch("extend", "moved", "--trials", "1", cwd=copy)
    assert extended.returncode == 0, extended.stdout + extended.stderr
    assert files_of(old) == before
    check_artifacts(copy / "runs", trials=2)
    assert len(Runs(old / "runs").search("moved").open_record().trials) == 1

    shutil.rmtree(old)
    for command in ("status", "best", "report", "sync", "check"):
        done = hpsearch(command, "moved", cwd=copy)
        assert done.returncode == 0, (command, done.stdout + done.stderr)
        assert str(old) not in done.stdout + done.stderr

    runs = (copy / "runs").rename(tmp_path / "elsewhere")
    (copy / "widths.py").write_text(f"{WIDTHS}# changed\n")
    more = ("extend", "moved", "--trials", "1", "--runs", str(runs))
    lost = hpsearch(*more, cwd=tmp_path)
    assert lost.returncode == 2
    assert "nets.py: must be a file in " in lost.stderr and "--folder DIR" in lost.stderr
    assert "--folder DIR" in hpsearch("check", "moved", "--runs", str(runs), cwd=tmp_path).stdout
    changed = hpsearch(*more, "--folder", "copy", cwd=tmp_path)
    assert changed.returncode == 2
    assert "widths.py (changed); accept the current code with --changed-code" in changed.stderr
    bound = hpsearch(*more, "--folder", "copy", "--changed-code", cwd=tmp_path)
    assert bound.returncode == 0, bound.stdout + bound.stderr
    assert "--folder" not in hpsearch("check", "moved", "--runs", str(runs), cwd=tmp_path).stdout
    check_artifacts(runs, trials=3)
    report = (runs / "moved" / "report.md").read_text()
    assert "| 2 | widths.py (changed) |" in report


def test_a_terminal_is_asked_about_changed_code(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "project")
    spec = make_spec(folder, trainable="nets.py:build", space={"x": {"low": 0.0, "high": 1.0}})
    Runs(folder / "runs").create(spec, code=code_hashes(spec))
    (folder / "widths.py").write_text("changed = 1")
    terminal, end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "hpsearch.cli", "resume", "small"],
        cwd=folder,
        stdin=end,
        stdout=end,
        stderr=subprocess.PIPE,
    )
    os.close(end)
    shown = b""
    while b"?" not in shown:
        shown += os.read(terminal, 1000)
    assert b"widths.py (changed). Continue with the current code?" in b" ".join(shown.split())
    os.write(terminal, b"n\n")
    _, errors = process.communicate(timeout=60)
    os.close(terminal)
    assert process.returncode == 2
    assert b"--changed-code" in errors


def test_records_of_earlier_versions_are_read_where_they_are_now(tmp_path: Path) -> None:
    project = tmp_path / "old" / "specs"
    project.mkdir(parents=True)
    place = Runs(tmp_path / "old" / "runs")
    folder = place.create(make_spec(project))
    record = folder.take_over()
    for key, value in {"home": str(folder.path), "folder": str(project)}.items():
        record._storage.set_study_user_attr(record._study_id, key, value)
    assert folder.open_record().spec.folder == str(project)
    (tmp_path / "old").rename(tmp_path / "new")
    moved = SearchFolder(tmp_path / "new" / "runs" / "small")
    assert moved.take_over().spec.folder == str(tmp_path / "new" / "specs")


def test_a_copy_has_a_driver_of_its_own(tmp_path: Path) -> None:
    place = Runs(tmp_path / "old")
    folder = place.create(make_spec())
    with folder.drive():
        copy = SearchFolder(shutil.copytree(place.path, tmp_path / "copy") / "small")
        with copy.drive():
            add_trial(copy.take_over(), [0.1, 0.2, 0.3], Outcome.COMPLETED)
        assert folder.is_driven() and not copy.is_driven()
    assert len(folder.open_record().trials) == 0


def test_only_one_of_two_copies_writes_to_a_record_in_a_database(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'records.db'}"
    old, copy = tmp_path / "old" / "runs" / "small", tmp_path / "copy" / "runs" / "small"
    old.mkdir(parents=True)
    (old / "spec.yaml").touch()
    Record.create(database, make_spec(tmp_path / "old"), home=old)
    shutil.copytree(tmp_path / "old", tmp_path / "copy")
    Record.reopen(database, "small", old)
    assert Record.open(database, "small", copy).spec.folder == str(tmp_path / "copy")
    for use in (Record.reopen, Record.remove):
        with pytest.raises(RecordError, match=f"belongs to {old}, which exists; {copy} is a"):
            use(database, "small", copy)
    shutil.rmtree(tmp_path / "old")
    assert Record.reopen(database, "small", copy).spec.folder == str(tmp_path / "copy")
    assert Record.open(database, "small").spec.folder == str(tmp_path / "copy")
    Record.remove(database, "small", copy)


def test_all_places_in_a_store_that_was_copied_are_bound_to_the_copy(
    search: Search, whole_search: Path, caplog: pytest.LogCaptureFixture
) -> None:
    artifacts, uri = search.place.artifacts, search.place.tracking_uri
    others = ["s3://bucket/mlartifacts/a", "file:///data/b", "file:///x/mlartifacts/not-c"]
    for name, location in zip("abc", others, strict=True):
        search.client.create_experiment(name, location)
    assert {place.experiment for place in moved_places(uri, artifacts)} == {"small"}
    assert search.check().problems == ()
    assert (
        f"artifact location changed from {whole_search.as_uri()}/mlartifacts/small" in caplog.text
    )
    found = places_in(search.place.path / "mlflow.db")
    assert {each for each in found if not each.startswith(artifacts.as_uri())} == set(others)
    caplog.clear()
    rebind(uri, artifacts)
    assert not caplog.text
    assert moved_places(uri, artifacts) == []
    assert [place.stored for place in moved_places(uri, whole_search / "mlartifacts")] == [
        f"{artifacts.as_uri()}/small"
    ]


def test_a_store_elsewhere_is_found_to_point_to_the_old_folder(
    search: Search, tmp_path: Path
) -> None:
    other = f"sqlite:///{tmp_path / 'other.db'}"
    sync(search.folder.open_record(), other, search.place.artifacts)
    moved = Runs(search.place.path.rename(tmp_path / "moved"))
    folder = moved.search("small")
    (problem,) = check_search(folder.open_record(), folder, other).problems
    assert "run `hpsearch sync small`" in problem
    assert f"but got '{search.place.artifacts.as_uri()}/small'" in problem
    sync_search("small", moved.path, other)
    assert check_search(folder.open_record(), folder, other).problems == ()


def test_a_store_in_a_file_is_taken_from_the_spec_s_folder(tmp_path: Path) -> None:
    place = Runs(tmp_path / "runs")
    spec = make_spec(tmp_path / "specs", tracking_uri="sqlite:///mine.db")
    assert place.tracking_of(spec)[0] == f"sqlite:///{tmp_path}/specs/mine.db"
    for uri in (f"sqlite:///{tmp_path}/a.db", "http://127.0.0.1:5000", "sqlite:///:memory:"):
        assert place.tracking_of(spec.model_copy(update={"tracking_uri": uri}))[0] == uri
