"""One Ray Tune experiment: the trials of a search on a Ray cluster."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial

from hpsearch.components import Data
from hpsearch.errors import ClusterError
from hpsearch.process import environment
from hpsearch.provenance import available_cpus
from hpsearch.runs import SearchFolder
from hpsearch.spec import Resources, TrialConfig
from hpsearch.tuning.control import SearchControl
from hpsearch.tuning.on_ray.actor import TrialActor
from hpsearch.tuning.on_ray.searcher import (
    AttemptCallback,
    BudgetStopper,
    RecordScheduler,
    StudySearcher,
    trial_number,
)
from hpsearch.tuning.on_ray.settings import IMPORTED_WITH, TUNE, new_cluster_settings

#: trials of one Tune experiment
GENERATION_TRIALS = 1000
CONNECT_TIMEOUT_S = 10.0

#: of a cluster for searches, given to its head
SYSTEM_CONFIG = {
    # Workers import what trials need as they start, while the driver is busy with other things.
    "preload_python_modules": ["hpsearch.tuning.on_ray.preload"],
    # Otherwise Ray starts as many workers again for the driver, and drops the first ones.
    "prestart_worker_first_driver": False,
}
_LOCAL_CLUSTER: dict[str, Any] = {
    "address": "local",  # not one that happens to run on this machine
    "num_cpus": available_cpus(),
    "include_dashboard": False,
    "_system_config": SYSTEM_CONFIG,
}
_QUIETLY: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}


@contextmanager
def ray_cluster(address: str | None) -> Iterator[None]:
    """Join the Ray cluster at an address, or start one on this machine for the time being.

    Raises ClusterError where that can't be done.
    """
    with environment(TUNE):
        if ray.is_initialized():  # a notebook may have its own
            yield
            return
        _join(address) if address else _start()
        try:
            yield
        finally:
            ray.shutdown()


def _join(address: str) -> None:
    with environment(IMPORTED_WITH):
        try:
            _check_reachable(address)
            ray.init(address=address, **_QUIETLY)
        except OSError as error:
            raise ClusterError(f"no Ray cluster at {address}: {error}") from error


def _start() -> None:
    with environment(IMPORTED_WITH | new_cluster_settings()):
        try:
            ray.init(**_LOCAL_CLUSTER, **_QUIETLY)
        except OSError as error:
            raise ClusterError(f"Ray can't be started on this machine: {error}") from error


def _check_reachable(address: str) -> None:
    """Raise OSError where nobody listens, for which Ray waits for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT_S).close()


def count_slots(resources: Resources, max_concurrent: int | None) -> int:
    """Return how many trials the cluster can train at once.

    Raises ClusterError where not even one fits a node.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    slots = sum(_slots_of_node(node, resources) for node in nodes)
    if slots == 0:
        wanted = f"{resources.cpu} CPUs and {resources.gpu:g} GPUs"
        raise ClusterError(f"resources: no node of the cluster has {wanted} for one trial")
    return min(slots, max_concurrent or slots)


def run_trials(
    control: SearchControl, slots: int, data: Data | None, folder: SearchFolder
) -> None:
    """Run the trials of a search until its budget is used or it is stopped.

    In generations, each an experiment of its own: what Tune holds and writes grows with the
    trials of an experiment.
    """
    folders = {"checkpoints": str(folder.checkpoints), "outputs": str(folder.outputs)}
    trainable = tune.with_parameters(TrialActor, data=data, **folders)
    trainable = tune.with_resources(trainable, _resources)
    with environment({"TUNE_MAX_PENDING_TRIALS_PG": str(slots)}):
        while not control.is_over:
            _run_generation(control, trainable, slots, folder)


def _run_generation(
    control: SearchControl, trainable: Any, slots: int, folder: SearchFolder
) -> None:
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            num_samples=GENERATION_TRIALS,
            search_alg=StudySearcher(control, slots, GENERATION_TRIALS),
            scheduler=RecordScheduler(control),
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name=f"generation-{time.time_ns()}",
            storage_path=str(folder.ray),
            stop=BudgetStopper(control),
            callbacks=[AttemptCallback(control)],
            # actors write their own checkpoints, which the record knows
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            failure_config=tune.FailureConfig(max_failures=-1),  # only lost workers count
            verbose=0,
        ),
    )
    tuner.fit()


def _resources(config: dict[str, Any]) -> tune.PlacementGroupFactory:
    trial: TrialConfig = config["trial"]
    return tune.PlacementGroupFactory([{"CPU": trial.cpu, "GPU": trial.gpu}])


def _trial_name(trial: Trial) -> str:
    # A trial that was paused goes on as another of Tune's trials.
    return f"trial-{trial_number(trial):04d}-{trial.trial_id}"


def _slots_of_node(available: dict[str, float], resources: Resources) -> int:
    by_cpu = int(available.get("CPU", 0) // resources.cpu)
    if resources.gpu == 0:
        return by_cpu
    gpus = available.get("GPU", 0)
    by_gpu = int(gpus) * int(1 / resources.gpu) if resources.gpu < 1 else gpus // resources.gpu
    return min(by_cpu, int(by_gpu))
