"""Checkpoints by name in the trial's folder: `epoch-000003`, whole or absent, only the newest."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hpsearch.reporting import checkpoint_dir, is_trial

_PREFIX, _PARTIAL = "epoch-", "partial-"


def newest_checkpoint(suffix: str = "") -> Path | None:
    """Return the checkpoint of the last epoch; None at the start of a trial and outside one."""
    if not is_trial():
        return None
    found = checkpoint_dir().glob(f"{_PREFIX}*{suffix}")
    return max(found, default=None, key=lambda path: path.name)


def epoch_of(checkpoint: Path) -> int:
    """Return how many epochs, or steps, a checkpoint was trained."""
    return int(checkpoint.name.removeprefix(_PREFIX).partition(".")[0])


@contextmanager
def new_checkpoint(epoch: int, suffix: str = "", is_main: bool = True) -> Iterator[Path]:
    """Yield the path of a file or a folder to write; then it takes the place of the older ones.

    Every process that writes to it enters; `is_main` is true in one of them, which must leave it
    after the others have written.
    """
    name = f"{epoch:06d}{suffix}"
    folder = checkpoint_dir()
    partial = folder / f"{_PARTIAL}{name}"
    if is_main:
        _remove(partial)
    yield partial
    if not is_main:
        return
    target = folder / f"{_PREFIX}{name}"
    _remove(target)
    os.replace(partial, target)
    for path in (*folder.glob(f"{_PREFIX}*{suffix}"), *folder.glob(f"{_PARTIAL}*{suffix}")):
        if path != target:
            _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
