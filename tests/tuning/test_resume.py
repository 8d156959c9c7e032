"""Searches that are killed, stopped and extended for real: whole processes and a real cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hpsearch.errors import SearchEndedError, SearchRunningError, SpecError
from hpsearch.integrity.check import check_search
from hpsearch.outcome import Outcome
from hpsearch.provenance import available_cpus
from hpsearch.record import Record
from hpsearch.runs import Runs
from hpsearch.searches import extend_search, resume_search, run_search, stop_search, sync_search
from hpsearch.spec import load_spec
from tests.support.breaking import (
    TRAIN,
    finish,
    kill_again_and_again,
    mlflow_server,
    problems,
    ray_nodes,
    search_folder,
    start,
    wait_for_epochs,
    wait_for_server,
    write_search,
)
from tests.support.specs import make_spec


@pytest.mark.usefixtures("ray_cluster")
def test_a_driver_killed_again_and_again_loses_and_doubles_nothing(folder: Path) -> None:
    assert kill_again_and_again(folder, 2, seed=0, longest=4) == 2
    assert problems(folder) == ()
    record = search_folder(folder).open_record()
    assert (record.state, len(record.trials), len(record.sessions)) == ("finished", 9, 3)
    spec = load_spec(folder / "killed.yaml").model_copy(update={"name": "whole"})
    expected = run_search(spec, folder / "runs").record
    assert essence(record) == essence(expected)


def essence(record: Record) -> list[tuple[object, ...]]:
    """What a death must not change; seconds may differ."""
    return [(t.params, t.metric("score"), t.outcome, t.reason) for t in record.trials]


def test_one_driver_at_a_time_and_stop_from_another_terminal(folder: Path) -> None:
    # more trials than a fast machine trains before it is stopped
    process = start("run", "killed.yaml", "--set", "search.trials=1000", cwd=folder)
    wait_for_epochs(folder, 5, process)
    for refused in (resume_search, sync_search):
        with pytest.raises(SearchRunningError, match="is running in another process"):
            refused("killed", folder / "runs")
    record = stop_search("killed", folder / "runs")
    finish(process, folder, status=130)
    assert (record.state, record.reason) == ("stopped", "cancelled")
    assert not list(record.running())
    assert problems(folder) == ()
    with pytest.raises(SearchEndedError, match="ended already"):
        stop_search("killed", folder / "runs")


def output(*arguments: str, cwd: Path) -> str:
    command = [sys.executable, "-m", "hpsearch.cli", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True).stdout


def test_a_search_whose_driver_died_can_be_stopped(folder: Path) -> None:
    process = start("run", "killed.yaml", cwd=folder)
    wait_for_epochs(folder, 5, process)
    process.kill()
    process.wait()
    assert "interrupted" in output("list", cwd=folder)
    assert "hpsearch resume killed" in output("status", "killed", cwd=folder)
    record = stop_search("killed", folder / "runs")
    assert record.state == "stopped"
    assert record.trials[-1].outcome is Outcome.CANCELLED
    assert problems(folder) == ()


@pytest.mark.usefixtures("ray_cluster")
def test_a_finished_search_can_be_extended_and_told_to_another_store(tmp_path: Path) -> None:
    run_search(make_spec(search={"trials": 2}), tmp_path)
    with pytest.raises(SearchEndedError, match="extend small"):
        resume_search("small", tmp_path)
    report = extend_search("small", tmp_path, trials=2)
    assert (report.state, len(report.record.trials)) == ("finished", 4)
    place = Runs(tmp_path)
    folder = place.search("small")
    assert "trials: 4" in folder.spec.read_text()
    assert check_search(folder.open_record(), folder, place.tracking_uri).problems == ()
    other = f"sqlite:///{tmp_path / 'other.db'}"
    assert sync_search("small", tmp_path, other) == other
    assert check_search(folder.open_record(), folder, other).problems == ()


@pytest.mark.usefixtures("ray_cluster")
def test_a_search_goes_on_without_those_that_it_was_to_learn_from(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "learning.py").write_text(TRAIN)
    sections: dict[str, Any] = {
        "objective": {"metric": "score"},
        "trainable": "learning.py:train",
        "space": {"x": {"low": 0.0, "high": 1.0}},
    }
    names = ["deleted", "damaged"]
    settings = {"trials": 2, "warm_start": names}
    spec = make_spec(tmp_path, name="second", search=settings, **sections)
    place = Runs(tmp_path / "runs")
    with pytest.raises(SpecError, match="no search 'deleted'"):
        run_search(spec, place.path)
    place.create(make_spec(tmp_path, name="damaged", **sections)).journal.write_bytes(b"")
    with pytest.raises(SpecError, match="no complete record of 'damaged'"):
        run_search(spec, place.path)

    place.create(spec, first_points=[{"x": 0.25}])  # as a driver that died at once left it
    report = resume_search("second", place.path)
    assert report.state == "finished"
    # the middle of the range is the default configuration
    assert [trial.params for trial in report.record.trials] == [{"x": 0.5}, {"x": 0.25}]
    for name in names:
        assert f"{name!r}" in caplog.text
    assert caplog.text.count("second continues without its results") == 2


@pytest.mark.usefixtures("ray_cluster")
def test_a_trial_that_hangs_is_ended_alone(folder: Path) -> None:
    (folder / "hanging.py").write_text(TRAIN)  # a module of its own name, in this process
    spec = make_spec(
        folder,
        name="killed",
        objective={"metric": "score"},
        trainable="hanging.py:hangs",
        space={"x": {"choices": [0.1, 0.9]}},
        search={"trials": 2, "sampler": "grid", "trial_time_limit": 3},
    )
    by_x = {t.params["x"]: t for t in run_search(spec, folder / "runs").record.trials}
    assert by_x[0.1].outcome is Outcome.BAD_CONFIGURATION
    assert by_x[0.1].reason == "trial_time_limit of 3 s reached"
    assert by_x[0.9].outcome is Outcome.COMPLETED
    assert problems(folder) == ()


def test_a_search_on_a_cluster_outlives_one_of_its_nodes(folder: Path) -> None:
    options = ("--set", "search.trials=12", "--set", "search.max_concurrent=2")
    with ray_nodes(folder / "ray.log") as cluster:
        cluster.add()
        cluster.add()
        process = start("run", "killed.yaml", *options, "--address", cluster.address, cwd=folder)
        wait_for_epochs(folder, 10, process)
        cluster.kill(1)
        finish(process, folder)
    record = search_folder(folder).open_record()
    assert (record.state, len(record.trials)) == ("finished", 12)
    assert problems(folder) == ()


def test_ray_may_be_imported_before_hpsearch() -> None:
    program = "import ray; from hpsearch.tuning.on_ray.cluster import ray_cluster as cluster\n"
    program += "from hpsearch.spec import Resources\n"
    program += "with cluster(None) as found: print(found.slots(Resources(), None))"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_AUTH")}
    environment["RAY_AUTH_TOKEN"] = "0" * 64  # with one, Ray's clusters want to see it
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == str(available_cpus()), done.stderr


def test_an_mlflow_server_that_freezes_and_dies_neither_slows_nor_loses(folder: Path) -> None:
    port = 40_000 + os.getpid() % 10_000
    uri = f"http://127.0.0.1:{port}"
    write_search(folder, f"tracking_uri: {uri}")
    with mlflow_server(folder, port) as server:
        wait_for_server(uri)
        process = start("run", "killed.yaml", "--set", "search.trials=3", cwd=folder)
        wait_for_epochs(folder, 4, process)
        os.killpg(server.pid, signal.SIGSTOP)
        started = time.monotonic()
        finish(process, folder)
        record = search_folder(folder).open_record()
        assert (record.state, record.delivered) == ("finished", False)
        assert record.ended_at is not None
        assert time.time() - record.ended_at < time.monotonic() - started
        assert "hpsearch resume killed" in (folder / "output.log").read_text()
    with mlflow_server(folder, port):  # the other one was killed
        wait_for_server(uri)
        finish(start("resume", "killed", cwd=folder), folder)
        assert search_folder(folder).open_record().delivered
        assert problems(folder) == ()


def test_no_cluster_at_an_address_is_one_clear_error(folder: Path) -> None:
    process = start("run", "killed.yaml", "--address", "127.0.0.1:1", cwd=folder)
    finish(process, folder, status=2)
    assert "no Ray cluster at 127.0.0.1:1" in (folder / "output.log").read_text()
