"""Where MLflow's store says that artifacts are, made to agree with where they are.

MLflow keeps absolute places, of experiments, runs, models and their versions. In a runs folder
that was moved or copied they are those of the old one, which would be read and written to. Only
places that hpsearch made, `…/mlartifacts/NAME`, are looked at.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from hpsearch.errors import TrackingError
from hpsearch.tracking.store import LOCK_TIMEOUT_S, make_tables, sqlite_file

_log = logging.getLogger(__name__)
#: MLflow's columns that hold places of artifacts, by table
_COLUMNS = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
}


@dataclass(frozen=True)
class MovedPlace:
    """The place that an experiment has for its artifacts, and the one that it should have."""

    experiment: str
    stored: str
    wanted: str


def open_own_store(tracking_uri: str, artifacts: Path) -> None:
    """Make ready the store of a runs folder for MLflow: its tables, and all places in it."""
    make_tables(tracking_uri)
    rebind_own_store(tracking_uri, artifacts)


def rebind_own_store(tracking_uri: str, artifacts: Path) -> None:
    """Replace places in other folders, if the store is a runs folder's own: it moves with it."""
    if sqlite_file(tracking_uri) == artifacts.parent / "mlflow.db":
        rebind(tracking_uri, artifacts)


def rebind(tracking_uri: str, artifacts: Path, experiment: str | None = None) -> None:
    """Replace places in other folders of artifacts, of all experiments or of one.

    Doing it twice changes nothing. A store that is a server has places of its own. Raises
    TrackingError if the store can't be used.
    """
    if not moved_places(tracking_uri, artifacts, experiment):
        return
    with _opened(tracking_uri) as engine, engine.begin() as connection:
        for place in _moved_places(connection, artifacts, experiment):
            _log.warning("MLflow's %s: artifact location changed from %s to %s", *astuple(place))
            for table, columns in _COLUMNS.items():
                for column in columns:
                    _replace(connection, table, column, place)


def moved_places(
    tracking_uri: str, artifacts: Path, experiment: str | None = None
) -> list[MovedPlace]:
    """Return the experiments whose artifacts are said to be elsewhere; see `rebind`."""
    path = sqlite_file(tracking_uri)
    if tracking_uri.startswith("http") or (path is not None and not path.is_file()):
        return []
    with _opened(tracking_uri) as engine:
        if not inspect(engine).has_table("experiments"):
            return []
        with engine.connect() as connection:
            return list(_moved_places(connection, artifacts, experiment))


def _moved_places(
    connection: Connection, artifacts: Path, experiment: str | None
) -> Iterator[MovedPlace]:
    rows = connection.execute(text("SELECT name, artifact_location FROM experiments"))
    for name, stored in rows.all():
        wanted = f"{artifacts.absolute().as_uri()}/{name}"
        is_ours = stored.startswith("file:///") and stored.endswith(f"/{artifacts.name}/{name}")
        if experiment in (None, name) and is_ours and stored != wanted:
            yield MovedPlace(name, stored, wanted)


def _replace(connection: Connection, table: str, column: str, place: MovedPlace) -> None:
    """Replace the beginning of all values in a column that are this place, or are below it."""
    statement = (
        f"UPDATE {table} SET {column} = :wanted || substr({column}, :length + 1) "
        f"WHERE {column} = :stored OR substr({column}, 1, :length + 1) = :stored || '/'"
    )
    values = {"stored": place.stored, "wanted": place.wanted, "length": len(place.stored)}
    connection.execute(text(statement), values)


@contextmanager
def _opened(tracking_uri: str) -> Iterator[Engine]:
    is_sqlite = tracking_uri.startswith("sqlite")
    engine = create_engine(
        tracking_uri, connect_args={"timeout": LOCK_TIMEOUT_S} if is_sqlite else {}
    )
    try:
        yield engine
    except SQLAlchemyError as error:
        what = str(error).partition("\n")[0]
        raise TrackingError(f"the store of MLflow can't be used: {what}") from error
    finally:
        engine.dispose()
