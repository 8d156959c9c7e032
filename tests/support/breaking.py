"""What the tests that break searches share: a search in processes of its own."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from hpsearch.errors import HpsearchError
from hpsearch.integrity.check import check_search
from hpsearch.runs import Runs, SearchFolder
from tests.support.polling import wait_until

TRAIN = """
import os
import time

def train(config, trial):
    level = trial.load_checkpoint() or 0.0
    while trial.epoch < trial.max_epochs:
        time.sleep(0.05)
        level = 0.9 * level + 0.1 * (1 - (config["x"] - 0.3) ** 2)
        yield {"score": level}
        trial.save_checkpoint(level)

def hangs(config, trial):
    yield {"score": 0.1}
    if config["x"] < 0.5:
        time.sleep(3600)
    yield {"score": 0.2}
"""
SPEC = """
name: killed
objective: {metric: score}
trainable: user_training.py:train
space: {x: {low: 0.0, high: 1.0}}
search:
  trials: 9
  max_concurrent: 1
  checkpoint_every: 2
  early_stopping: {max_epochs: 9}
"""
START_TIMEOUT_S = 300
RAY = Path(sys.executable).with_name("ray")


def write_search(folder: Path, more: str = "") -> None:
    """Write the search `killed` and its code."""
    (folder / "user_training.py").write_text(TRAIN)
    (folder / "killed.yaml").write_text(f"{SPEC}\n{more}\n")


def start(*arguments: str, cwd: Path) -> subprocess.Popen[bytes]:
    """Start a command of hpsearch; its output goes to `output.log`."""
    command = [sys.executable, "-m", "hpsearch.cli", *arguments]
    with (cwd / "output.log").open("ab") as log:
        return subprocess.Popen(command, cwd=cwd, stdout=log, stderr=log)


def finish(process: subprocess.Popen[bytes], folder: Path, status: int = 0) -> None:
    """Wait for the end of a command."""
    assert process.wait(timeout=600) == status, (folder / "output.log").read_text()[-3000:]


def search_folder(folder: Path) -> SearchFolder:
    """Return the folder of the search."""
    return SearchFolder(folder / "runs" / "killed")


def num_epochs(folder: Path) -> int:
    """Return the epochs in the record; 0 while it is only being made."""
    try:
        trials = search_folder(folder).open_record().trials
    except (HpsearchError, OSError):
        return 0
    return sum(len(trial.curve) for trial in trials)


def wait_for_epochs(folder: Path, wanted: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until the record has so many epochs, or the process ends."""
    wait_until(
        lambda: num_epochs(folder) >= wanted or process.poll() is not None,
        START_TIMEOUT_S,
        interval_s=0.1,
        why=lambda: (folder / "output.log").read_text()[-3000:],
    )


def problems(folder: Path) -> tuple[str, ...]:
    """Return what `hpsearch check` finds wrong."""
    record = search_folder(folder).open_record()
    uri, _ = Runs(folder / "runs").tracking_of(record.spec)
    return check_search(record, search_folder(folder), uri).problems


def kill_again_and_again(folder: Path, num_kills: int, *, seed: int, longest: int = 10) -> int:
    """Run the search, kill its driver so many times at random moments, and let it end.

    Between two deaths lie at most `longest` epochs, and 0.3 s.

    Returns how many times it was killed before it ended.
    """
    rng = random.Random(seed)
    process = start("run", "killed.yaml", cwd=folder)
    for kill in range(num_kills):
        wait_for_epochs(folder, num_epochs(folder) + rng.randint(1, longest), process)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=rng.random() * 0.3)
            finish(process, folder)
            return kill
        process.kill()
        process.wait()
        process = start("resume", "killed", cwd=folder)
    finish(process, folder)
    return num_kills


@contextmanager
def mlflow_server(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run an MLflow server on a store in `folder`; it leads a process group of its own."""
    store = f"sqlite:///{folder / 'server.db'}"
    arguments = ["--host", "127.0.0.1", "--port", str(port), "--backend-store-uri", store]
    artifacts = ["--artifacts-destination", str(folder / "artifacts"), "--workers", "1"]
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *arguments, *artifacts],
            env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for_server(uri: str) -> None:
    """Wait until an MLflow server answers."""
    wait_until(lambda: _answers(f"{uri}/health"), 60, interval_s=0.3)


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except OSError:
        return False
    return True


class Cluster:
    """A Ray cluster of three nodes on this machine, each with processes of its own."""

    def __init__(self, port: int, log: Path, folder: Path) -> None:
        self.address = f"127.0.0.1:{port}"
        self._port, self._log = port, log
        # With Ray's usual folder all programs on this machine would take it for their cluster.
        self._environment = _ray_environment() | {"RAY_TMPDIR": str(folder)}
        self.nodes: list[subprocess.Popen[bytes]] = []

    def add(self) -> None:
        """Start a node, the head first."""
        head = ["--head", f"--port={self._port}", "--include-dashboard=false"]
        place = [f"--address={self.address}"] if self.nodes else head
        with self._log.open("ab") as log:
            node = subprocess.Popen(
                [RAY, "start", *place, "--num-cpus=1", "--block", "--disable-usage-stats"],
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=self._environment,
            )
        self.nodes.append(node)
        self._wait_for(len(self.nodes))

    def _wait_for(self, num_nodes: int) -> None:
        status = [RAY, "status", f"--address={self.address}"]

        def are_there() -> bool:
            done = subprocess.run(status, capture_output=True, text=True, env=self._environment)
            return done.stdout.count("1 node_") == num_nodes

        wait_until(are_there, START_TIMEOUT_S, interval_s=0.5, why=self._log.read_text)

    def kill(self, index: int) -> None:
        """Kill a node's processes as a power failure would."""
        node = self.nodes.pop(index)
        processes = [*psutil.Process(node.pid).children(recursive=True), psutil.Process(node.pid)]
        for process in processes:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        node.wait()


def _ray_environment() -> dict[str, str]:
    """As a user's shell: what a search set in this process is none of the cluster's business."""
    own = {key: value for key, value in os.environ.items() if not key.startswith("RAY_AUTH")}
    return own | {"RAY_AUTH_MODE": "token"}


def announced_cluster() -> str:
    """Return what programs on this machine take for their Ray cluster."""
    file = Path(tempfile.gettempdir(), "ray", "ray_current_cluster")
    return file.read_text() if file.exists() else ""


@contextmanager
def ray_nodes(log: Path) -> Iterator[Cluster]:
    """Have a Ray cluster apart from any search; its nodes are killed in the end."""
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # paths of sockets must be short
    cluster, before = Cluster(20_000 + os.getpid() % 10_000, log, folder), announced_cluster()
    try:
        yield cluster
        assert announced_cluster() == before
    finally:
        while cluster.nodes:
            cluster.kill(-1)
        shutil.rmtree(folder, ignore_errors=True)
