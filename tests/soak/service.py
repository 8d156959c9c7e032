"""Searches of the service on a real Ray cluster, whose drivers die: `make soak`."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient

from hpsearch.integrity.check import check_search
from hpsearch.runs import Runs
from hpsearch.service import reconciler
from hpsearch.service.client.packing import pack_folder
from hpsearch.service.core import Service, Submission
from hpsearch.service.database.search_table import SearchRow
from hpsearch.service.database.tokens import User
from hpsearch.service.embedded.processes import Child, kept_alive, ray_head
from hpsearch.service.settings import Settings
from tests.support.breaking import TRAIN
from tests.support.polling import wait_until

ANN = User("ann", "user")
SPEC = """
name: {name}
objective: {{metric: score}}
trainable: train.py:train
space: {{x: {{low: 0.0, high: 1.0}}}}
search: {{trials: {trials}, max_concurrent: 1, checkpoint_every: 2,
          early_stopping: {{name: none, max_epochs: 9}}}}
"""
TIMEOUT_S = 180


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Child, str]]:
    """A real Ray head with its job server."""
    state = tmp_path_factory.mktemp("state")
    with ray_head(state, num_cpus=3) as (child, token), kept_alive([child]):
        yield child, token


@pytest.fixture
def service(head: tuple[Child, str], tmp_path: Path) -> Iterator[Service]:
    child, token = head
    (tmp_path / "runs").mkdir()
    database = f"sqlite:///{tmp_path / 'service.db'}"
    settings = Settings(tmp_path / "runs", database, child.url, token, interval_s=0.3)
    service = Service(settings)
    yield service
    service.close()


@contextmanager
def reconciling(settings: Settings) -> Iterator[None]:
    """A reconciler of its own, as another process would have one."""
    service = Service(settings)
    ended = threading.Event()
    thread = threading.Thread(target=service.reconciler().run, args=(ended,))
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        service.close()


def wait_for(service: Service, name: str, holds: Callable[[SearchRow], bool]) -> SearchRow:
    log = service.runs.path / name / "driver.log"

    row = service.table.get(name)

    def look() -> bool:
        nonlocal row
        row = service.table.get(name)
        return holds(row)

    def why() -> object:
        return row, log.read_text() if log.is_file() else "no log"

    wait_until(look, TIMEOUT_S, 0.2, why)
    return row


def has_epochs(row: SearchRow, count: int = 2) -> bool:
    return row.actual == "running" and row.summary.get("epochs", 0) >= count


def kill_driver(service: Service, name: str) -> None:
    """Kill the process that drives a search, as the kernel does when memory ends."""
    [driver] = [
        process
        for process in psutil.process_iter(["cmdline"])
        if {"resume", name, str(service.runs.path)} <= set(process.info["cmdline"] or ())
        and "hpsearch.cli" in process.info["cmdline"]
    ]
    os.kill(driver.pid, signal.SIGKILL)


def test_a_search_outlives_its_driver_and_its_reconciler(service: Service, tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "train.py").write_text(TRAIN)
    packed, code_hash = pack_folder(code)
    service.uploads.store(code_hash, [packed])
    asyncio.run(service.submit(ANN, Submission(SPEC.format(name="first", trials=24), code_hash)))
    with reconciling(service.settings):
        wait_for(service, "first", has_epochs)
        kill_driver(service, "first")
    # That reconciler has ended; of the next two, one works.
    with reconciling(service.settings), reconciling(service.settings):
        first = wait_for(service, "first", lambda row: row.actual == "finished")
    assert first.attempt == 2
    record = service.runs.search("first").open_record()
    assert (record.state, len(record.ranked())) == ("finished", 24)
    expect_clean(service, "first")
    expect_provenance(service, "first", code_hash)


def test_a_search_that_cannot_run_fails_with_the_reason(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler, "MAX_STALLS", 2)
    code = tmp_path / "code"
    code.mkdir()
    (code / "train.py").write_text(TRAIN)
    packed, code_hash = pack_folder(code)
    service.uploads.store(code_hash, [packed])
    text = SPEC.format(name="big", trials=2) + "resources: {cpu: 99}\n"
    asyncio.run(service.submit(ANN, Submission(text, code_hash)))
    with reconciling(service.settings):
        failed = wait_for(service, "big", lambda row: row.actual == "failed")
    assert failed.attempt == 3  # the last wrote the end into its record
    assert "no node of the cluster has 99 CPUs" in str(failed.reason)
    assert service.runs.search("big").open_record().state == "stopped"  # it can be resumed
    expect_clean(service, "big")
    assert service.resume(ANN, "big").actual == "queued"


def expect_clean(service: Service, name: str) -> None:
    folder = service.runs.search(name)
    record = folder.open_record()
    uri, _ = service.runs.tracking_of(record.spec)
    assert check_search(record, folder, uri).problems == ()


def expect_provenance(service: Service, name: str, code_hash: str) -> None:
    facts = service.runs.search(name).open_record().facts
    assert (facts["owner"], facts["code_hash"]) == ("ann", code_hash)
    client = MlflowClient(Runs(service.settings.runs).tracking_uri)
    experiment = client.get_experiment_by_name(name)
    found = client.search_runs(
        [experiment.experiment_id], f"tags.code_hash = '{code_hash}'", max_results=5
    )
    assert len(found) == 1
