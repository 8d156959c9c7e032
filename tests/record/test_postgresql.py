"""Record and MLflow's store in a real PostgreSQL server, which is started here."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hpsearch.cli.local import LocalSearches
from hpsearch.errors import RecordError, SearchExistsError, SpecError
from hpsearch.integrity.check import check_search
from hpsearch.record import Record
from hpsearch.runs import Runs
from hpsearch.searches import run_search
from hpsearch.service.cache.records import Records
from hpsearch.service.search_files import SearchFiles
from tests.support.breaking import finish, problems, start, wait_for_epochs, write_search
from tests.support.postgresql import INITDB
from tests.support.specs import make_spec

pytestmark = pytest.mark.skipif(INITDB is None, reason="PostgreSQL is not installed")


@pytest.fixture
def databases(server: str, request: pytest.FixtureRequest) -> tuple[str, str]:
    """URLs of two new databases, for the record and for MLflow."""
    import psycopg

    names = [f"{request.node.name.lower()[:50]}_{use}" for use in ("record", "mlflow")]
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        for name in names:
            connection.execute(f'CREATE DATABASE "{name}"')
    return f"{server}/{names[0]}", f"{server}/{names[1]}"


@pytest.mark.usefixtures("ray_cluster")
def test_a_search_has_its_record_and_its_runs_there(
    databases: tuple[str, str], tmp_path: Path
) -> None:
    storage, tracking_uri = databases
    spec = make_spec(storage=storage, tracking_uri=tracking_uri)
    report = run_search(spec, tmp_path)
    folder = Runs(tmp_path).search("small")
    assert not folder.journal.exists()
    assert folder.open_record().trials == report.record.trials
    findings = check_search(folder.open_record(), folder, tracking_uri)
    assert findings.problems == ()
    with pytest.raises(SearchExistsError, match="holds a search named 'small'"):
        run_search(spec, tmp_path / "another")
    assert not (tmp_path / "another" / "small").exists()


def test_a_record_read_again_and_again_takes_few_connections(
    databases: tuple[str, str],
) -> None:
    import psycopg

    storage, _ = databases
    Record.create(storage, make_spec())
    records = [Record.open(storage, "small") for _ in range(20)]
    assert len(records) == 20
    with psycopg.connect(storage) as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        (count,) = connection.execute(query).fetchone() or (0,)
    assert count <= 3


def test_a_search_is_removed_with_its_record(databases: tuple[str, str], tmp_path: Path) -> None:
    storage, _ = databases
    searches, runs = LocalSearches(tmp_path), Runs(tmp_path)
    for name in ("small", "other"):
        runs.create(make_spec(name=name, storage=storage))
    searches.delete("small")
    assert runs.names() == ["other"]
    with pytest.raises(RecordError, match="no complete record of 'small'"):
        Record.open(storage, "small")
    assert runs.search("other").open_record().name == "other"
    Record.remove(storage, "other")  # as if the process had died then
    searches.delete("other")
    runs.create(make_spec(storage=storage))  # its name is free again


PARAMS = {
    "model.dropout": 0.1,
    "optimizer": "adam",
    "optimizer.adam.lr": 0.01,
    "batch_size": 32,
}
#: run with a runs folder, a spec, and the call in which the process dies
CREATE = """
import os, sys
from unittest.mock import patch
from hpsearch.runs import Runs
from hpsearch.spec import load_spec

with patch(sys.argv[3], lambda *_: os._exit(9)):
    Runs(sys.argv[1]).create(load_spec(sys.argv[2]))
"""


def test_what_a_creator_that_died_has_begun_gives_way(
    databases: tuple[str, str], tmp_path: Path
) -> None:
    storage, _ = databases
    runs = Runs(tmp_path / "runs")
    for name, call in (
        ("begun", "optuna.storages.RDBStorage.set_study_user_attr"),
        ("whole", "pathlib.Path.rename"),
    ):
        spec = make_spec(name=name, storage=storage)
        (tmp_path / "spec.yaml").write_text(spec.to_yaml())
        command = [sys.executable, "-c", CREATE, runs.path, tmp_path / "spec.yaml", call]
        assert subprocess.run(command, check=False).returncode == 9
        if name == "whole":
            with pytest.raises(SearchExistsError, match="holds a search named 'whole'"):
                Runs(tmp_path / "others").create(spec)
        record = runs.create(spec).take_over()
        record.add_trial(PARAMS)
        shutil.rmtree(runs.path)  # or its volume isn't mounted: what was tried must stay
        with pytest.raises(SearchExistsError, match=f"holds a search named '{name}'"):
            runs.create(spec)


def test_a_service_reads_what_is_new_in_a_record(
    databases: tuple[str, str], tmp_path: Path
) -> None:
    storage, _ = databases
    runs = Runs(tmp_path)
    written = runs.create(make_spec(storage=storage)).take_over()
    kept = Records(SearchFiles(runs.path, storage))
    first, version = kept.read("small")
    assert kept.read("small", fresh=True) == (first, version)
    written.add_trial(PARAMS)
    written.report(0, 1, {"val_accuracy": 0.5})
    assert kept.read("small") == (first, version)  # it looks seldom
    second, later = kept.read("small", fresh=True)
    assert (second.trials, later != version) == (written.trials, True)
    written.end("finished")
    assert kept.read("small", fresh=True)[0].state == "finished"


def test_a_killed_driver_is_resumed(databases: tuple[str, str], tmp_path: Path) -> None:
    write_search(tmp_path, "storage: {}\ntracking_uri: {}".format(*databases))
    process = start("run", "killed.yaml", "--set", "search.trials=3", cwd=tmp_path)
    wait_for_epochs(tmp_path, 4, process)
    process.kill()
    process.wait()
    finish(start("resume", "killed", cwd=tmp_path), tmp_path)
    folder = Runs(tmp_path / "runs").search("killed")
    record = folder.open_record()
    assert (record.state, len(record.trials)) == ("finished", 3)
    assert problems(tmp_path) == ()


def test_a_database_that_cannot_be_reached_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"storage: postgresql://…@127\.0\.0\.1:1/x") as caught:
        Record.create("postgresql://me:secret@127.0.0.1:1/x", make_spec())
    assert "secret" not in str(caught.value)


def test_one_database_for_both_is_refused(tmp_path: Path) -> None:
    url = "postgresql://server/one"
    with pytest.raises(SpecError, match="tracking_uri: must be another database than storage"):
        run_search(make_spec(storage=url, tracking_uri=url), tmp_path)
