"""The whole service in one process: the application, the reconciler, and what they need."""

from __future__ import annotations

import getpass
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import uvicorn

from hpsearch.errors import ServiceError
from hpsearch.runs import Runs
from hpsearch.service.app import create_app
from hpsearch.service.confinement.workers import WorkerUser
from hpsearch.service.core import Service
from hpsearch.service.database.tokens import check_chosen
from hpsearch.service.embedded.processes import (
    LOCALHOST,
    Child,
    kept_alive,
    mlflow_server,
    ray_head,
)
from hpsearch.service.gateway.app import PREFIX
from hpsearch.service.http.idle_connections import IdleConnections, raise_limit
from hpsearch.service.pages.assets import make_ready
from hpsearch.service.settings import Settings
from hpsearch.tracking.places import open_own_store

#: seconds for which a thread keeps Python's lock while others want it
SWITCH_INTERVAL_S = 0.0005
#: of uvicorn, ten a second, between two looks at connections
_TICKS = 10


@dataclass(frozen=True)
class ServeOptions:
    """Options of `hpsearch serve`; a server that is None is started on this machine."""

    runs: Path
    host: str = LOCALHOST
    port: int = 8400
    database: str | None = None
    ray_address: str | None = None
    ray_token: Path | None = None
    admin_token_file: Path | None = None
    tracking_uri: str | None = None
    own_url: str | None = None
    storage: str | None = None
    max_running: int = 4
    data_folders: tuple[Path, ...] = ()
    python: str | None = None
    worker_user: str | None = None
    num_cpus: int | None = None
    interval_s: float = 2.0


def serve(options: ServeOptions, tell: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM. `tell` prints a line."""
    # uvicorn raises the signal again after it ended, which must not end all else at once.
    signal.signal(signal.SIGTERM, _end)
    first_token = _chosen_token(options.admin_token_file)
    with started_settings(options) as settings:
        service = Service(settings)
        try:
            greet = partial(_greet, service, options, first_token, tell)
            with reconciled(service):
                _listen(service, options, greet)
        finally:
            service.close()


@contextmanager
def started_settings(options: ServeOptions) -> Iterator[Settings]:
    """Start what the options leave to this machine; yield the settings that name it."""
    runs = Runs(options.runs)
    state = runs.service_state
    state.mkdir(parents=True, exist_ok=True)
    state.chmod(0o700)
    user = WorkerUser.of(options.worker_user)
    needs = _needs(options, runs)
    user.check(needs)
    with ExitStack() as stack:
        children: list[Child] = []
        ray_address, tracking_uri = options.ray_address, options.tracking_uri
        token = options.ray_token.read_text().strip() if options.ray_token else None
        tracking_token = os.environ.get("MLFLOW_TRACKING_TOKEN")
        if ray_address is None:
            head, token = stack.enter_context(ray_head(state, options.num_cpus, user, needs))
            ray_address = head.url
            children.append(head)
        if tracking_uri is None:
            open_own_store(runs.tracking_uri, runs.artifacts)
            server, tracking_token = mlflow_server(state, runs.tracking_uri, runs.artifacts)
            tracking_uri = server.url
            children.append(server)
        if tracking_token is not None:
            os.environ["MLFLOW_TRACKING_TOKEN"] = tracking_token  # for MLflow's own client
        stack.enter_context(kept_alive(children))
        yield Settings(
            runs=runs.path,
            database=options.database or f"sqlite:///{state / 'service.db'}",
            ray_address=ray_address,
            ray_token=token,
            tracking_uri=tracking_uri,
            tracking_token=tracking_token,
            storage=options.storage,
            worker_user=user,
            gateway=_gateway(options),
            owns_cluster=options.ray_address is None,
            max_running=options.max_running,
            data_folders=options.data_folders,
            python=options.python or sys.executable,
            interval_s=options.interval_s,
        )


def _gateway(options: ServeOptions) -> str | None:
    """Return where drivers reach MLflow: through this service, if they can reach that."""
    if options.own_url is not None:
        return f"{options.own_url.rstrip('/')}{PREFIX}"
    if options.ray_address is not None:
        return None
    host = LOCALHOST if options.host in ("0.0.0.0", "::") else options.host
    return f"http://{f'[{host}]' if ':' in host else host}:{options.port}{PREFIX}"


def _needs(options: ServeOptions, runs: Runs) -> list[Path]:
    """Return what users' code has to read on this machine: searches, data, its interpreter."""
    needs = [runs.path, *(path.resolve() for path in options.data_folders)]
    if options.python is not None and (python := Path(options.python)).is_file():
        needs += [python.absolute().parents[1], python.resolve().parents[1]]
    return needs


@contextmanager
def reconciled(service: Service) -> Iterator[None]:
    """Reconcile a service's searches meanwhile, in a thread."""
    ended = threading.Event()
    reconciler = service.reconciler()
    thread = threading.Thread(target=reconciler.run, args=(ended,), name="reconciler")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _end(number: int, frame: object) -> None:
    raise SystemExit(0)


def _chosen_token(path: Path | None) -> str | None:
    """Return the token in a file; raises ServiceError if there is none, or a bad one."""
    if path is None:
        return None
    try:
        token = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ServiceError(f"{path}: must be a file with the first admin's token") from error
    check_chosen(token, str(path))
    return token


def _greet(
    service: Service, options: ServeOptions, chosen: str | None, tell: Callable[[str], None]
) -> None:
    url = f"http://{options.host}:{options.port}"
    tell(f"hpsearch serves {service.settings.runs} on {url} (Ctrl-C ends it)")
    tell(f"MLflow: {url}/mlflow/   documentation: {url}/docs")
    if service.settings.worker_user.is_apart:
        tell(f"Users' code runs as the user {service.settings.worker_user.name}")
    token = service.tokens.create_first(getpass.getuser(), chosen)
    if token is None:
        return
    if chosen is not None:
        tell(f"The first admin's token is in {options.admin_token_file}")
    else:
        tell("The first admin's token, shown once. Log in with it:")
        tell(f"  hpsearch login {url} --token {token}")


def _listen(service: Service, options: ServeOptions, greet: Callable[[], None]) -> None:
    app = create_app(service)
    app.state.figure_process.start()
    make_ready()
    # A request waits for Python's lock many times, each time so long if another thread computes.
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    raise_limit()  # after all that is started here, which has its own
    config = uvicorn.Config(
        app,
        host=options.host,
        port=options.port,
        log_level="warning",
        timeout_graceful_shutdown=5,  # streams would never end
        server_header=False,
    )
    _Server(config, greet).run()


class _Server(uvicorn.Server):
    """A server that greets once it listens, and waits for no client for ever."""

    def __init__(self, config: uvicorn.Config, greet: Callable[[], None]) -> None:
        super().__init__(config)
        self._greet = greet
        self._idle = IdleConnections()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._greet()

    async def on_tick(self, counter: int) -> bool:
        if counter % _TICKS == 0:
            self._idle.close_old(self.server_state.connections)
        return await super().on_tick(counter)
