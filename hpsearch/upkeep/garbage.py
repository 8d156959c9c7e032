"""What searches that were cut off left behind, and what no record needs any more."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpsearch.errors import HpsearchError, RunsError
from hpsearch.record import Record
from hpsearch.runs import Runs, SearchFolder
from hpsearch.upkeep.file_rules import checkpoint_folder

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Garbage:
    """A file or folder that can go; `search` is the one it belongs to."""

    path: Path
    num_bytes: int
    why: str
    search: SearchFolder | None = None


def find_garbage(runs: Runs) -> list[Garbage]:
    """Return what can be removed from a runs folder, but for searches that a driver works on."""
    found = list(_unfinished_searches(runs))
    for folder in map(runs.search, runs.names()):
        if not folder.is_driven():
            found += _garbage_of(folder)
    return found


def remove(garbage: Sequence[Garbage]) -> int:
    """Remove what was found, and return its bytes; searches that go on by now are passed over."""
    removed = 0
    for item in garbage:
        if item.search is not None and item.search.is_driven():
            continue
        try:
            _delete(item.path)
        except FileNotFoundError:  # somebody else was faster
            continue
        except OSError as error:
            raise RunsError(f"{item.path}: can't be removed: {error.strerror}") from error
        removed += item.num_bytes
    return removed


def _unfinished_searches(runs: Runs) -> Iterator[Garbage]:
    """Yield folders `.NAME.PID` of searches whose process died while it created them."""
    for path in sorted(runs.path.glob(".*.*")):
        if (path / "checkpoints").is_dir() and _writer_died(path):
            yield Garbage(path, _size(path), "a search that was never wholly created")


def _garbage_of(folder: SearchFolder) -> list[Garbage]:
    try:
        record = folder.open_record()
    except HpsearchError as error:  # what can't be read can't be known to be of no use
        _log.warning("%s is passed over: %s", folder.name, error)
        return []
    return [Garbage(path, _size(path), why, folder) for path, why in _needless(record, folder)]


def _needless(record: Record, folder: SearchFolder) -> Iterator[tuple[Path, str]]:
    kept = {trial.number for trial in record.kept()}
    for trial in record.trials:
        path = checkpoint_folder(folder, trial)
        if trial.outcome is not None and trial.number not in kept:
            if path.is_dir():
                yield path, f"trial {trial.number} has ended and is none of the best"
        else:
            for file in sorted(path.glob("*.tmp")):
                yield file, "a checkpoint that was never wholly written"
    if record.state != "running" and folder.ray.is_dir():
        yield folder.ray, "Ray's own files of a search that has ended"
    for draft in sorted(folder.path.glob(".report.*.*")):
        if _writer_died(draft):
            yield draft, "a report that was never wholly written"


def _writer_died(path: Path) -> bool:
    """Whether a name ends in the id of a process that isn't there any more."""
    pid = path.suffix.removeprefix(".")
    if not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:  # it is another user's
        return False
    return False


def _size(path: Path) -> int:
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files)


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
