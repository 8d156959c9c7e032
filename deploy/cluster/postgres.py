"""A PostgreSQL of one's own: what its image does in an empty folder."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import Any

from deploy.cluster.networks import as_user


def postgres_program(name: str) -> str:
    """Return a program of PostgreSQL, wherever Debian or the PATH has it."""
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = str(versions[-1]) if versions else shutil.which(name)
    if found is None:
        raise SystemExit(f"{name}: must be installed: apt-get install postgresql")
    return found


def postgres_user() -> str:
    """Return who runs PostgreSQL, which refuses to run as root."""
    return "nobody" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name


def initialise_postgres(folder: Path, roles: str, listen_on: str) -> None:
    """Make a database folder with these roles, a command of SQL a line."""
    user = postgres_user()
    folder.parent.chmod(0o711)  # its user must come as far as its own folder
    closed = [each for each in folder.parents if not each.stat().st_mode & 0o001]
    if os.getuid() == 0 and closed:
        raise SystemExit(f"{closed[0]}: must be open to {user}, who runs PostgreSQL")
    folder.mkdir(mode=0o700)
    shutil.chown(folder, user)
    options: dict[str, Any] = {"cwd": folder, "stdout": subprocess.DEVNULL, "check": True}
    init: list[str | Path] = [
        postgres_program("initdb"),
        "--auth=trust",
        "--username=postgres",
        "--pgdata",
        folder,
    ]
    subprocess.run([*as_user(user), *init], **options)
    single: list[str | Path] = [postgres_program("postgres"), "--single", "-D", folder, "postgres"]
    subprocess.run([*as_user(user), *single], input=roles.encode(), **options)
    (folder / "pg_hba.conf").write_text("host all all all scram-sha-256\n")
    with (folder / "postgresql.conf").open("a") as file:
        file.write(f"listen_addresses = '{listen_on}'\nunix_socket_directories = ''\n")
