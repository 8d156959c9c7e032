"""The tables of a new MLflow store in a file: whole, or not there."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hpsearch.errors import TrackingError
from hpsearch.tracking.store import make_tables, open_client
from tests.support.polling import wait_until

OPEN = "import sys; from hpsearch.tracking.store import open_client; open_client(sys.argv[1])"


def opener(path: Path, temporary: Path) -> subprocess.Popen[bytes]:
    """Start a process that opens a store as a driver's follower does."""
    temporary.mkdir(exist_ok=True)
    command = [sys.executable, "-c", OPEN, f"sqlite:///{path}"]
    environment = {"TMPDIR": str(temporary), "XDG_CACHE_HOME": str(temporary)}
    return subprocess.Popen(command, env=environment)


def bytes_in(folder: Path) -> int:
    """Return the size of what a process has written so far, wherever."""

    def sizes() -> Iterator[int]:
        for path in folder.rglob("*"):
            try:
                yield path.stat().st_size if path.is_file() else 0
            except FileNotFoundError:  # a journal that is gone by now
                continue

    return sum(sizes())


@pytest.mark.parametrize("num_bytes", [100_000, 400_000])
def test_a_process_that_dies_while_it_makes_tables_leaves_a_store_that_works(
    tmp_path: Path, num_bytes: int
) -> None:
    path = tmp_path / "mlflow.db"
    killed = opener(path, tmp_path / "temporary")
    wait_until(lambda: bytes_in(tmp_path) >= num_bytes, 60, interval_s=0.005)
    assert killed.poll() is None
    killed.kill()
    killed.wait()
    client = open_client(f"sqlite:///{path}")
    assert client.get_experiment_by_name("Default") is not None
    assert client.create_experiment("a-search")


def test_two_processes_may_open_a_new_store_at_once(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    processes = [opener(path, tmp_path / "temporary") for _ in range(2)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]


def test_tables_that_are_there_stay_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "new" / "mlflow.db"
    make_tables(f"sqlite:///{path}")
    made = path.read_bytes()
    make_tables(f"sqlite:///{path}")
    assert path.read_bytes() == made


@pytest.mark.parametrize("kept", [None, "", "{"])
def test_tables_are_the_same_from_the_cache_and_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: str | None
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    make_tables(f"sqlite:///{tmp_path / 'first.db'}")
    [cached] = (tmp_path / "cache" / "hpsearch").iterdir()
    whole = json.loads(cached.read_bytes())
    if kept is None:  # it is used
        monkeypatch.setattr("hpsearch.tracking.store._migrated", lambda: pytest.fail("again"))
    else:  # it is of no use, and replaced
        cached.write_text(kept)
    make_tables(f"sqlite:///{tmp_path / 'second.db'}")
    assert len(json.loads(cached.read_bytes())) == len(whole)  # whose order may differ
    assert made(tmp_path / "second.db") == made(tmp_path / "first.db")


def made(path: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as connection:
        return sorted(connection.execute("SELECT type, name FROM sqlite_master"))


def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    path.write_text("a text, not a database")
    with pytest.raises(TrackingError, match="not a database"):
        make_tables(f"sqlite:///{path}")
    assert path.read_text() == "a text, not a database"


@pytest.mark.parametrize("uri", ["http://127.0.0.1:1", "postgresql://nobody@127.0.0.1/none"])
def test_other_stores_make_their_tables_themselves(uri: str) -> None:
    make_tables(uri)  # would take time and fail if it asked them
