"""The service's database: its tables, and how they are opened."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Engine,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    insert,
    make_url,
    select,
)
from sqlalchemy.exc import SQLAlchemyError

from hpsearch.errors import ServiceError

#: raised with each change of the tables that older code can't live with
SCHEMA_VERSION = 1
#: connections that stay open, so that few threads wait for one
POOL_SIZE = 20
#: begins a transaction that no other process is in at the same time
_ALONE = {
    "sqlite": "BEGIN IMMEDIATE",
    "postgresql": "SELECT pg_advisory_xact_lock(7478392)",  # any number that is ours
}
metadata = MetaData()

schema_version = Table("schema_version", metadata, Column("version", Integer, primary_key=True))
searches = Table(
    "searches",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("owner", String(100), nullable=False),
    Column("spec", Text, nullable=False),  # YAML, resolved
    Column("priority", Integer, nullable=False, default=0),
    Column("desired", String(10), nullable=False),
    Column("actual", String(10), nullable=False),
    Column("reason", Text),
    Column("attempt", Integer, nullable=False, default=0),
    Column("submission_id", String(200)),
    Column("stalls", Integer, nullable=False, default=0),  # attempts in a row without an epoch
    Column("launch_epochs", Integer, nullable=False, default=0),  # in its record at that time
    Column("retry_at", Float, nullable=False, default=0.0),
    Column("code_hash", String(64)),
    Column("idempotency_key", String(200)),
    Column("summary", JSON, nullable=False),  # of its record, as of record_version
    Column("record_version", String(100)),
    Column("created_at", Float, nullable=False),
    Column("queued_at", Float, nullable=False),
    Column("changed_at", Float, nullable=False),
    Index("by_owner_and_key", "owner", "idempotency_key", unique=True),
    Index("by_change", "changed_at"),
    Index("by_state", "actual"),
)
#: of all searches that there were: MLflow keeps their runs
names = Table(
    "names",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("owner", String(100), nullable=False),
    Column("since", Float, nullable=False),
)
tokens = Table(
    "tokens",
    metadata,
    Column("id", String(20), primary_key=True),
    Column("user", String(100), nullable=False),
    Column("role", String(10), nullable=False),
    Column("secret_hash", String(64), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("revoked", Boolean, nullable=False, default=False),
)
sessions = Table(
    "sessions",
    metadata,
    Column("secret_hash", String(64), primary_key=True),
    Column("token_id", String(20), nullable=False),
    Column("expires_at", Float, nullable=False),
    Index("by_expiry", "expires_at"),
)
quotas = Table(
    "quotas",
    metadata,
    Column("user", String(100), primary_key=True),
    Column("max_running", Integer),
    Column("gpu_hours_per_month", Float),
)
usage = Table(
    "usage",
    metadata,
    Column("user", String(100), primary_key=True),
    Column("month", String(7), primary_key=True),  # 2026-11
    Column("gpu_seconds", Float, nullable=False),
)
keys = Table(
    "keys",
    metadata,
    Column("name", String(50), primary_key=True),
    Column("value", String(100), nullable=False),
)
meters = Table(
    "meters",
    metadata,
    Column("name", String(100), primary_key=True),  # of a search
    Column("submission_id", String(200), nullable=False),
    Column("seen_at", Float, nullable=False),
    Column("gpus", Float, nullable=False),  # that its job had then
    Column("gpu_seconds", Float, nullable=False),
)
audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False),
    Column("user", String(100), nullable=False),
    Column("action", String(50), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("detail", Text),
)
lease = Table(
    "lease",
    metadata,
    Column("name", String(50), primary_key=True),
    Column("holder", String(100), nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("passed_at", Float, nullable=False, default=0.0),  # the reconciler's last whole pass
)


def open_database(url: str) -> Engine:
    """Open a database and make its tables where there are none.

    Raises ServiceError if it can't be used, or was made by another version.
    """
    try:
        kind = make_url(url).get_backend_name()
        if kind not in _ALONE:
            raise ServiceError(f"database: must be {' or '.join(_ALONE)}, but is {kind}")
        is_file = kind == "sqlite"
        # A server that was restarted has closed the connections of the pool.
        engine = create_engine(url, pool_pre_ping=not is_file, pool_size=POOL_SIZE)
        if is_file:
            event.listen(engine, "connect", _prepare_sqlite)
        version = _make_tables(engine)
    except (SQLAlchemyError, ImportError) as error:
        what = str(error).partition("\n")[0]
        raise ServiceError(f"database: can't be used: {what}") from error
    if version != SCHEMA_VERSION:
        raise ServiceError(
            f"database: its tables must have version {SCHEMA_VERSION}, but have {version}"
        )
    return engine


def _make_tables(engine: Engine) -> int:
    """Make the tables that there aren't, all or none; returns their version.

    One process at a time: a second would make them too.
    """
    with engine.begin() as connection:
        connection.exec_driver_sql(_ALONE[engine.dialect.name])
        metadata.create_all(connection)
        found = connection.scalar(select(schema_version.c.version))
        if found is None:
            connection.execute(insert(schema_version).values(version=SCHEMA_VERSION))
    return SCHEMA_VERSION if found is None else int(found)


def _prepare_sqlite(connection: Any, _: Any) -> None:
    """Let readers and the writer work at once, and writers wait for each other."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA busy_timeout=10000")
