"""Searches that are broken again and again, at seeded random moments: `make soak`.

Not part of `make test`, which breaks each of them a few times only. After each, `hpsearch check`
must find nothing.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.breaking import (
    Cluster,
    finish,
    kill_again_and_again,
    mlflow_server,
    num_epochs,
    problems,
    ray_nodes,
    search_folder,
    start,
    wait_for_epochs,
    wait_for_server,
    write_search,
)

LONG = ("--set", "search.trials=60", "--set", "search.max_concurrent=2")


def check_finished(folder: Path, trials: int = 60) -> None:
    record = search_folder(folder).open_record()
    assert problems(folder) == ()
    assert record.state == "finished"
    assert len(record.trials) >= trials


def test_the_driver_is_killed_fifty_times(folder: Path) -> None:
    # Long enough that fifty deaths fit in.
    more = "\n  ".join(["max_concurrent: 2", "checkpoint_every: 1", "max_retries: 1"])
    text = (folder / "killed.yaml").read_text()
    text = text.replace("max_concurrent: 1\n  checkpoint_every: 2", more)
    (folder / "killed.yaml").write_text(text.replace("trials: 9", "trials: 150"))
    assert kill_again_and_again(folder, 50, seed=1) == 50
    check_finished(folder, 150)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_stop_the_driver_and_resume_goes_on(folder: Path, number: int) -> None:
    rng = random.Random(number)
    process = start("run", "killed.yaml", *LONG, cwd=folder)
    for _ in range(5):
        wait_for_epochs(folder, num_epochs(folder) + rng.randint(1, 20), process)
        process.send_signal(number)
        finish(process, folder, status=130)
        assert problems(folder) == ()
        process = start("resume", "killed", cwd=folder)
    finish(process, folder)
    check_finished(folder)


def test_workers_are_killed(folder: Path) -> None:
    rng = random.Random(2)
    process = start("run", "killed.yaml", *LONG, cwd=folder)
    for _ in range(10):
        wait_for_epochs(folder, num_epochs(folder) + rng.randint(1, 12), process)
        workers = [child for child in descendants(process) if "TrialActor" in name_of(child)]
        if workers:
            rng.choice(workers).kill()
    finish(process, folder)
    check_finished(folder)


def descendants(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def name_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with ray_nodes(tmp_path / "ray.log") as cluster:
        for _ in range(3):
            cluster.add()
        yield cluster


def test_nodes_of_a_cluster_die(folder: Path, cluster: Cluster) -> None:
    options = ("--set", "search.trials=300", "--set", "search.max_concurrent=3")
    process = start("run", "killed.yaml", *options, "--address", cluster.address, cwd=folder)
    wait_for_epochs(folder, 20, process)
    cluster.kill(2)  # a worker node
    wait_for_epochs(folder, num_epochs(folder) + 20, process)
    cluster.add()
    wait_for_epochs(folder, num_epochs(folder) + 20, process)
    while cluster.nodes:  # the head, and its nodes with it
        cluster.kill(0)
    process.wait(timeout=300)  # Ray gives up after a minute
    assert process.returncode != 0
    assert search_folder(folder).open_record().state == "running"
    for _ in range(3):
        cluster.add()
    finish(start("resume", "killed", "--address", cluster.address, cwd=folder), folder)
    check_finished(folder, 300)


def test_the_mlflow_server_is_killed_frozen_and_restarted(folder: Path) -> None:
    port = 40_000 + os.getpid() % 10_000
    uri = f"http://127.0.0.1:{port}"
    write_search(folder, f"tracking_uri: {uri}")
    with mlflow_server(folder, port) as server:
        wait_for_server(uri)
        process = start("run", "killed.yaml", *LONG, cwd=folder)
        wait_for_epochs(folder, 10, process)
        os.killpg(server.pid, signal.SIGSTOP)
        wait_for_epochs(folder, 60, process)
        os.killpg(server.pid, signal.SIGCONT)
        wait_for_epochs(folder, 80, process)
    wait_for_epochs(folder, 120, process)  # the server is dead
    with mlflow_server(folder, port):
        wait_for_server(uri)
        finish(process, folder)
        finish(start("resume", "killed", cwd=folder), folder, status=resume_status(folder))
        check_finished(folder)


def resume_status(folder: Path) -> int:
    """`resume` refuses a search that has come to its end in every respect."""
    return 2 if search_folder(folder).open_record().delivered else 0


@pytest.mark.skipif(os.getuid() != 0, reason="only root may mount a small disk")
def test_a_full_disk(folder: Path) -> None:
    disk = folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk], check=True)
    try:
        write_search(folder, f"tracking_uri: sqlite:///{disk}/mlflow.db")
        process = start("run", "killed.yaml", *LONG, cwd=folder)
        wait_for_epochs(folder, 10, process)
        (disk / "ballast").write_bytes(bytes(shutil.disk_usage(disk).free))
        finish(process, folder)  # on time, without MLflow
        assert not search_folder(folder).open_record().delivered
        (disk / "ballast").unlink()
        subprocess.run(["mount", "-o", "remount,size=50m", disk], check=True)
        finish(start("resume", "killed", cwd=folder), folder)
        check_finished(folder)
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)  # MLflow may hold its store open
