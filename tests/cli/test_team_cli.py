"""The command line of a team: `hpsearch serve` and its users, as real processes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from hpsearch.errors import SpecError
from hpsearch.runs import Runs
from hpsearch.service.checks.cluster import ClusterRunner
from hpsearch.service.checks.submission import Checks, LocalRunner
from hpsearch.service.confinement.workers import WorkerUser
from hpsearch.service.embedded.processes import free_ports
from hpsearch.service.jobs import Jobs
from tests.support.breaking import TRAIN
from tests.support.polling import wait_until
from tests.support.shell import SPEC, Shell


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, Path]]:
    """`hpsearch serve` with all that it starts itself: its URL, its first token, its runs."""
    folder = tmp_path_factory.mktemp("served")
    [port] = free_ports(1)
    command = [sys.executable, "-m", "hpsearch.cli", "serve", "--port", str(port), "--cpus", "2"]
    with (folder / "errors").open("wb") as errors:
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=errors)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            found = re.search(rb"login (\S+) --token (\S+)", line)
            if found:
                yield found[1].decode(), found[2].decode(), folder / "runs"
                break
        else:
            raise AssertionError((folder / "errors").read_text())
    finally:
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
        assert psutil.wait_procs(children, timeout=30)[1] == []
        assert process.stdout is not None
        process.stdout.close()
    assert "Traceback" not in (folder / "errors").read_text()


@pytest.fixture(scope="module")
def admin(served: tuple[str, str, Path], tmp_path_factory: pytest.TempPathFactory) -> Shell:
    shell = Shell(tmp_path_factory.mktemp("admin") / "home")
    url, token, _ = served
    assert "(admin)" in shell.run("login", url, "--token", token)
    return shell


def test_a_user_submits_watches_and_takes_home(
    served: tuple[str, str, Path], admin: Shell, tmp_path: Path
) -> None:
    token = admin.run("token", "create", "ann").strip()
    ann = Shell(tmp_path / "ann")
    ann.run("login", served[0], "--token", token)
    kept = ann.folder / "config" / "hpsearch" / "login.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    printed = ann.run("submit", "code/team.yaml", "--working-dir", "code", "--watch")
    assert "team: submitted" in printed
    assert "2 of 2 done" in printed
    listed = ann.run("list", "--mine")
    assert re.search(r"team +ann +finished +2/2", listed)
    assert "team of ann: finished" in ann.run("status", "team")
    log = ann.run("logs", "team")
    assert "leaderboard" in log
    assert "hpsearch best team" in log and str(served[2]) not in log.partition("Next:")[2]
    assert "trial 0: completed" in ann.run("logs", "team", "--trial", "0")
    assert "# team" in ann.run("report", "team")
    best = json.loads(ann.run("best", "team", "--output", "json"))
    assert set(best["params"]) == {"x"}
    path = Path(ann.run("download", "team").strip())
    assert (ann.folder / path).stat().st_size > 0
    assert "extended" not in ann.run("extend", "team", "--trials", "1")
    assert "3 of 3 done" in ann.run("logs", "team", "-f") + ann.run("status", "team")
    assert ann.run("repeat", "team", "--seeds", "2") == "team: queued\n"
    ann.run("logs", "team", "-f")
    assert "New seeds" in ann.run("report", "team")
    assert "name: more" in ann.run("next", "team", "--name", "more")
    assert "team: 0 problems" in ann.run("check", "team", "--runs", str(served[2]))
    ann.run("delete", "team", "--yes")
    assert "no searches" in ann.run("list")


SPYING = """
import os, time, urllib.error, urllib.request

def writes_to_mlflow():
    body = b'{{"name": "spied"}}'
    url = "http://127.0.0.1:{port}/api/2.0/mlflow/experiments/create"
    request = urllib.request.Request(url, body, {{"Content-Type": "application/json"}})
    try:
        urllib.request.urlopen(request).close()
    except urllib.error.HTTPError as error:
        return error.code != 401
    return True

def reached():
    found = []
    for path in {paths!r}:
        for mode in ("rb", "ab"):
            try:
                open(path, mode).close()
                found.append((path, mode))
            except OSError:
                pass
    return found

def train(config, trial):
    for epoch in range(1, 10_000):
        assert not reached() and not writes_to_mlflow(), reached()
        yield {{"score": float(os.getuid())}}
        time.sleep(0.2)
"""


def test_a_trial_reaches_nothing_of_the_service_and_is_stopped_without_its_driver(
    served: tuple[str, str, Path], admin: Shell
) -> None:
    runs = served[2]
    paths = [*map(str, (runs / ".service").iterdir()), str(runs / "new")]
    for process in psutil.Process().children():
        paths += [f"/proc/{process.pid}/environ", f"/proc/{process.pid}/mem"]
    is_root = os.getuid() == 0  # otherwise users' code runs as the service itself
    port = (runs / ".service" / "mlflow_port").read_text()
    code = SPYING.format(paths=paths if is_root else [], port=port)
    (admin.folder / "code" / "spying.py").write_text(code)
    spec = SPEC.replace("team", "spying").replace("train.py", "spying.py").replace("3}", "9999}")
    (admin.folder / "code" / "spying.yaml").write_text(spec)
    admin.run("submit", "code/spying.yaml", "--working-dir", "code")
    wait_until(lambda: has_epochs(runs, "spying"), 120, interval_s=0.3)
    [driver] = [
        process
        for process in psutil.process_iter(["cmdline"])
        if {"hpsearch.cli", "resume", "spying", str(runs)} <= set(process.info["cmdline"] or ())
    ]
    driver.kill()
    admin.run("stop", "spying")
    wait_until(lambda: "spying of root: stopped" in admin.run("status", "spying"), 120)
    record = Runs(runs).search("spying").open_record()
    assert (record.state, record.delivered) == ("stopped", True)
    uids = {metrics["score"] for metrics in record.trials[0].curve.values()}
    assert uids == {WorkerUser.of(None).uid if is_root else os.getuid()}
    assert "spying: 0 problems" in admin.run("check", "spying", "--runs", str(runs))
    admin.run("delete", "spying", "--yes")


def has_epochs(runs: Path, name: str) -> bool:
    place = Runs(runs)
    return place.has(name) and any(
        trial.curve for trial in place.search(name).open_record().trials
    )


def cluster_of(runs: Path) -> Jobs:
    """The jobs of the service's own Ray head."""
    head = next(
        command
        for child in psutil.Process().children()
        for process in child.children(recursive=True)
        if "--head" in (command := process.cmdline())
    )
    [port] = [option for option in head if option.startswith("--dashboard-port=")]
    token = (runs / ".service" / "ray_token").read_text()
    return Jobs(f"http://127.0.0.1:{port.partition('=')[2]}", token)


def test_code_is_checked_as_a_job_on_the_cluster(served: tuple[str, str, Path]) -> None:
    runs = served[2]
    folder = runs / ".uploads" / "checked"
    folder.mkdir(parents=True)
    jobs = cluster_of(runs)
    reader = LocalRunner(WorkerUser.of(None), (folder,))
    checks = Checks(reader, ClusterRunner(jobs, runs / ".checks", sys.executable))

    def check(code: str) -> dict[str, Any]:
        (folder / "train.py").write_text(code)
        return asyncio.run(checks.check("ann", SPEC, folder))

    assert check(TRAIN)["name"] == "team"
    mark = folder.parent / "mark"
    reading = f"open({str(mark)!r}, 'w')\ndef trane(config, trial): ...\n"
    with pytest.raises(SpecError, match="train.py must define train, .*did you mean 'trane'"):
        check(reading)  # what reading it tells is told without running it
    with pytest.raises(
        SpecError, match=f"ZeroDivisionError: {os.getuid() or WorkerUser.of(None).uid}"
    ):
        check(f"import os\nraise ZeroDivisionError(os.getuid())\n{TRAIN}")
    assert not mark.exists()
    assert list((runs / ".checks").iterdir()) == []


@pytest.mark.soak
def test_a_watched_search_without_a_best_trial_ends_with_status_1(admin: Shell) -> None:
    (admin.folder / "code" / "fails.py").write_text("def train(config, trial): raise KeyError(1)")
    spec = SPEC.replace("train.py", "fails.py").replace("name: team", "name: fails", 1)
    (admin.folder / "code" / "fails.yaml").write_text(spec)
    arguments = ("submit", "code/fails.yaml", "--working-dir", "code", "--watch")
    log = " ".join(admin.run(*arguments, status=1).split())
    assert "the dry epoch of fails.py:train failed: KeyError: 1" in log


def test_errors_are_those_of_a_folder(admin: Shell) -> None:
    told = admin.run("submit", "five.yaml", status=2)
    assert told.splitlines() == [
        line.replace("five.yaml", "spec")
        for line in admin.run("validate", "five.yaml", status=2).splitlines()
    ]
    assert "no search 'nothing'" in admin.run("status", "nothing", status=2)
    assert "--runs and --service" in admin.run("list", "--runs", "x", "--service", "y", status=2)


def test_tokens_and_quotas_are_managed(
    served: tuple[str, str, Path], admin: Shell, tmp_path: Path
) -> None:
    token = admin.run("token", "create", "bob", "--role", "viewer").strip()
    admin.run("quota", "bob", "--set", "--max-running", "2")
    assert re.search(r"bob +2 +no limit +0.00", admin.run("quota", "bob"))
    bob = Shell(tmp_path / "bob")
    bob.run("login", served[0], "--token", token)
    assert "viewer" in bob.run("submit", "code/team.yaml", "--working-dir", "code", status=2)
    assert "must be an admin" in bob.run("token", "list", status=2)
    identity = token.split("_")[1]
    assert identity in admin.run("token", "list")
    admin.run("token", "revoke", identity)
    assert "revoked" in bob.run("list", status=2)
    bob.run("logout")
    assert "no searches" in bob.run("list")


def test_a_folder_has_the_same_commands(tmp_path: Path) -> None:
    shell = Shell(tmp_path / "alone")
    assert "submitted" in shell.run("submit", "code/team.yaml", "--watch", "--runs", "here")
    assert re.search(r"team +finished +2/2", shell.run("list", "--runs", "here"))
    assert "leaderboard" in shell.run("logs", "team", "--runs", "here")
    path = Path(shell.run("download", "team", "--runs", "here").strip())
    assert (shell.folder / path).stat().st_size > 0
    told = shell.run("submit", "code/team.yaml", "--priority", "1", status=2)
    assert "a folder has no queue" in told
    shell.run("delete", "team", "--yes", "--runs", "here")
    assert "no searches" in shell.run("list", "--runs", "here")
