"""A working directory of a trial's own, in which a script finds all that lies in another."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def linked_folder(source: Path, target: Path) -> Path:
    """Make a folder with links to the entries of another; what is made in it stays in it.

    `python script.py` follows the link of the script, so that imports are as beside the original.
    """
    target.mkdir(parents=True, exist_ok=True)
    for entry in source.iterdir():
        with suppress(FileExistsError):
            (target / entry.name).symlink_to(entry)
    return target
