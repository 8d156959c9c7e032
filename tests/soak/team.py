"""A team on the deployed cluster, whose parts die one after another: `make soak`."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hpsearch.errors import ServiceError
from hpsearch.service.client.http_client import Client
from hpsearch.service.database.search_table import ACTIVE
from tests.support.local_cluster import SPEC, first_token, local_cluster
from tests.support.polling import wait_until
from tests.support.postgresql import INITDB
from tests.support.shell import Shell

pytestmark = pytest.mark.skipif(INITDB is None, reason="PostgreSQL is not installed")
TIMEOUT_S = 300.0
MAX_RUNNING = 4  # of compose.yaml
NODE = "ray-worker-1"
#: prints when searches began; their records are in PostgreSQL
BEGUN = """
import sys
from hpsearch.runs import Runs
for name in sys.argv[2:]:
    record = Runs(sys.argv[1]).search(name).open_record()
    assert str(record.spec.storage).startswith("postgresql://records@")
    print(record.created_at)
"""


def submit(shell: Shell, name: str, trials: int, priority: int = 0) -> None:
    """Submit a search with the code that lies in the user's folder."""
    (shell.folder / f"{name}.yaml").write_text(SPEC.format(name=name, trials=trials))
    options = ["--working-dir", "code", "--priority", str(priority)]
    assert f"{name}: submitted" in shell.run("submit", f"{name}.yaml", *options)


class Watch:
    """Looks at the list again and again, and notes who ran more than they may."""

    def __init__(self, login: tuple[str, str], limits: dict[str, int]) -> None:
        self._login = login
        self._limits = limits
        self.excesses: list[Counter[str]] = []

    def rows(self) -> dict[str, dict[str, Any]]:
        """Return the searches by name; none while the service is away."""
        try:
            rows = {each["name"]: each for each in Client(*self._login).searches()}
        except ServiceError:
            return {}
        running = Counter(row["owner"] for row in rows.values() if row["state"] in ACTIVE)
        has_excess = any(running[user] > limit for user, limit in self._limits.items())
        if has_excess or running.total() > MAX_RUNNING:
            self.excesses.append(running)
        return rows

    def until(self, holds: Callable[[dict[str, dict[str, Any]]], bool]) -> dict[str, Any]:
        """Wait until something holds of the searches, and return them."""
        rows: dict[str, dict[str, Any]] = {}

        def look() -> bool:
            nonlocal rows
            rows = self.rows()
            return bool(rows) and holds(rows)

        wait_until(look, TIMEOUT_S, 0.3, lambda: rows)
        return rows

    def more_epochs(self, name: str, count: int = 5) -> None:
        """Wait until a search has trained some epochs more."""
        rows = self.until(lambda rows: name in rows)
        wanted = rows[name]["summary"].get("epochs", 0) + count
        self.until(lambda rows: rows[name]["summary"].get("epochs", 0) >= wanted)

    @contextmanager
    def meanwhile(self) -> Iterator[None]:
        """Look meanwhile, whatever else is done."""
        ended = threading.Event()

        def look() -> None:
            while not ended.wait(0.3):
                self.rows()

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def log_in(home: Path, url: str, token: str) -> Shell:
    """Return the machine of a user who has logged in."""
    shell = Shell(home)
    assert "logged in" in shell.run("login", url, "--token", token)
    return shell


def break_each_part(folder: Path, watch: Watch, name: str) -> None:
    """Kill each part and start it again; a search goes on each time."""
    for parts in (
        [NODE],
        ["service"],
        ["ray-head", NODE, "ray-worker-2"],  # nodes don't outlive their head
        ["mlflow"],
    ):
        for part in parts:
            local_cluster("kill", folder, part)
            assert not runs(folder, part)
        for part in parts:
            local_cluster("start", folder, part)
        watch.more_epochs(name)


def cut_off_a_node(folder: Path, watch: Watch, name: str) -> None:
    """Pull a node's cables until Ray has given it up; a search goes on without it, and with it."""
    local_cluster("cut", folder, NODE)
    deadline = time.monotonic() + TIMEOUT_S
    while num_nodes(folder) == 3:  # it takes Ray a minute to give the node up
        assert time.monotonic() < deadline, f"Ray does not miss {NODE}"
        watch.more_epochs(name)
    local_cluster("join", folder, NODE)
    # Its raylet ends when it hears that it was given up; Docker would start it again.
    wait_until(
        lambda: not runs(folder, NODE),
        TIMEOUT_S,
        interval_s=1,
        why=lambda: f"{NODE} still runs though Ray has given it up",
    )
    local_cluster("start", folder, NODE)
    watch.more_epochs(name)


def num_nodes(folder: Path) -> int:
    """Return how many nodes Ray's head believes to be there."""
    command = ["ray", "status", "--address=ray-head:6379"]
    return local_cluster("exec", folder, "ray-head", *command).count(" 1 node_")


def has_namespaces(folder: Path) -> bool:
    """Whether the parts of a cluster have cables."""
    return "subnet" in (folder / "cluster.json").read_text()


def runs(folder: Path, part: str) -> bool:
    """Whether a part of a cluster runs."""
    status = local_cluster("status", folder)
    return re.search(rf"^{part} +does not run$", status, re.M) is None


def test_the_searches_of_a_team_outlive_each_part(cluster_folder: Path, tmp_path: Path) -> None:
    url, token = first_token(cluster_folder)
    client = Client(url, token)
    watch = Watch((url, token), {"ann": 2})
    admin = log_in(tmp_path / "admin", url, token)
    ann, bob = (
        log_in(tmp_path / user, url, admin.run("token", "create", user).strip())
        for user in ("ann", "bob")
    )
    for user in ("ann", "bob"):
        admin.run("quota", user, "--set", "--gpu-hours", "0")
    with watch.meanwhile():
        submit(ann, "first", 30)
        submit(ann, "second", 16)
        submit(ann, "third", 16)
        submit(ann, "urgent", 30, priority=5)
        submit(bob, "long", 900)
        rows = watch.until(lambda rows: all(row["reason"] for row in rows.values()))
        assert {name: row["state"] for name, row in rows.items()} == dict.fromkeys(rows, "queued")
        assert rows["urgent"]["reason"] == "ann has used this month's 0 GPU-hours"
        assert "bob has used this month's 0 GPU-hours" in bob.run("list", "--mine")

        client.set_quota("bob", max_running=None, gpu_hours_per_month=None)
        client.set_quota("ann", max_running=2, gpu_hours_per_month=None)
        expected = {"urgent": "running", "long": "running", "first": "running"}
        rows = watch.until(
            lambda rows: expected.items() <= {n: r["state"] for n, r in rows.items()}.items()
        )
        assert rows["second"]["reason"] == "ann runs 2 of at most 2 searches"
        assert "long belongs to bob: only they may stop it" in ann.run("stop", "long", status=2)
        watch.more_epochs("long")
        break_each_part(cluster_folder, watch, "long")
        if has_namespaces(cluster_folder):
            cut_off_a_node(cluster_folder, watch, "long")
        assert "stops" in bob.run("stop", "long")
        names = ("first", "second", "third", "urgent")
        ended = {"long": "stopped", **dict.fromkeys(names, "finished")}
        watch.until(lambda rows: {n: r["state"] for n, r in rows.items()} == ended)
    assert watch.excesses == []
    expect_order(
        cluster_folder, ["urgent", "first"], ["long", "first"], ["first", "second", "third"]
    )
    runs = cluster_folder / "runs"
    for name in ended:
        assert f"{name}: 0 problems" in in_service(
            cluster_folder, "hpsearch", "check", name, "--runs", runs
        )


def expect_order(folder: Path, *orders: list[str]) -> None:
    """Searches must have begun in these orders."""
    for names in orders:
        begun = in_service(folder, sys.executable, "-c", BEGUN, folder / "runs", *names).split()
        assert [name for _, name in sorted(zip(map(float, begun), names, strict=True))] == names


def in_service(folder: Path, *command: str | Path) -> str:
    """Run a command in the service's container."""
    return local_cluster("exec", folder, "service", "entrypoint.sh", *command)
