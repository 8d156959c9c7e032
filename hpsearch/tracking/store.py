"""MLflow's store: the client of one, and the tables of a new one.

MLflow makes its tables by over fifty migrations, and SQLite keeps each as it comes. A process that
dies in between leaves a file that MLflow refuses ever after, and two that make the tables of one
file are in each other's way. So they are made in a file apart, once for each version of MLflow,
and come to their place whole.

MLflow is imported inside the functions: it takes seconds.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hpsearch.errors import TrackingError
from hpsearch.home import home_settings
from hpsearch.process import environment, quiet

#: seconds to wait for another process that writes tables, or runs
LOCK_TIMEOUT_S = 60.0
#: MLflow's logger of its tables and their errors
_DATABASE = "mlflow.store.db.utils"

_SETTINGS = {
    # It would say two lines on standard output for each run, to a server.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # A server that hangs would hold a call for over ten minutes. The tracker tries again anyway.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
}


@contextmanager
def mlflow_settings() -> Iterator[None]:
    """Have MLflow set up as a search needs it, where its user doesn't say otherwise.

    By itself it would also say that it makes tables, and each error with its traceback.
    """
    own = {name: value for name, value in _SETTINGS.items() if name not in os.environ}
    with environment(own | home_settings()), quiet(_DATABASE, below=logging.CRITICAL):
        yield


def open_client(tracking_uri: str) -> Any:
    """Return a client of a store, whose tables are made if they have to be.

    Raises TrackingError or what MLflow raises if the store can't be used.
    """
    from mlflow import MlflowClient

    make_tables(tracking_uri)
    return MlflowClient(tracking_uri, registry_uri=tracking_uri)


def make_tables(tracking_uri: str) -> None:
    """Make MLflow's tables where the store is a file of SQLite that has none, in one transaction.

    PostgreSQL takes the migrations in one transaction, and servers make their tables
    themselves. Raises TrackingError if the file can't be read or written.
    """
    path = sqlite_file(tracking_uri)
    if path is None:
        return
    try:
        if not _has_tables(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with mlflow_settings():
                _write(path, _statements())
    except (sqlite3.Error, OSError) as error:
        raise TrackingError(f"{tracking_uri} can't be used: {error}") from error


def sqlite_file(tracking_uri: str) -> Path | None:
    """Return the file of a store, if it is one of SQLite."""
    if not tracking_uri.startswith("sqlite"):
        return None
    from sqlalchemy import make_url

    database = make_url(tracking_uri).database
    return Path(database) if database and database != ":memory:" else None


def _has_tables(path: Path) -> bool:
    if not path.exists():
        return False  # to connect would make a file
    with closing(_connect(path)) as connection:
        return _any_table(connection)


def _any_table(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None


def _statements() -> list[str]:
    """Return what makes the tables that MLflow makes in a new file, kept in the user's cache: its
    migrations take seconds, and make the same of each version."""
    kept = _cache() / f"mlflow-{importlib.metadata.version('mlflow')}.json"
    with suppress(OSError, ValueError):
        return list(map(str, json.loads(kept.read_bytes())))
    statements = _migrated()
    with suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        draft = kept.with_name(f"{kept.name}.{uuid.uuid4().hex}")
        draft.write_text(json.dumps(statements))
        draft.replace(kept)
    return statements


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hpsearch"


def _migrated() -> list[str]:
    from mlflow.db import upgrade

    with TemporaryDirectory() as folder:
        draft = Path(folder) / "mlflow.db"
        upgrade.callback(f"sqlite:///{draft}")  # `mlflow db upgrade`, which makes no experiment
        with closing(_connect(draft)) as connection:
            begin, *statements, commit = connection.iterdump()
    assert (begin, commit) == ("BEGIN TRANSACTION;", "COMMIT;")
    return statements


def _write(path: Path, statements: list[str]) -> None:
    with closing(_connect(path)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        if not _any_table(connection):  # another process may have been faster
            for statement in statements:
                connection.execute(statement)
        connection.execute("COMMIT")


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=LOCK_TIMEOUT_S, isolation_level=None)
