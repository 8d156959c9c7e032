"""`hpsearch serve` as a process that starts nothing else: what it says and takes."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from hpsearch.service.embedded.processes import free_ports

SECRET = "0123456789abcdef" * 3
ELSEWHERE = ["--ray-address", "http://127.0.0.1:1", "--tracking-uri", "http://127.0.0.1:1"]


@contextmanager
def _serving(folder: Path, *options: str) -> Iterator[tuple[str, str]]:
    """Yield the address of a service, and what it has said until it listens."""
    [port] = free_ports(1)
    command = [sys.executable, "-m", "hpsearch.cli", "serve", "--port", str(port), *ELSEWHERE]
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen([*command, *options], cwd=folder, stdout=said, stderr=said)
    url = f"http://127.0.0.1:{port}"
    patient = requests.Session()
    patient.mount(url, HTTPAdapter(max_retries=Retry(600, backoff_factor=0.1, backoff_max=0.2)))
    try:
        patient.get(f"{url}/health", timeout=60)
        yield url, (folder / "said").read_text()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def _role(url: str, token: str) -> str | None:
    headers = {"Authorization": f"Bearer {token}"}
    return requests.get(f"{url}/api/v1/me", headers=headers, timeout=30).json().get("role")


def test_the_first_token_comes_from_a_file_and_is_not_said(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{SECRET}\n")
    with _serving(tmp_path, "--admin-token-file", str(file)) as (url, said):
        assert _role(url, SECRET) == "admin"
        assert str(file) in said
        assert SECRET not in said
        assert "--token" not in said
    file.write_text("f" * 48)  # it was the first: others come from admins
    with _serving(tmp_path, "--admin-token-file", str(file)) as (url, _):
        assert (_role(url, SECRET), _role(url, "f" * 48)) == ("admin", None)


def test_without_a_file_the_first_token_is_said_once(tmp_path: Path) -> None:
    with _serving(tmp_path) as (url, said):
        found = re.search(r"login \S+ --token (\S+)", said)
        assert found is not None
        assert _role(url, found[1]) == "admin"
    with _serving(tmp_path) as (_, said):
        assert "--token" not in said


def test_a_bad_file_ends_it_before_it_starts(tmp_path: Path) -> None:
    (tmp_path / "short").write_text("secret\n")
    command = [sys.executable, "-m", "hpsearch.cli", "serve", "--admin-token-file"]
    for name, problem in (
        ("short", "short: must be at least 32 random ASCII characters"),
        ("none", "none: must be a file with the first admin's token"),
    ):
        done = subprocess.run([*command, name], cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (2, "")
        assert problem in done.stderr
        assert "secret" not in done.stderr
