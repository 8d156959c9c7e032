"""What the containers of deploy/ run, run here and broken part by part: `make soak`."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.checks.commands import DEPLOY
from hpsearch.runs import Runs
from hpsearch.service.client import Client
from hpsearch.upkeep.check import check_search
from tests.breaking import write_search
from tests.test_postgresql import INITDB

pytestmark = pytest.mark.skipif(INITDB is None, reason="PostgreSQL is not installed")
TIMEOUT_S = 300.0


def local_cluster(*arguments: str | Path) -> str:
    """Call deploy/local-cluster; returns what it prints."""
    command = [sys.executable, str(DEPLOY / "local-cluster"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def folder() -> Iterator[Path]:
    """Folder of a cluster that is up."""
    # PostgreSQL runs as another user, who must come into it.
    parent = Path(tempfile.mkdtemp(prefix="cluster-", dir="/tmp"))
    parent.chmod(0o711)
    try:
        local_cluster("up", parent / "cluster")
        yield parent / "cluster"
    finally:
        local_cluster("down", parent / "cluster")
        shutil.rmtree(parent)


def log_in(folder: Path) -> Client:
    """Return a client with the first token, which the service has printed."""
    found = re.search(r"login (\S+) --token (\S+)", (folder / "service.log").read_text())
    assert found is not None
    return Client(*found.groups())


def wait_for(client: Client, name: str, *states: str) -> None:
    """Wait until a search is in one of the states."""
    deadline = time.monotonic() + TIMEOUT_S
    state = None
    while state not in states:
        assert time.monotonic() < deadline, f"{name} is {state}, not {states}"
        time.sleep(0.5)
        state = client.search(name)["state"]


def wait_for_epochs(client: Client, number: int) -> int:
    """Wait until the service has seen so many epochs; returns how many it has."""
    deadline = time.monotonic() + TIMEOUT_S
    epochs = 0
    while epochs < number:
        assert time.monotonic() < deadline, f"{epochs} epochs, not {number}"
        time.sleep(0.5)
        epochs = client.search("killed")["summary"].get("epochs", 0)
    return epochs


def test_a_search_outlives_each_part(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", (folder / "secrets" / "records_password").read_text())
    client = log_in(folder)
    write_search(tmp_path)
    spec = (tmp_path / "killed.yaml").read_text().replace("trials: 9", "trials: 900")
    client.submit(spec, working_dir=tmp_path)
    epochs = wait_for_epochs(client, 5)
    for names in (
        ["ray-worker-1"],
        ["mlflow"],
        ["service"],
        ["ray-head", "ray-worker-1", "ray-worker-2"],  # nodes don't outlive their head
    ):
        for name in names:
            local_cluster("kill", folder, name)
            assert re.search(rf"^{name} +does not run$", local_cluster("status", folder), re.M)
        for name in names:
            local_cluster("start", folder, name)
        epochs = wait_for_epochs(client, epochs + 5)
    client.act("killed", "stop")
    wait_for(client, "killed", "stopped")
    found = Runs(folder / "runs").search("killed")
    record = found.open_record()
    assert record.spec.storage is not None
    assert record.spec.storage.startswith("postgresql://records@127.0.0.1")
    assert check_search(record, found, record.spec.tracking_uri).problems == ()
