"""The containers of compose.yaml as processes, kept in a folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import yaml

from deploy.cluster.networks import LOCALHOST, PORTS, make_network, read_network
from deploy.cluster.postgres import initialise_postgres, postgres_program, postgres_user

DEPLOY = Path(__file__).resolve().parents[1]
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 20.0
WORKERS = ("ray-worker-1", "ray-worker-2")
#: in the order in which they are started
NAMES = ("postgres", "mlflow", "ray-head", *WORKERS, "service")
CPUS_PER_WORKER = 2
#: in the environment of all processes of a cluster, with its folder and the container's name
MARK = "HPSEARCH_LOCAL_CLUSTER"
_GET = "import sys, urllib.request as r; r.urlopen(sys.argv[1], timeout=5)"


class Cluster:
    """The processes of one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._containers = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
        self._state = self.folder / "cluster.json"
        links = {name: _links(self._container(name)) for name in NAMES}
        if self._state.is_file():
            state = json.loads(self._state.read_text())
            self._network = read_network(links, state["network"])
            self._ray = Path(state["ray"])
        else:
            self._network = make_network(links)
            self._ray = self._create()

    def up(self) -> None:
        """Start what does not run, and wait until all can be used."""
        self._network.up()
        for name in NAMES:
            if not self.members(name):
                self.start(name)
        for name in ("service", "mlflow", "ray-head"):
            print(f"{name:<10}http://{self._network.host(name)}:{self._network.port(name)}")

    def start(self, name: str) -> None:
        """Start a container's processes and wait until they answer."""
        if name == "postgres" and not (self.folder / "postgres").exists():
            self._initialise_postgres()
        user = postgres_user() if name == "postgres" else None
        command = [*self._network.enter(name, user), *self._command(name)]
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self._environment(name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait(name, process)

    def kill(self, name: str) -> None:
        """Kill all processes of a container at once."""
        members = self.members(name)
        for process in members:
            _signal(process, signal.SIGKILL)
        psutil.wait_procs(members, timeout=STOP_TIMEOUT_S)

    def cut(self, name: str) -> None:
        """Pull a container's cables: it goes on, and nobody reaches it."""
        self._network.set_cable(name, is_in=False)

    def join(self, name: str) -> None:
        """Plug a container's cables in again."""
        self._network.set_cable(name, is_in=True)

    def execute(self, name: str, command: list[str]) -> None:
        """Run a command where a container is, in its environment."""
        environment = self._environment(name)
        if name == "postgres":  # in the container it needs no password
            environment |= {"PGHOST": LOCALHOST, "PGPASSWORD": self._postgres_password()}
        # `ip netns exec` takes over the process, so that its end is the command's.
        raise SystemExit(subprocess.call(self._network.enter(name) + command, env=environment))

    def down(self) -> None:
        """Ask all to end, the last one first; kill those that don't."""
        for name in reversed(NAMES):
            members = self.members(name)
            for process in members:
                # PostgreSQL would wait for its clients at SIGTERM.
                number = signal.SIGINT if name == "postgres" else signal.SIGTERM
                _signal(process, number)
            psutil.wait_procs(members, timeout=STOP_TIMEOUT_S)
            self.kill(name)
        self._network.down()
        shutil.rmtree(self._ray, ignore_errors=True)

    def status(self) -> None:
        """Print what runs."""
        for name in NAMES:
            members = self.members(name)
            print(f"{name:<14}{f'runs, {len(members)} processes' if members else 'does not run'}")

    def members(self, name: str) -> list[psutil.Process]:
        """Return the processes of a container, those that have lost their parent too."""
        marked = [each for each in psutil.process_iter() if _mark(each) == self._mark(name)]
        # PostgreSQL's children write over their environment.
        children = [child for each in marked for child in _children(each)]
        return list(dict.fromkeys([*marked, *children]))

    def _create(self) -> Path:
        """Make the cluster's folder; returns that of Ray, whose sockets need a short path."""
        self.folder.mkdir(parents=True, exist_ok=True)
        host = self._network.here(f"postgres:{PORTS['postgres']}")
        subprocess.run([DEPLOY / "make-secrets", self.folder / "secrets", host], check=True)
        for name in ("runs", "artifacts"):
            (self.folder / name).mkdir()
        ray = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
        self._state.write_text(json.dumps({"network": self._network.state, "ray": ray}))
        return Path(ray)

    def _command(self, name: str) -> list[str]:
        program, *arguments = map(self._here, self._container(name)["command"])
        if name == "postgres":
            return [postgres_program(program), *arguments]
        command = [str(DEPLOY / "entrypoint.sh"), str(Path(sys.executable).with_name(program))]
        if name == "ray-head":
            arguments += [f"--temp-dir={self._ray}"]
        if name in WORKERS:
            arguments += [f"--num-cpus={CPUS_PER_WORKER}"]
        if name.startswith("ray-"):
            arguments += self._network.ray_options(name)
        return [*command, *arguments]

    def _container(self, name: str) -> dict[str, Any]:
        container: dict[str, Any] = self._containers["ray-worker" if name in WORKERS else name]
        return container

    def _environment(self, name: str) -> dict[str, str]:
        own = self._container(name)["environment"]
        own = {key: self._here(value) for key, value in own.items()}
        if name == "postgres":
            own = {"PGDATA": str(self.folder / name), "PGPORT": str(self._network.port(name))}
        kept = {key: os.environ[key] for key in ("HOME", "LANG", "TZ") if key in os.environ}
        # Programs are found beside this interpreter, as they are in the image.
        path = f"{Path(sys.executable).parent}:{DEPLOY}:{os.environ['PATH']}"
        return {**kept, "PATH": path, **own, MARK: self._mark(name)}

    def _here(self, text: str) -> str:
        """Return a part of compose.yaml as it must be on this machine."""
        for there, here in (
            ("/run/secrets", str(self.folder / "secrets")),
            ("=/runs", f"={self.folder / 'runs'}"),
            ("=/artifacts", f"={self.folder / 'artifacts'}"),
        ):
            text = text.replace(there, here)
        return self._network.here(text)

    def _initialise_postgres(self) -> None:
        roles = (self.folder / "secrets" / "roles.sql").read_text()
        roles += f"ALTER ROLE postgres PASSWORD '{self._postgres_password()}';\n"
        initialise_postgres(self.folder / "postgres", roles, self._network.here("0.0.0.0"))

    def _postgres_password(self) -> str:
        return (self.folder / "secrets" / "postgres_password").read_text()

    def _wait(self, name: str, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._is_ready(name):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{name} did not start: {self.folder / name}.log says why")
            time.sleep(0.2)

    def _is_ready(self, name: str) -> bool:
        """Ask as the container's own health check does, from inside."""
        port = str(self._network.port(name))
        if name == "postgres":
            asked = [postgres_program("pg_isready"), "-q", "-h", LOCALHOST, "-p", port]
        else:
            url = self._container(name)["healthcheck"]["test"][-1]
            asked = [sys.executable, "-c", _GET, url.replace(f":{PORTS[name]}/", f":{port}/")]
        command = [*self._network.enter(name), *asked]
        return not subprocess.call(command, stderr=subprocess.DEVNULL)

    def _mark(self, name: str) -> str:
        return f"{self.folder}:{name}"


def _links(container: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the networks of a container of compose.yaml, with their options."""
    networks = container["networks"]
    if isinstance(networks, list):
        return {network: {} for network in networks}
    return {network: options or {} for network, options in networks.items()}


def _mark(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(MARK)
    except (psutil.Error, OSError):
        return None


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
