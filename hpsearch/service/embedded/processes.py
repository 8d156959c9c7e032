"""The processes of an embedded service: a Ray head and an MLflow server, on this machine alone."""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import requests

from hpsearch.errors import ServiceError
from hpsearch.service.confinement.workers import WorkerUser
from hpsearch.service.embedded.parent import end_with_parent
from hpsearch.service.settings import plain_environment
from hpsearch.tracking.server import VARIABLE
from hpsearch.tuning.on_ray.cluster import SYSTEM_CONFIG

LOCALHOST = "127.0.0.1"
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 15.0
#: seconds between two looks at whether a process has died
WATCH_S = 1.0
_log = logging.getLogger(__name__)


@dataclass
class Child:
    """A process that is started again whenever it dies, and ends with this one."""

    name: str
    command: list[str]
    log: Path
    #: answers once the process can be used, with whatever status
    url: str
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                env=plain_environment() | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )

    def wait(self) -> None:
        """Wait until it answers; raises ServiceError if it doesn't."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and not self.has_died():
            with suppress(requests.RequestException):
                requests.get(self.url, timeout=5)
                return
            time.sleep(0.2)
        raise ServiceError(f"{self.name} did not start; see {self.log}")

    def has_died(self) -> bool:
        """Whether the process has ended."""
        return self.process is None or self.process.poll() is not None

    def stop(self) -> None:
        """End it and all that it started."""
        if self.process is None:
            return
        family = _family(self.process.pid)
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        _, alive = psutil.wait_procs(family, timeout=STOP_TIMEOUT_S)
        for process in alive:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_TIMEOUT_S)


@contextmanager
def kept_alive(children: list[Child]) -> Iterator[None]:
    """Start processes, start again those that die, and end them."""
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(children, ended), daemon=True)
    try:
        for child in children:
            child.start()
        for child in children:
            child.wait()
        watcher.start()
        yield
    finally:
        ended.set()
        if watcher.ident is not None:
            watcher.join()
        for child in reversed(children):
            child.stop()


def _watch(children: list[Child], ended: threading.Event) -> None:
    while not ended.wait(WATCH_S):
        for child in children:
            if child.has_died() and not ended.is_set():
                _log.warning("%s died; restarting it (see %s)", child.name, child.log)
                child.stop()
                child.start()


@contextmanager
def ray_head(
    state: Path,
    num_cpus: int | None = None,
    user: WorkerUser = WorkerUser(),  # noqa: B008 (it is frozen)
    needs: Iterable[Path] = (),
) -> Iterator[tuple[Child, str]]:
    """Yield a Ray head with a job server, and the token that it wants; its files go at the end.

    It runs as the user, who can read and write what it `needs` as far as that allows.
    """
    token = _kept(state / "ray_token", lambda: secrets.token_hex(32))
    # Paths of sockets must be short.
    folder = Path(tempfile.mkdtemp(prefix="hpsearch-ray-", dir="/tmp"))
    token_file = folder / "token"
    _kept(token_file, lambda: token)
    user.give(folder, token_file)
    port, dashboard, client = free_ports(3)
    command = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
        *("--disable-usage-stats", "--include-dashboard=true", f"--temp-dir={folder}"),
        *(f"--node-ip-address={LOCALHOST}", f"--dashboard-host={LOCALHOST}"),
        *(f"--port={port}", f"--dashboard-port={dashboard}", f"--ray-client-server-port={client}"),
        # An agent whose port is taken continues without its job server: let it choose.
        "--dashboard-agent-listen-port=0",
        f"--system-config={json.dumps(SYSTEM_CONFIG)}",
        *([f"--num-cpus={num_cpus}"] if num_cpus is not None else []),
    ]
    environment = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token_file),
        **({"HOME": str(folder)} if user.is_apart else {}),
        "RAY_DISABLE_IMPORT_WARNING": "1",
    }
    url = f"http://{LOCALHOST}:{dashboard}"
    try:
        confined = user.command(command, [folder, *needs])
        yield Child("Ray", confined, state / "ray.log", url, environment), token
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def mlflow_server(state: Path, store: str, artifacts: Path) -> tuple[Child, str]:
    """Return an MLflow server, on the port that it had before: records name it; and its token."""
    token = _kept(state / "mlflow_token", lambda: secrets.token_hex(32))
    port = _kept(state / "mlflow_port", lambda: str(free_ports(1)[0]))
    url = f"http://{LOCALHOST}:{port}"
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", LOCALHOST),
        *("--port", port, "--workers", "1", "--backend-store-uri", store),
        *("--artifacts-destination", str(artifacts), "--app-name", "hpsearch"),
    ]
    environment = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", VARIABLE: token}
    return Child("MLflow", command, state / "mlflow.log", url, environment), token


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on at this moment."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind((LOCALHOST, 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _kept(path: Path, make: Callable[[], str]) -> str:
    """Return the text in a file that its owner alone may read; it is made if it isn't there."""
    if not path.is_file():
        draft = path.with_suffix(".tmp")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(make())
        draft.replace(path)
    return path.read_text().strip()


def _family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [*process.children(recursive=True), process]
    except psutil.NoSuchProcess:
        return []
