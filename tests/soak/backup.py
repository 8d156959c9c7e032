"""The runbook's backup and restore, by its own commands: `make soak`."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.checks.commands import DEPLOY
from hpsearch.service.client.http_client import Client
from tests.support.local_cluster import SPEC, first_token, local_cluster
from tests.support.polling import wait_until
from tests.support.postgresql import INITDB
from tests.support.shell import Shell

pytestmark = [
    pytest.mark.skipif(INITDB is None, reason="PostgreSQL is not installed"),
    pytest.mark.skipif(not shutil.which("pg_dumpall"), reason="its clients are not installed"),
]
TIMEOUT_S = 300.0


def runbook() -> tuple[list[str], list[str], str]:
    """Return the runbook's commands that back up, those that restore, and the one that looks."""
    text = (DEPLOY / "README.md").read_text().partition("## Back up and restore")[2]
    backup, restore, look = re.findall(r"```\n(.*?)```", text.partition("\n## ")[0], re.S)
    return lines(backup), lines(restore), *lines(look)


def lines(block: str) -> list[str]:
    return block.replace("\\\n", " ").strip().splitlines()


def run(command: str, cluster: Path, place: Path) -> str:
    """Run a command of the runbook, with processes for containers and folders for volumes."""
    compose = "docker compose --file deploy/compose.yaml "
    if command == f"{compose}stop service mlflow ray-head ray-worker":
        for name in ("service", "mlflow", "ray-worker-1", "ray-worker-2", "ray-head"):
            local_cluster("kill", cluster, name)
        return ""
    if command == f"{compose}start":
        return local_cluster("up", cluster)
    program = shlex.join([sys.executable, str(DEPLOY / "local-cluster")])
    here = command.replace(f"{compose}exec --no-TTY", f"{program} exec {cluster}")
    here = re.sub("--runs /runs$", f"--runs {cluster}/runs", here)
    if "docker run" in here:
        here = here.partition(" debian:12 ")[2]
        here = re.sub("(?<= )/(runs|artifacts|)(?= )", rf"{cluster}/\1", here)
        here = re.sub("/(to|from)/", f"{place}/", here)
    assert "docker" not in here
    assert not re.search(" /(runs|artifacts)? ", here)  # nothing outside the cluster
    done = subprocess.run(
        here, shell=True, cwd=place, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


def wait_until_finished(client: Client, name: str) -> None:
    wait_until(
        lambda: client.search(name)["state"] == "finished",
        TIMEOUT_S,
        interval_s=0.5,
        why=lambda: client.search(name),
    )


def test_a_backup_restores_what_was_there(
    cluster_folder: Path,
    tmp_path: Path,
) -> None:
    client = Client(*first_token(cluster_folder))
    shell = Shell(tmp_path / "home")
    client.submit(SPEC.format(name="kept", trials=3), working_dir=shell.folder / "code")
    wait_until_finished(client, "kept")
    before = client.search("kept"), client.best("kept"), client.text("kept", "report")

    backup, restore, look = runbook()
    for command in backup:
        run(command, cluster_folder, tmp_path)
    client.delete("kept")
    client.submit(SPEC.format(name="later", trials=1), working_dir=shell.folder / "code")
    client.create_token("bob", "user")
    for command in restore:
        run(command, cluster_folder, tmp_path)

    assert [each["name"] for each in client.searches()] == ["kept"]
    assert [each["user"] for each in client.tokens()] == [client.me()["user"]]
    assert (client.search("kept"), client.best("kept"), client.text("kept", "report")) == before
    assert "kept: 0 problems" in run(look.replace("NAME", "kept"), cluster_folder, tmp_path)
    client.act("kept", "extend", {"trials": 1})
    wait_until_finished(client, "kept")
    client.submit(SPEC.format(name="later", trials=1), working_dir=shell.folder / "code")
    wait_until_finished(client, "later")
