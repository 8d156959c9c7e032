"""How fast a team's service says that it is well, whatever a user does to it.

`python -m benchmarks.hostile [--seconds 20]`: `hpsearch serve` is asked for `/health` twenty times
a second while hostile clients ask for something else. Those and the checkers of what they submit
take processors, too.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import requests

from benchmarks.service import wait_until_healthy
from hpsearch.provenance import available_cpus
from hpsearch.runs import SearchFolder
from hpsearch.service.client.http_client import Client
from hpsearch.service.database.search_table import SearchRow, SearchTable
from hpsearch.service.database.tables import open_database
from hpsearch.service.database.tokens import Tokens
from hpsearch.service.embedded.processes import free_ports

GOAL_S = 0.2
INTERVAL_S = 0.05
#: clients of each kind, and what those that hang up wait for an answer
CLIENTS, PATIENCE_S = 8, 3.0
NAMES = ("sparse", "garbled", "nested")
_SPEC = """
name: {name}
objective: {{metric: score}}
trainable: train.py:train
space: {{x: {{low: 0.0, high: 1.0}}}}
search: {{time_limit: {time_limit}}}
"""
_CHOICES = """
name: many
objective: {{metric: score}}
trainable: train.py:train
space: {{x: [{choices}]}}
"""


@dataclass(frozen=True)
class Target:
    """A service, what opens it, and the hash of code that never ends."""

    url: str
    token: str
    code_hash: str

    def ask(self, method: str, path: str, **options: object) -> None:
        """Ask for something, and take any answer or none."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        with suppress(requests.RequestException):
            requests.request(
                method,
                f"{self.url}{path}",
                headers=headers,
                **{"timeout": 60, **options},  # type: ignore[arg-type]
            )

    def submit(self, spec: str, timeout_s: float = 60) -> None:
        """Submit a spec whose code never ends."""
        body = {"spec": spec, "code_hash": self.code_hash}
        with suppress(requests.RequestException):
            url, headers = f"{self.url}/api/v1/searches", {"Authorization": f"Bearer {self.token}"}
            requests.post(url, json=body, headers=headers, timeout=timeout_s)


def hang_up(target: Target) -> None:
    """Submit code that never ends, and hang up."""
    target.submit(_SPEC.format(name="hangs", time_limit="1h"), PATIENCE_S)


def long_number(target: Target) -> None:
    """Submit a time limit of 16,000 digits."""
    target.submit(_SPEC.format(name="long", time_limit="9" * 16_000 + "x"))


def many_choices(target: Target) -> None:
    """Submit 20,000 choices."""
    target.submit(_CHOICES.format(choices=", ".join(f"c{i}" for i in range(20_000))))


def deep_spec(target: Target) -> None:
    """Submit a spec of 100,000 lists in each other."""
    target.submit("space: " + "[" * 100_000)


def deep_body(target: Target) -> None:
    """Send a body of 900,000 lists in each other."""
    target.ask("POST", "/api/v1/searches", data="[" * 900_000)


def broken_records(target: Target) -> None:
    """Ask for records that no driver wrote."""
    for name in NAMES:
        for what in ("status", "trials", "report"):
            target.ask("GET", f"/api/v1/searches/{name}/{what}")


LOADS: dict[str, Callable[[Target], None]] = {
    "nothing else": lambda target: time.sleep(1),
    "code that hangs; clients hang up": hang_up,
    "a number of 16,000 digits": long_number,
    "20,000 choices": many_choices,
    "100,000 lists in a spec": deep_spec,
    "900,000 lists in a body": deep_body,
    "records of 1.5 GB that are none": broken_records,
}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    print(f"command: python -m benchmarks.hostile {' '.join(sys.argv[1:])}")
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("fastapi", "uvicorn")]
    print(f"versions: {', '.join(versions)}, python {platform.python_version()}")
    print(f"machine: {available_cpus()} cores, load {os.getloadavg()[0]:.1f} before", flush=True)
    print(f"\n{'/health, ms':36}{'asked':>8}{'p50':>8}{'p99':>8}{'worst':>8}")
    with tempfile.TemporaryDirectory(prefix="hostile-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # users' code is another user's
        with _served(folder) as target:
            for what, load in LOADS.items():
                _show(what, _measure(target, load, options.seconds))


@contextmanager
def _served(folder: Path) -> Iterator[Target]:
    runs = folder / "runs"
    token = _make_searches(runs)
    code = folder / "code"
    code.mkdir()
    (code / "train.py").write_text("import time\ntime.sleep(3600)\n")
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "hpsearch.cli", "serve", "--runs", str(runs)]
    command += ["--port", str(port), "--cpus", "1"]
    with (folder / "service.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_until_healthy(url, process)
        yield Target(url, token, Client(url, token).upload(code))
    finally:
        process.terminate()
        process.wait()


def _make_searches(runs: Path) -> str:
    """Put searches with broken records into a service's table; returns a user's token."""
    state = runs / ".service"
    state.mkdir(parents=True, mode=0o700)
    engine = open_database(f"sqlite:///{state / 'service.db'}")
    for name in NAMES:
        spec = _SPEC.format(name=name, time_limit="1h")
        SearchTable(engine).add(SearchRow(name, "ann", spec, "running", "finished"))
        (runs / name).mkdir()
    token = Tokens(engine).create("ann", "user")
    engine.dispose()
    sparse, garbled, nested = (SearchFolder(runs / name).journal for name in NAMES)
    with sparse.open("wb") as file:
        file.truncate(1_500_000_000)
    garbled.write_bytes(b'{"op_code": 77}\n' * 5_000_000)
    nested.write_bytes(b"[" * 50_000_000)
    return token


def _measure(target: Target, load: Callable[[Target], None], seconds: float) -> list[float]:
    """Return how long answers took while clients did something, in seconds."""
    ended = threading.Event()

    def go_on() -> None:
        while not ended.is_set():
            load(target)

    clients = [threading.Thread(target=go_on, daemon=True) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    probe = [sys.executable, "-m", "benchmarks.probe", target.url, str(seconds), str(INTERVAL_S)]
    done = subprocess.run(probe, stdout=subprocess.PIPE, text=True, check=True)
    ended.set()
    for client in clients:
        client.join()
    return [float(line) for line in done.stdout.split()]


def _show(what: str, took: list[float]) -> None:
    ordered = sorted(took)
    p50, p99 = (ordered[int(share * len(ordered))] for share in (0.5, 0.99))
    cells = "".join(f"{1e3 * each:8.0f}" for each in (p50, p99, ordered[-1]))
    verdict = "" if ordered[-1] < GOAL_S else f"   over {1e3 * GOAL_S:.0f}"
    print(f"{what:36}{len(ordered):8d}{cells}{verdict}", flush=True)


if __name__ == "__main__":
    main()
