"""The command line of a team: `hpsearch serve` and its users, as real processes."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from hpsearch.service.processes import free_ports
from tests.breaking import TRAIN
from tests.test_cli import FIVE_MISTAKES

SPEC = """
name: team
objective: {metric: score}
trainable: train.py:train
space: {x: {low: 0.0, high: 1.0}}
search: {trials: 2, max_concurrent: 1, early_stopping: {name: none, max_epochs: 3}}
"""


class Shell:
    """A user's machine: a home of their own, and a folder to work in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "code").mkdir(parents=True)
        (folder / "code" / "train.py").write_text(TRAIN)
        (folder / "code" / "team.yaml").write_text(SPEC)
        (folder / "five.yaml").write_text(FIVE_MISTAKES)
        self.environment = os.environ | {"XDG_CONFIG_HOME": str(folder / "config")}

    def run(self, *arguments: str, status: int = 0) -> str:
        """Run a command of hpsearch; returns what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "hpsearch.cli", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr


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
    assert "leaderboard" in ann.run("logs", "team")
    assert "trial 0: completed" in ann.run("logs", "team", "--trial", "0")
    assert "# team" in ann.run("report", "team")
    best = json.loads(ann.run("best", "team", "--output", "json"))
    assert set(best["params"]) == {"x"}
    path = Path(ann.run("download", "team").strip())
    assert (ann.folder / path).stat().st_size > 0
    assert "extended" not in ann.run("extend", "team", "--trials", "1")
    assert "3 of 3 done" in ann.run("logs", "team", "-f") + ann.run("status", "team")
    assert "team: 0 problems" in ann.run("check", "team", "--runs", str(served[2]))
    ann.run("delete", "team", "--yes")
    assert "no searches" in ann.run("list")


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
    assert "viewer" in bob.run("submit", "code/team.yaml", status=2)
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
