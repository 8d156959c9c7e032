"""What must hold between a record and the files beside it, and which checkpoints it needs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from hpsearch.errors import Problem
from hpsearch.record import Record, TrialRecord
from hpsearch.runs import SearchFolder
from hpsearch.training.checkpoints import CheckpointStore

_CHECKPOINT = re.compile(r"epoch-\d{4,}\.pt")


def file_problems(record: Record, folder: SearchFolder) -> Iterator[str]:
    """Yield what is wrong in the files of a search."""
    if folder.spec.read_text() != record.spec.to_yaml():
        yield str(Problem(str(folder.spec), "must be the spec of the record"))
    yield from map(str, _lost_checkpoints(record, folder))
    yield from map(str, _stray_files(record, folder))


def checkpoint_folder(folder: SearchFolder, trial: TrialRecord) -> Path:
    """Return where a trial's checkpoints are."""
    return CheckpointStore(folder.checkpoints, trial.number).folder


def _lost_checkpoints(record: Record, folder: SearchFolder) -> Iterator[Problem]:
    for trial in record.kept():
        if trial.checkpoint is None or not (folder.checkpoints / trial.checkpoint).is_file():
            rule = "must have its checkpoint, for it is among the best, and it isn't there"
            yield Problem(f"trial {trial.number}", rule, trial.checkpoint)


def _stray_files(record: Record, folder: SearchFolder) -> Iterator[Problem]:
    unfinished = {checkpoint_folder(folder, trial) for trial in record.running()}
    wanted = unfinished | {checkpoint_folder(folder, trial) for trial in record.kept()}
    for path in sorted(folder.checkpoints.glob("*")):
        if path not in wanted:
            rule = "must not be there: it is of no unfinished trial, and of none of the best"
            yield Problem(str(path), rule)
            continue
        for file in sorted(path.glob("*")):
            is_being_written = path in unfinished and file.suffix == ".tmp"
            if not _CHECKPOINT.fullmatch(file.name) and not is_being_written:
                yield Problem(str(file), "must be a checkpoint, named epoch-NNNN.pt")
