"""A real PostgreSQL server."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.polling import wait_until

INITDB = shutil.which("initdb") or next(
    map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))), None
)


@contextmanager
def postgresql_server() -> Iterator[str]:
    """Run a server; yields its URL without a database name."""
    assert INITDB is not None
    # The server refuses to run as root.
    user = "nobody" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    shutil.chown(folder, user)
    options: dict[str, object] = {"cwd": folder, "stdout": subprocess.DEVNULL}
    if os.getuid() == 0:
        options["user"] = user
    initialise = [INITDB, "--pgdata", folder / "data", "--username", "tests", "--auth", "trust"]
    subprocess.run(initialise, check=True, **options)  # type: ignore[call-overload]
    binaries = Path(INITDB).resolve().parent
    port = 30_000 + os.getpid() % 10_000
    command = [binaries / "postgres", "-D", folder / "data", "-p", str(port), "-k", folder]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, **options)  # type: ignore[call-overload]
    try:
        is_ready = [binaries / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
        wait_until(lambda: subprocess.run(is_ready, check=False).returncode == 0, 60, 0.1)
        yield f"postgresql://tests@127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
        shutil.rmtree(folder, ignore_errors=True)
