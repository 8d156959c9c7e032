"""A working directory of a trial's own, in which a script finds all that lies in another."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path


def linked_folder(source: Path, target: Path, but_for: Collection[str] = ()) -> Path:
    """Make a folder with links to the entries of another; what is made in it stays in it.

    What exists in the other is shared, but for those entries.
    `python script.py` follows the link of the script, so that imports are as beside the original.
    """
    target.mkdir(parents=True, exist_ok=True)
    for entry in source.iterdir():
        if entry.name not in but_for:
            with suppress(FileExistsError):
                (target / entry.name).symlink_to(entry)
    return target
