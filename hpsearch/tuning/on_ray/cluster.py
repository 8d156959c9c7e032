"""The Ray cluster of a search: joined, or started on this machine, while the driver does other
work."""

from __future__ import annotations

import logging
import os
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import ray
from ray._private.node import Node
from ray._private.ray_constants import DASHBOARD_ADDRESS, KV_NAMESPACE_DASHBOARD
from ray.job_config import JobConfig

from hpsearch.errors import ClusterError
from hpsearch.formatting import show_count
from hpsearch.process import environment
from hpsearch.provenance import available_cpus
from hpsearch.spec import Resources, SearchSpec
from hpsearch.spec.settings import TRIALS_PER_LANE
from hpsearch.tuning.on_ray.settings import IMPORTED_WITH, TUNE, new_cluster_settings

CONNECT_TIMEOUT_S = 10.0

_PRELOADED = "preload_python_modules"
#: of a cluster for searches, given to its head
SYSTEM_CONFIG = {
    # Workers import what trials need as they start, while the driver is busy with other things.
    _PRELOADED: ["hpsearch.tuning.on_ray.preload"],
    # Otherwise Ray starts as many workers again for the driver, and drops the first ones.
    "prestart_worker_first_driver": False,
}
_LOCAL_CLUSTER: dict[str, Any] = {
    "address": "local",  # not one that happens to run on this machine
    "num_cpus": available_cpus(),
    "include_dashboard": False,
}
#: starts a worker for each processor when Ray is up, and keeps them when Tune reserves processors
_PRESTART = {"enable_worker_prestart": True, "num_workers_soft_limit": available_cpus()}
#: where trials may share workers
_OF_LANES = {_PRELOADED: ["hpsearch.tuning.on_ray.preload_lanes"]}
#: what Tune gives to the processes of trials
_TRIALS = {"PL_DISABLE_FORK": "1"}
_QUIETLY: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}


class Cluster:
    """A connection to a Ray cluster, made by a thread of its own.

    That thread lives as long as the connection: the kernel kills Ray's processes when the thread
    that started them ends.
    """

    def __init__(self, address: str | None, prestart: bool, has_lanes: bool) -> None:
        self._address = address
        self._prestart, self._has_lanes = prestart, has_lanes
        # Ray takes them from the process, where users' code may be imported by then.
        script = os.path.dirname(os.path.realpath(sys.argv[0]))
        self.code_paths = [script, os.getcwd()] if script in sys.path else [os.getcwd()]
        self._settings = ExitStack()  # of Tune, until the cluster is closed
        self._error: BaseException | None = None
        self._is_connected = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ray-cluster", daemon=True)

    def start(self) -> None:
        """Begin to connect; nothing to do where a notebook has its own cluster."""
        if ray.is_initialized():
            self._is_connected.set()
        else:
            self._thread.start()

    def slots(self, resources: Resources, max_concurrent: int | None) -> int:
        """Wait for the cluster; return how many trials it can train at the same time.

        Raises ClusterError where there is none, or not even one trial fits a node.
        """
        self._is_connected.wait()
        if self._error is not None:
            raise self._error
        if self._prestart and not self._address and self._thread.ident is not None:
            self._settings.enter_context(_inherited_environment())
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        slots = slots_of_cluster([_slots_of_node(node, resources) for node in nodes], resources)
        return min(slots, max_concurrent or slots)

    def close(self) -> None:
        """Disconnect, once nothing else is done: Ray ends a process that drops an object of a
        cluster while it is shut down."""
        if self._thread.ident is not None:
            self._is_connected.wait()
            ray.shutdown()
            self._closing.set()
            self._thread.join()
        self._settings.close()

    def _run(self) -> None:
        # Nothing here may import Tune, which another thread imports at the same time: its packages
        # import each other, and two threads would see them half imported.
        try:
            job = JobConfig(_py_driver_sys_path=self.code_paths)
            if self._address:
                _join(self._address, job)
            else:
                ahead = _PRESTART if self._prestart else {}
                _start(job, ahead | (_OF_LANES if self._has_lanes else {}))
        except BaseException as error:  # raised where it is waited for
            self._error = error
        self._is_connected.set()
        self._closing.wait()


@contextmanager
def ray_cluster(
    address: str | None, prestart: bool = False, has_lanes: bool = False
) -> Iterator[Cluster]:
    """Join the Ray cluster at an address, or start one on this machine, for the time being.

    Both take seconds, in which the body of the `with` runs. With `prestart` a new one starts a
    worker for each processor at the same time; see `fills_machine`. With `has_lanes` its workers
    import what lanes need; see `may_have_lanes`.
    """
    cluster = Cluster(address, prestart, has_lanes)
    with environment(TUNE):
        cluster.start()
        try:
            yield cluster
        finally:
            cluster.close()


def fills_machine(resources: Resources, *limits: int | None) -> bool:
    """Return whether trials of a CPU each, at most so many, need a worker on each processor."""
    at_most = min((limit for limit in limits if limit is not None), default=available_cpus())
    is_small = resources.cpu == 1 and resources.gpu == 0 and resources.nodes == 1
    return is_small and at_most >= available_cpus()


def may_have_lanes(spec: SearchSpec) -> bool:
    """Return whether trials may share workers, as far as can be told without torch."""
    if spec.fuse == "off" or spec.is_own_code or spec.compile or spec.resources.gpu:
        return False  # on a GPU lanes compile their steps
    return spec.fuse != "auto" or spec.search.trials >= 2 * TRIALS_PER_LANE * available_cpus()


def _join(address: str, job: JobConfig) -> None:
    with environment(IMPORTED_WITH):
        try:
            _check_reachable(address)
            ray.init(address=address, job_config=job, **_QUIETLY)
        except OSError as error:
            raise ClusterError(f"no Ray cluster at {address}: {error}") from error


def _start(job: JobConfig, settings: Mapping[str, Any]) -> None:
    config = {**SYSTEM_CONFIG, **settings}
    with environment(IMPORTED_WITH | new_cluster_settings() | _TRIALS), _only_needed_processes():
        try:
            ray.init(job_config=job, **_LOCAL_CLUSTER, **_QUIETLY, _system_config=config)
        except Exception as error:  # Ray raises a bare one when a process of its takes over 30 s
            raise ClusterError(_why_not_started(error)) from error


def _why_not_started(error: Exception) -> str:
    """Say why no cluster could be started, and what to do where that is known."""
    advice = ""
    if "AF_UNIX path length" in str(error):  # of a socket in its folder for temporary files
        folder = tempfile.gettempdir()
        advice = f"; set TMPDIR to a shorter path than {folder} ({len(folder)} characters)"
    elif isinstance(error, PermissionError | FileNotFoundError | NotADirectoryError):
        advice = f"; Ray writes below HOME ({Path.home()}) and TMPDIR ({tempfile.gettempdir()})"
    return f"Ray can't be started on this machine: {error}{advice}"


@contextmanager
def _only_needed_processes() -> Iterator[None]:
    """Start Ray without its autoscaler, log monitor and API server, for which it has no option.

    Nothing asks them anything on one machine without a dashboard. Each imports Ray on the cores
    where workers start, and Ray waits for the API server before it starts the first worker.
    """

    def skip(node: Node) -> None: ...

    def skip_api_server(node: Node, **options: Any) -> None:
        # Ray's agent asks for its address each second, and logs an error while there is none.
        node.get_gcs_client().internal_kv_put(
            DASHBOARD_ADDRESS.encode(), b"127.0.0.1:0", True, KV_NAMESPACE_DASHBOARD
        )

    replaced = {
        "start_monitor": skip,
        "start_log_monitor": skip,
        "start_api_server": skip_api_server,
    }
    own = {name: getattr(Node, name) for name in replaced if hasattr(Node, name)}
    for name in own:
        setattr(Node, name, replaced[name])
    try:
        yield
    finally:
        for name, method in own.items():
            setattr(Node, name, method)


@contextmanager
def _inherited_environment() -> Iterator[None]:
    """Have Tune ask for workers without an environment of their own, as those started ahead are.

    On a cluster of this process they inherit it.
    """
    from ray.tune.execution import class_cache

    own, propagated = class_cache.DEFAULT_ENV_VARS, class_cache.ENV_VARS_TO_PROPAGATE
    class_cache.DEFAULT_ENV_VARS, class_cache.ENV_VARS_TO_PROPAGATE = {}, set()
    try:
        yield
    finally:
        class_cache.DEFAULT_ENV_VARS, class_cache.ENV_VARS_TO_PROPAGATE = own, propagated


def _check_reachable(address: str) -> None:
    """Raise OSError where nobody listens, for which Ray waits for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT_S).close()


def slots_of_cluster(rooms: Sequence[int], resources: Resources) -> int:
    """Return how many trials fit machines that have room for so many nodes of trials each.

    Raises ClusterError where not even one does.
    """
    slots, number = sum(rooms) // resources.nodes, resources.nodes
    if resources.is_spread:  # a machine has at most one node of a trial
        while slots and sum(min(room, slots) for room in rooms) < slots * number:
            slots -= 1
    if slots:
        return slots
    wanted = show_count(resources.cpu, "CPU")
    if resources.gpu:
        wanted += f" and {show_count(resources.gpu, 'GPU')}"
    if number == 1 or not any(rooms):
        raise ClusterError(f"resources: no node of the cluster has {wanted} for one trial")
    if resources.is_spread:
        hint = "resources.placement: pack needs fewer"
        has = f"but {sum(map(bool, rooms))} of the cluster's {len(rooms)} have {wanted}; {hint}"
        raise ClusterError(f"resources.nodes: {number} machines must have room for a trial, {has}")
    has = f"but the cluster has room for {sum(rooms)} of {number}, {wanted} each"
    raise ClusterError(f"resources.nodes: the nodes of a trial must fit, {has}")


def _slots_of_node(available: dict[str, float], resources: Resources) -> int:
    by_cpu = int(available.get("CPU", 0) // resources.cpu)
    if resources.gpu == 0:
        return by_cpu
    gpus = available.get("GPU", 0)
    by_gpu = int(gpus) * int(1 / resources.gpu) if resources.gpu < 1 else gpus // resources.gpu
    return min(by_cpu, int(by_gpu))
