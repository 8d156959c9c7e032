"""What keeps MLflow's view up to date while a search goes on, with real processes and stores."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest

from hpsearch.outcome import Outcome
from hpsearch.record import Record
from hpsearch.tracking import Tracker
from hpsearch.tracking.follower import Follower
from hpsearch.tracking.tracker import CLOSE_PATIENCE_S, FollowerSettings
from tests.support.mlflow_store import NAME, PARAMS, Store, add_trial, make_record
from tests.support.polling import wait_until

FAST = {"interval_s": 0.01, "running_interval_s": 0.0}


@pytest.fixture
def record(tmp_path: Path) -> Record:
    return make_record(tmp_path)


@contextmanager
def following(record: Record, store: Store) -> Iterator[None]:
    """Follow a record in a thread, which starts faster than a process."""
    settings = FollowerSettings(
        place=str(record.place),
        is_file=True,
        name=NAME,
        tracking_uri=store.uri,
        artifacts=str(store.artifacts),
        **FAST,
    )
    finishing = threading.Event()
    follower = Follower(settings, finishing, lambda **answer: None)
    thread = threading.Thread(target=follower.run)
    thread.start()
    try:
        yield
    finally:
        finishing.set()
        thread.join()


def test_a_view_that_was_cut_off_is_continued(
    record: Record, store: Store, tmp_path: Path
) -> None:
    add_trial(record, [0.1, 0.2], Outcome.COMPLETED)
    add_trial(record, [0.3])
    add_trial(record, [])
    with following(record, store):
        wait_until(lambda: len(store.trials()) == 3)
    first = store.trials()

    again = Record.open(tmp_path / "record.journal", NAME)
    again.report(1, 2, {"val_accuracy": 0.4, "train_loss": 0.5})
    again.end_trial(1, Outcome.COMPLETED)
    again.report(2, 1, {"val_accuracy": 0.7, "train_loss": 1.0})
    add_trial(again, [0.9], Outcome.STOPPED_EARLY)
    with following(again, store):
        wait_until(lambda: len(store.trials()) == 4)

    runs = store.trials()
    assert list(runs) == [0, 1, 2, 3]
    assert [runs[n].info.run_id for n in range(3)] == [first[n].info.run_id for n in range(3)]
    assert [run.info.status for run in runs.values()] == [
        "FINISHED",
        "FINISHED",
        "RUNNING",
        "FINISHED",
    ]
    assert store.curve(runs[0], "val_accuracy") == [(1, 0.1), (2, 0.2)]
    assert store.curve(runs[1], "val_accuracy") == [(1, 0.3), (2, 0.4)]
    assert store.curve(runs[1], "train_loss") == [(1, 1.0), (2, 0.5)]
    assert store.curve(runs[2], "val_accuracy") == [(1, 0.7)]


def test_all_is_written_while_the_search_goes_on(record: Record, store: Store) -> None:
    num_trials, num_epochs = 4, 40
    with Tracker(record, store.uri, store.artifacts, **FAST):
        for _ in range(num_trials):
            record.add_trial(PARAMS)
        for epoch in range(1, num_epochs + 1):
            for number in range(num_trials):
                record.report(number, epoch, {"val_accuracy": number + epoch / 100})
            if epoch == num_epochs // 2:  # what runs is seen as it runs
                wait_until(lambda: len(store.trials()) == num_trials)
        for number in range(num_trials):
            record.end_trial(number, Outcome.COMPLETED)
        record.end("finished")
    for number, run in store.trials().items():
        curve = [(epoch, number + epoch / 100) for epoch in range(1, num_epochs + 1)]
        assert store.curve(run, "val_accuracy") == curve
        assert run.info.status == "FINISHED"
    assert store.parent().info.status == "FINISHED"


def test_a_store_that_is_out_of_reach_at_first_gets_everything(
    record: Record,
    tmp_path: Path,
    mlflow_template: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = tmp_path / "later"
    folder.write_text("a file where the store's folder should be")
    store = Store(folder, mlflow_template)
    (tmp_path / "made").mkdir()
    Store(tmp_path / "made", mlflow_template).make()
    (tmp_path / "link").symlink_to("made")
    with following(record, store):
        add_trial(record, [0.5, 0.6], Outcome.COMPLETED)
        wait_until(lambda: "can't write to" in caplog.text)
        add_trial(record, [0.7], Outcome.STOPPED_EARLY)
        (tmp_path / "link").replace(folder)  # in one step: the tracker tries all the time
    assert [run.info.status for run in store.trials().values()] == ["FINISHED", "FINISHED"]
    assert store.curve(store.trials()[0], "val_accuracy") == [(1, 0.5), (2, 0.6)]
    assert caplog.text.count("can't write to") == 1


def test_an_outage_in_the_middle_loses_and_doubles_nothing(
    record: Record, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hpsearch.tracking")
    with following(record, store):
        add_trial(record, [0.1])
        wait_until(lambda: len(store.trials()) == 1)
        store.execute("ALTER TABLE latest_metrics RENAME TO away")
        record.report(0, 2, {"val_accuracy": 0.2})
        record.end_trial(0, Outcome.COMPLETED)
        wait_until(lambda: "can't write to" in caplog.text)
        store.execute("ALTER TABLE away RENAME TO latest_metrics")
        wait_until(lambda: "writing to" in caplog.text)
    assert store.curve(store.trials()[0], "val_accuracy") == [(1, 0.1), (2, 0.2)]


@pytest.mark.skipif(os.getuid() != 0, reason="only root may mount a small disk")
def test_a_store_on_a_full_disk_gets_everything_when_there_is_room(
    record: Record, tmp_path: Path, mlflow_template: Path, caplog: pytest.LogCaptureFixture
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("this machine's root may not mount a small disk")
    try:
        store = Store(disk, mlflow_template).make()
        ballast = disk / "ballast"
        with following(record, store):
            wait_until(lambda: len(store.runs()) == 1)
            ballast.write_bytes(bytes(shutil.disk_usage(disk).free))
            add_trial(record, [0.1] * 50, Outcome.COMPLETED)
            wait_until(lambda: "can't write to" in caplog.text)
            ballast.unlink()
        assert len(store.curve(store.trials()[0], "val_accuracy")) == 50
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)  # its store may still be open


class Broken(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(500)

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_server_that_answers_with_errors_is_given_up_in_time(
    record: Record, caplog: pytest.LogCaptureFixture
) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Broken) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        tracker = Tracker(record, f"http://127.0.0.1:{server.server_port}", **FAST)
        tracker.start()
        wait_until(lambda: "can't write to" in caplog.text)
        started = time.monotonic()
        assert not tracker.close()
        assert time.monotonic() - started < CLOSE_PATIENCE_S + 5
        server.shutdown()


def test_closing_without_a_store_says_so(
    record: Record, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    tracker = Tracker(record, f"sqlite:///{tmp_path / 'file' / 'mlflow.db'}", **FAST)
    tracker.start()
    add_trial(record, [0.5], Outcome.COMPLETED)
    assert not tracker.close(timeout=0.2)
    assert "isn't up to date" in caplog.text


def test_what_the_store_refuses_holds_up_nothing_else(
    record: Record, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    with following(record, store):
        add_trial(record, [0.1])
        wait_until(lambda: len(store.trials()) == 1)
        store.client.delete_run(store.trials()[0].info.run_id)  # as a user may, in the UI
        record.report(0, 2, {"val_accuracy": 0.2})
        wait_until(lambda: "MLflow refused trial-0000" in caplog.text)
        add_trial(record, [0.5], Outcome.COMPLETED)
    assert store.trials()[1].info.status == "FINISHED"


def test_a_follower_that_dies_is_replaced(
    record: Record, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    with Tracker(record, store.uri, store.artifacts, **FAST):
        add_trial(record, [0.1])
        wait_until(lambda: len(store.trials()) == 1)
        (follower,) = followers(os.getpid())
        follower.kill()
        record.report(0, 2, {"val_accuracy": 0.2})
        wait_until(lambda: "restarting it" in caplog.text)
        record.end_trial(0, Outcome.COMPLETED)
    (run,) = store.trials().values()
    assert store.curve(run, "val_accuracy") == [(1, 0.1), (2, 0.2)]
    assert run.info.status == "FINISHED"


def test_a_follower_waits_for_its_event_but_not_to_write_the_end(
    record: Record, store: Store
) -> None:
    with Tracker(record, store.uri, store.artifacts, after=threading.Event(), **FAST):
        add_trial(record, [0.1], Outcome.COMPLETED)
        assert followers(os.getpid()) == []
    assert store.trials()[0].info.status == "FINISHED"


def followers(pid: int) -> list[psutil.Process]:
    children = psutil.Process(pid).children()
    return [child for child in children if "hpsearch.tracking.follower" in child.cmdline()]


DRIVER = """
import sys, time
from pathlib import Path
from hpsearch.record import Record
from hpsearch.tracking import Tracker

with Tracker(Record.open(Path(sys.argv[1]), sys.argv[2]), sys.argv[3], interval_s=0.01):
    time.sleep(600)
"""


def test_a_follower_ends_with_its_driver_and_not_before(
    record: Record, store: Store, tmp_path: Path
) -> None:
    (tmp_path / "random.py").write_text("raise ImportError('not this one')")
    place = str(record.place)
    command = [sys.executable, "-P", "-c", DRIVER, place, NAME, store.uri]
    driver = subprocess.Popen(command, cwd=tmp_path)
    try:
        add_trial(record, [0.1], Outcome.COMPLETED)
        wait_until(lambda: len(store.trials()) == 1)
        (follower,) = followers(driver.pid)
        assert follower.nice() == 19  # trials have 15
        follower.send_signal(signal.SIGINT)  # Ctrl-C goes to the whole group
        follower.send_signal(signal.SIGTERM)
        add_trial(record, [0.2], Outcome.COMPLETED)
        wait_until(lambda: len(store.trials()) == 2)
    finally:
        driver.kill()
        driver.wait()
    psutil.wait_procs([follower], timeout=10)
    assert not follower.is_running()
