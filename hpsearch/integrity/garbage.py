"""Finds and removes what interrupted searches left behind, and files that no record refers to."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpsearch.errors import HpsearchError, RunsError, UnsafeFileError
from hpsearch.integrity.file_rules import checkpoint_folder
from hpsearch.record import Record
from hpsearch.runs import Runs, SearchFolder
from hpsearch.untrusted_files import remove_below

_log = logging.getLogger(__name__)
#: seconds after which nobody writes on a draft any more; a process of another machine that shares
#: the runs folder can't be asked
DRAFT_AGE_S = 3600.0
_TRIAL = re.compile(r"trial-\d{4,}")


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
    """Remove what was found, and return its bytes.

    A search is held meanwhile and looked at again: if a driver works on it by now it is passed
    over, and if one has worked on it, what it needs stays.
    """
    removed = sum(_delete(item, item.path.parent) for item in garbage if item.search is None)
    for folder in dict.fromkeys(item.search for item in garbage if item.search is not None):
        found = {item.path for item in garbage if item.search == folder}
        with folder.hold() as is_held:
            if is_held:
                again = _garbage_of(folder)
                removed += sum(
                    _delete(item, folder.path.parent) for item in again if item.path in found
                )
    return removed


def _unfinished_searches(runs: Runs) -> Iterator[Garbage]:
    """Yield folders of searches whose process died while it created them."""
    for path in sorted(runs.path.glob(".*.*")):
        if (path / "checkpoints").is_dir() and _is_old(path):
            yield Garbage(path, _size(path), "a partly created search")


def _garbage_of(folder: SearchFolder) -> list[Garbage]:
    try:
        record = folder.open_record()
    except HpsearchError as error:  # what can't be read can't be known to be of no use
        _log.warning("%s skipped: %s", folder.name, error)
        return []
    found = (*_needless_checkpoints(record, folder), *_needless_files(record, folder))
    return [Garbage(path, _size(path), why, folder) for path, why in found]


def _needless_checkpoints(record: Record, folder: SearchFolder) -> Iterator[tuple[Path, str]]:
    kept = {trial.number for trial in record.kept()}
    trials = {checkpoint_folder(folder, trial): trial for trial in record.trials}
    for path in sorted(folder.checkpoints.glob("trial-*")):
        trial = trials.get(path)
        if trial is None:
            if _TRIAL.fullmatch(path.name):
                yield path, "the record has no such trial"
        elif trial.outcome is not None and trial.number not in kept:
            yield path, f"trial {trial.number} has ended and is not among the best"
        else:
            for file in sorted(path.glob("*.tmp")):
                yield file, "a partly written checkpoint"


def _needless_files(record: Record, folder: SearchFolder) -> Iterator[tuple[Path, str]]:
    if record.state != "running" and folder.ray.is_dir():
        yield folder.ray, "Ray's files of an ended search"
    if folder.spec_draft.exists():
        yield folder.spec_draft, "a partly written spec"
    for draft in sorted(folder.path.glob(".report.*.*")):
        if _is_old(draft):
            yield draft, "a partly written report"


def _is_old(draft: Path) -> bool:
    try:
        return time.time() - draft.stat().st_mtime > DRAFT_AGE_S
    except FileNotFoundError:  # it is whole by now
        return False


def _size(path: Path) -> int:
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files)


def _delete(item: Garbage, runs: Path) -> int:
    """Delete a file or folder, and return its bytes; what lies behind a link stays."""
    try:
        remove_below(runs, *item.path.relative_to(runs).parts)
    except FileNotFoundError:  # somebody else was faster
        return 0
    except UnsafeFileError as error:
        _log.warning("%s skipped: %s", item.path, error)
        return 0
    except OSError as error:
        raise RunsError(f"{item.path}: can't be removed: {error.strerror}") from error
    return item.num_bytes
