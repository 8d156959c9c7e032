"""The cluster that a search starts on this machine: workers are ready when trials come."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hpsearch.errors import ClusterError
from hpsearch.provenance import available_cpus
from hpsearch.spec import Resources, draft_spec
from hpsearch.tuning.on_ray.cluster import fills_machine, may_have_lanes, slots_of_cluster

SPEC = {
    "name": "few",
    "objective": {"metric": "val_accuracy"},
    "dataset": {"name": "wine", "val_fraction": 0.2},
    "search": {"trials": 2},
}
#: compares the workers that start by themselves with those of Tune's actors; leaves no process
PROGRAM = """
import os, psutil, ray, sys
from pathlib import Path
from hpsearch.errors import ClusterError
from hpsearch.provenance import available_cpus
from hpsearch.spec import Resources, draft_spec
from hpsearch.tuning.on_ray.cluster import ray_cluster
from tests.support.polling import wait_until

class Actor:
    def describe(self):
        return os.getpid(), {name: os.environ[name] for name in expected}

def children():
    found = psutil.Process().children(recursive=True)
    return [each for each in found if each.status() != psutil.STATUS_ZOMBIE]

def unneeded():
    scripts = {"monitor.py", "log_monitor.py", "dashboard.py"}
    paths = [Path(word) for each in children() for word in each.cmdline()]
    return scripts & {path.name for path in paths}

def vain_questions():
    log = Path(ray._private.worker._global_node.get_logs_dir_path()) / "dashboard_agent.log"
    return [line for line in log.read_text().splitlines() if "http address failed" in line]

def workers():
    return {each.pid for each in children() if each.name().startswith("ray::IDLE")}

with ray_cluster(None, prestart=True) as cluster:
    wait_until(cluster._is_connected.is_set)
    assert "ray.tune" not in sys.modules  # which another thread may be importing
    from ray.tune.execution import class_cache
    expected = dict(class_cache.DEFAULT_ENV_VARS)
    number = cluster.slots(Resources(), None)
    wait_until(lambda: len(workers()) == number)
    ahead = workers()
    remote = class_cache._ActorClassCache().get(Actor).options(num_cpus=1)
    actors = [remote.remote() for _ in range(number)]
    found = ray.get([actor.describe.remote() for actor in actors])
    del actors
    assert not unneeded()
    assert not vain_questions()
assert children() == []
assert {pid for pid, _ in found} == ahead, (found, ahead)
assert all(environment == expected for _, environment in found)
assert class_cache.DEFAULT_ENV_VARS == expected
"""


def test_tune_takes_the_workers_that_started_ahead() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("resources", "limits", "fills"),
    [
        (Resources(), (None, available_cpus()), True),
        (Resources(), (available_cpus() - 1, 100), False),  # others would be started for nothing
        (Resources(cpu=2), (None, 100), False),
        (Resources(gpu=0.5), (None, 100), False),
        (Resources(nodes=2, launcher="torchrun"), (None, 100), False),
    ],
)
def test_workers_start_ahead_only_where_trials_use_all(
    resources: Resources, limits: tuple[int | None, int], fills: bool
) -> None:
    assert fills_machine(resources, *limits) is fills


@pytest.mark.parametrize(
    ("more", "may_have"),
    [
        ({}, False),  # of so few trials none share a worker
        ({"search": {"trials": 8 * available_cpus()}}, True),
        ({"fuse": 2}, True),
        ({"fuse": 2, "resources": {"gpu": 1}}, False),  # there steps are compiled
        ({"fuse": "off", "search": {"trials": 8 * available_cpus()}}, False),
        ({"fuse": 2, "compile": True}, False),
    ],
)
def test_workers_import_what_lanes_need_where_trials_may_share_them(
    more: dict[str, Any], may_have: bool, tmp_path: Path
) -> None:
    raw = {**SPEC, **more}
    draft = draft_spec(raw, tmp_path)
    assert draft.spec is not None, draft.problems
    assert may_have_lanes(draft.spec) is may_have


@pytest.mark.parametrize(
    ("rooms", "placement", "slots"),
    [([1, 1], None, 1), ([3, 1], None, 1), ([3, 1], "pack", 2), ([2, 2, 2], None, 3)],
)
def test_slots_of_trials_on_two_nodes(rooms: list[int], placement: str, slots: int) -> None:
    resources = Resources(nodes=2, launcher="torchrun", placement=placement)
    assert slots_of_cluster(rooms, resources) == slots


@pytest.mark.parametrize(
    ("rooms", "placement", "message"),
    [
        ([4, 0], None, "2 machines must have room for a trial, but 1 of the cluster's 2 have"),
        (
            [1],
            "pack",
            "the nodes of a trial must fit, but the cluster has room for 1 of 2, 1 CPU each",
        ),
        ([0, 0], None, "no node of the cluster has 1 CPU for one trial"),
    ],
)
def test_a_cluster_that_is_too_small_is_refused(
    rooms: list[int], placement: str, message: str
) -> None:
    resources = Resources(nodes=2, launcher="torchrun", placement=placement)
    with pytest.raises(ClusterError, match=message):
        slots_of_cluster(rooms, resources)


#: what Tune does with callbacks as it starts; it imports MLflow, if it may
COUNTING = """
import sys
from ray.tune import tune
from hpsearch.tuning.on_ray.experiment import no_usage_of_callbacks
from hpsearch.tuning.on_ray.searcher import AttemptCallback

with no_usage_of_callbacks():
    tune.air_usage.tag_callbacks([AttemptCallback(None)])
assert "mlflow" not in sys.modules
"""


def test_tune_imports_no_mlflow_before_the_first_trial() -> None:
    done = subprocess.run([sys.executable, "-c", COUNTING], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
