"""What Ray says of its jobs: a real head, with GPUs that are there in name only."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpsearch.errors import ClusterError
from hpsearch.service.embedded.processes import kept_alive, ray_head
from hpsearch.service.jobs import Job, Jobs, JobState
from tests.support.polling import wait_until

#: sets GPUs aside as Ray Tune does for trials, and gives one of three back
HOLD = """
import pathlib, sys, time
import ray
from ray.util import placement_group, remove_placement_group
ray.init("auto")
groups = [placement_group([{"CPU": 0.1, "GPU": 0.5}]) for _ in range(3)]
ray.get([group.ready() for group in groups])
remove_placement_group(groups.pop())
placement_group([{"GPU": 64}])  # there are fewer, so that it waits
pathlib.Path(sys.argv[2]).touch()
while not pathlib.Path(sys.argv[1]).exists():
    time.sleep(0.1)
"""


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    state = tmp_path_factory.mktemp("state")
    with ray_head(state, num_cpus=2) as (child, token):
        child.command.append("--num-gpus=2")
        with kept_alive([child]):
            yield Jobs(child.url, token)


def held(jobs: Jobs) -> float | None:
    """Return the GPUs that jobs have; None where a busy head didn't say."""
    try:
        return sum(jobs.gpus().values())
    except ClusterError:
        return None


def test_gpus_are_counted_by_job(jobs: Jobs, tmp_path: Path) -> None:
    (tmp_path / "hold.py").write_text(HOLD)
    end, ready = tmp_path / "end", tmp_path / "ready"
    assert jobs.look("hold-1") == Job(JobState.UNKNOWN)
    jobs.submit("hold-1", f"{sys.executable} {tmp_path / 'hold.py'} {end} {ready}", {})
    wait_until(ready.exists, 120)  # before that, all three groups may be there
    wait_until(lambda: held(jobs) == 1.0, 60)
    job = jobs.look("hold-1")
    assert (job.state, job.ended_at) == (JobState.ALIVE, None)
    assert jobs.gpus() == {job.job_id: 1.0}
    end.touch()
    wait_until(lambda: jobs.look("hold-1").state is JobState.ENDED, 60)
    ended_at = jobs.look("hold-1").ended_at
    assert ended_at is not None
    assert abs(ended_at - time.time()) < 60
    wait_until(lambda: held(jobs) == 0.0, 60)


def test_a_head_that_is_away_is_an_error() -> None:
    with pytest.raises(ClusterError):
        Jobs("http://127.0.0.1:1").gpus()
