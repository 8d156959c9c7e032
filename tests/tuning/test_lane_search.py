"""A search whose trials share workers, on Ray: a worker is killed, and no trial is lost."""

from __future__ import annotations

import threading
from pathlib import Path

import psutil
import pytest

from hpsearch import run_search
from hpsearch.outcome import Outcome
from hpsearch.record import Record
from hpsearch.runs import SearchFolder
from tests.support.polling import wait_until
from tests.support.specs import make_spec


@pytest.mark.usefixtures("ray_cluster")
def test_a_shared_worker_is_killed_and_no_trial_is_lost(tmp_path: Path) -> None:
    spec = make_spec(
        tmp_path,
        fuse=4,
        batch_size=32,
        search={
            "trials": 10,
            "max_concurrent": 4,
            "early_stopping": {"name": "none", "max_epochs": 9},
            "checkpoint_every": 2,
        },
    )
    killed: list[int] = []

    def kill_one(record: Record, folder: SearchFolder) -> None:
        threading.Thread(target=_kill_worker, args=(record, killed), daemon=True).start()

    report = run_search(spec, tmp_path / "runs", on_start=kill_one)
    assert len(killed) == 1
    record = report.record
    assert {trial.outcome for trial in record.trials} == {Outcome.COMPLETED}
    assert all(sorted(trial.curve) == list(range(1, 10)) for trial in record.trials)
    assert record.lanes.num_fused > 20
    assert sum(len(trial.attempted_at) > 1 for trial in record.trials) > 1
    assert "of the epochs were trained by programs of several trials" in report.to_markdown()


def _kill_worker(record: Record, killed: list[int]) -> None:
    wait_until(lambda: sum(len(trial.curve) for trial in record.trials) >= 12, 120)
    [worker] = [
        process
        for process in psutil.Process().children(recursive=True)
        if "LaneActor" in " ".join(process.cmdline())
    ]
    killed.append(worker.pid)
    worker.kill()
