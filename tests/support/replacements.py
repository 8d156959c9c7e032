"""What users' code may put in the place of a file."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def link_to_a_secret(path: Path) -> None:
    secret = path.parent.parent / "secret"
    secret.write_text("SECRET")
    path.symlink_to(secret)


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def endless_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def fifo(path: Path) -> None:
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.mkdir()


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(path.parent)  # its name must be short
        listener.bind(path.name)


REPLACEMENTS = [link_to_a_secret, link_to_itself, endless_device, fifo, folder, unix_socket]
