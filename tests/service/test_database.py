"""The service's database: searches, tokens, quotas, the lease and the audit log."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, inspect, update

from hpsearch.errors import (
    ConflictError,
    NotAuthenticatedError,
    SearchExistsError,
    SearchNotFoundError,
    ServiceError,
    SpecError,
)
from hpsearch.service.cache.search_list import SearchListCache
from hpsearch.service.database import tables
from hpsearch.service.database.audit import read_audit, write_audit
from hpsearch.service.database.lease import Lease
from hpsearch.service.database.quotas import Quotas
from hpsearch.service.database.search_lists import Filter
from hpsearch.service.database.search_table import SearchRow, SearchTable
from hpsearch.service.database.tables import open_database
from hpsearch.service.database.tokens import FailedLogins, Tokens, check_chosen
from hpsearch.service.queue import Quota
from tests.support.postgresql import INITDB


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A new database of each kind, real both."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'service.db'}"
    elif INITDB is None:
        pytest.skip("PostgreSQL is not installed")
    else:
        url = f"{request.getfixturevalue('server')}/postgres"
    yield url
    engine = create_engine(url)
    tables.metadata.drop_all(engine)
    engine.dispose()


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = open_database(url)
    yield engine
    engine.dispose()


#: opens a database, and dies after a statement with these words
OPEN = """
import os, sys
from sqlalchemy import Engine, event
from hpsearch.service.database.tables import open_database

def look(connection, cursor, statement, *_):
    if sys.argv[2] in statement:
        os._exit(9)

event.listen(Engine, "after_cursor_execute", look)
open_database(sys.argv[1])
"""


def opener(url: str, last_words: str = "nothing") -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", OPEN, url, last_words])


def test_tables_are_made_whole_by_one_who_may_die(url: str) -> None:
    for words in ("CREATE TABLE searches", "CREATE INDEX by_change", "INSERT INTO schema_version"):
        assert opener(url, words).wait() == 9
    engine = open_database(url)
    found = {
        index["name"]
        for table in tables.metadata.tables
        for index in inspect(engine).get_indexes(table)
    }
    wanted = {index.name for table in tables.metadata.tables.values() for index in table.indexes}
    assert wanted and found == wanted
    engine.dispose()


def test_services_may_begin_at_once(url: str) -> None:
    assert [each.wait() for each in [opener(url) for _ in range(4)]] == [0] * 4


def test_a_listing_is_always_what_the_table_says(engine: Engine) -> None:
    table = SearchTable(engine)
    for name in ("a", "b", "c"):
        table.add(SearchRow(name, "ann", "spec", summary={"epochs": 1}))
    listing = SearchListCache(table)

    def expect_truth() -> None:
        for wanted, limit, offset in (
            (Filter(), 10, 0),
            (Filter(), 1, 1),
            (Filter(text="b"), 9, 0),
        ):
            rows, total = table.page(wanted, limit, offset)
            told = json.loads(listing.page(wanted, limit, offset))
            assert told == {"searches": rows, "total": total}

    expect_truth()
    assert table.change(table.get("b"), summary={"epochs": 2}) is not None
    expect_truth()
    table.remove("a")
    expect_truth()
    table.add(SearchRow("a", "ann", "another"))
    expect_truth()
    assert json.loads(listing.page(Filter(owner="eve"), 10, 0)) == {"searches": [], "total": 0}


def test_a_search_is_kept_and_found(engine: Engine) -> None:
    table = SearchTable(engine)
    for name, owner in (("a", "ann"), ("b", "bob"), ("b_c", "bob")):
        assert table.add(SearchRow(name, owner, "spec: 1"))[1]
    rows, total = table.page(Filter(owner="bob"), limit=1)
    assert ([row["name"] for row in rows], total) == (["b_c"], 2)
    assert [row["name"] for row in table.page(Filter(text="_"))[0]] == ["b_c"]
    assert table.page(Filter(states=("running",))) == ([], 0)
    assert table.counts() == {"queued": 3}
    table.remove("a")
    with pytest.raises(SearchNotFoundError):
        table.get("a")


def test_a_taken_name_is_refused_and_a_repeated_request_is_not(engine: Engine) -> None:
    table = SearchTable(engine)
    row = SearchRow("a", "ann", "spec: 1", idempotency_key="k")
    first, is_new = table.add(row)
    assert is_new
    assert table.add(row) == (first, False)
    with pytest.raises(ConflictError, match="'a' has it"):
        table.add(SearchRow("b", "ann", "spec: 2", idempotency_key="k"))
    with pytest.raises(SearchExistsError):
        table.add(SearchRow("a", "bob", "spec: 1", idempotency_key="k"))


def test_of_two_that_change_a_search_one_wins(engine: Engine) -> None:
    table = SearchTable(engine)
    row, _ = table.add(SearchRow("a", "ann", "spec: 1"))
    stopped = table.change(row, desired="stopped")
    assert stopped == table.get("a")
    assert table.change(row, desired="running") is None
    assert table.get("a").desired == "stopped"
    assert [each.name for each in table.changed_since(row.changed_at)] == ["a"]


def test_tables_of_another_version_are_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'service.db'}"
    engine = open_database(url)
    with engine.begin() as connection:
        connection.execute(update(tables.schema_version).values(version=99))
    engine.dispose()
    with pytest.raises(ServiceError, match="must have version 1, but have 99"):
        open_database(url)


def test_a_database_that_cannot_be_used_is_one_error() -> None:
    with pytest.raises(ServiceError, match="database: can't be used"):
        open_database("sqlite:////no/such/folder/service.db")
    with pytest.raises(ServiceError, match="must be sqlite or postgresql, but is mysql"):
        open_database("mysql://127.0.0.1/service")


def test_a_token_names_its_user_until_it_is_revoked(engine: Engine) -> None:
    tokens = Tokens(engine)
    token = tokens.create("ann", "user")
    assert tokens.authenticate(token).name == "ann"
    assert tokens.authenticate(token).role == "user"
    [entry] = tokens.list()
    assert token.split("_", 2)[2] not in str(entry)
    tokens.revoke(entry["id"])
    with pytest.raises(NotAuthenticatedError):
        tokens.authenticate(token)
    with pytest.raises(ServiceError, match="'nothing'"):
        tokens.revoke("nothing")


def test_no_other_token_is_let_in(engine: Engine) -> None:
    tokens = Tokens(engine)
    token, other = tokens.create("ann", "admin"), tokens.create("bob", "user")
    mixed = f"{token[:17]}{other[17:]}"
    for bad in ("", "hps_", token[:-1], token + "x", mixed, token.upper(), "' OR 1=1 --", "\0"):
        with pytest.raises(NotAuthenticatedError):
            tokens.authenticate(bad)


def test_the_first_token_is_an_admin_s_and_may_be_chosen(engine: Engine) -> None:
    tokens, chosen = Tokens(engine), "7f" * 24
    assert tokens.create_first("root", chosen) == chosen
    assert tokens.authenticate(chosen).is_admin
    assert tokens.create_first("root", "another" * 9) is None
    [entry] = tokens.list()
    assert (entry["user"], chosen in str(entry)) == ("root", False)
    tokens.revoke(entry["id"])
    with pytest.raises(NotAuthenticatedError):
        tokens.authenticate(chosen)
    assert tokens.create_first("root", chosen) is None  # not that of a service that lost it


@pytest.mark.parametrize("token", ["", "x" * 31, "a b" * 20, "ü" * 40, "x\n" * 40])
def test_a_chosen_token_must_be_long(token: str) -> None:
    with pytest.raises(
        ServiceError, match="admin.token: must be at least 32 random ASCII characters"
    ):
        check_chosen(token, "admin.token")


@pytest.mark.parametrize(("user", "role"), [("", "user"), ("a b", "user"), ("ann", "root")])
def test_a_token_needs_a_name_and_a_role(engine: Engine, user: str, role: str) -> None:
    with pytest.raises(SpecError):
        Tokens(engine).create(user, role)


def test_failed_logins_are_too_many_for_a_while() -> None:
    now = [0.0]
    failures = FailedLogins(max_failures=2, period_s=60, clock=lambda: now[0])
    assert [failures.count("here") for _ in range(3)] == [False, False, True]
    assert not failures.count("elsewhere")
    now[0] = 61.0
    assert not failures.count("here")


def test_quotas_and_usage_add_up(engine: Engine) -> None:
    quotas = Quotas(engine)
    quotas.set("ann", Quota(2, 10.0))
    quotas.set("ann", Quota(max_running=3))
    assert quotas.all() == {"ann": Quota(3, None)}
    writers = [threading.Thread(target=quotas.add_usage, args=("ann", 900)) for _ in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert quotas.gpu_hours() == {"ann": 2.0}


def test_one_of_two_has_the_lease(engine: Engine) -> None:
    first, second = Lease(engine), Lease(engine)
    assert first.acquire()
    assert first.acquire()
    assert not second.acquire()
    first.note_pass()
    lag = second.lag()
    assert lag is not None and lag < 10
    first.release()
    assert second.acquire()
    assert not first.acquire()


def test_a_lease_runs_out(engine: Engine) -> None:
    dead, heir = Lease(engine, duration_s=-1), Lease(engine)
    assert dead.acquire()
    assert heir.acquire()


def test_the_audit_log_says_who_did_what(engine: Engine) -> None:
    write_audit(engine, "ann", "stop", "digits", "refused")
    write_audit(engine, "bob", "create", "iris")
    newest, oldest = read_audit(engine)
    assert (newest["user"], newest["action"], newest["subject"]) == ("bob", "create", "iris")
    assert oldest["detail"] == "refused"
