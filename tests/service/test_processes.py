"""Processes that the embedded service keeps alive."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from hpsearch.errors import ServiceError
from hpsearch.service.embedded.processes import Child, free_ports, kept_alive, ray_head
from tests.support.polling import wait_until

PARENT = """
import sys, time
from pathlib import Path
from hpsearch.service.embedded.processes import Child, kept_alive
port, log = sys.argv[1:]
command = [sys.executable, "-m", "http.server", port, "--bind", "127.0.0.1"]
child = Child("server", command, Path(log), f"http://127.0.0.1:{port}")
with kept_alive([child]):
    print(child.process.pid, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def child(tmp_path: Path) -> Child:
    [port] = free_ports(1)
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    return Child("server", command, tmp_path / "log", f"http://127.0.0.1:{port}")


def test_what_dies_is_started_again(child: Child) -> None:
    with kept_alive([child]):
        assert child.process is not None
        first = child.process.pid
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: child.process is not None and child.process.pid != first)
        child.wait()
        last = child.process.pid
    assert not psutil.pid_exists(last)


def test_what_cannot_start_is_one_error(tmp_path: Path) -> None:
    child = Child("nothing", [sys.executable, "-c", "1/0"], tmp_path / "log", "http://127.0.0.1:1")
    with pytest.raises(ServiceError, match="nothing did not start"), kept_alive([child]):
        pass
    assert "ZeroDivisionError" in (tmp_path / "log").read_text()


def test_children_do_not_outlive_a_service_that_is_killed(tmp_path: Path) -> None:
    [port] = free_ports(1)
    command = [sys.executable, "-c", PARENT, str(port), str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert psutil.pid_exists(pid)
        parent.kill()
    wait_until(lambda: not psutil.pid_exists(pid))


def test_the_token_of_ray_is_its_owners_alone(tmp_path: Path) -> None:
    with ray_head(tmp_path) as (child, token):
        assert len(token) == 64
        assert token not in " ".join(child.command)
        assert token not in str(child.environment)
    with ray_head(tmp_path) as (_, again):
        assert again == token
    assert stat.S_IMODE((tmp_path / "ray_token").stat().st_mode) == 0o600
