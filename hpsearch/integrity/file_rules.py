"""What must hold between a record and the files beside it."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from hpsearch.errors import Problem, RunsError
from hpsearch.record import Record, TrialRecord
from hpsearch.runs import SearchFolder
from hpsearch.spec.trials import FILES
from hpsearch.training.checkpoints import FILES_LOG, CheckpointStore, load_state

_CHECKPOINT = re.compile(r"epoch-(\d{4,})\.pt")


def file_problems(record: Record, folder: SearchFolder) -> Iterator[str]:
    """Yield what is wrong in the files of a search."""
    yield from map(str, _spec_problems(record, folder))
    yield from map(str, _lost_checkpoints(record, folder))
    yield from map(str, _stray_files(record, folder))
    yield from map(str, _damaged_checkpoints(record, folder))


def checkpoint_folder(folder: SearchFolder, trial: TrialRecord) -> Path:
    """Return where a trial's checkpoints are."""
    return CheckpointStore(folder.checkpoints, trial.number).folder


def _spec_problems(record: Record, folder: SearchFolder) -> Iterator[Problem]:
    place, rule = str(folder.spec), "must be the spec of the record"
    try:
        if folder.spec.read_bytes() != record.spec.to_yaml().encode():
            yield Problem(place, rule)
    except OSError as error:
        yield Problem(place, rule, error.strerror)
    if folder.spec_draft.exists():
        yield Problem(str(folder.spec_draft), "must not exist: it is a partial write")


def _lost_checkpoints(record: Record, folder: SearchFolder) -> Iterator[Problem]:
    for trial in record.kept():
        place, checkpoint = f"trial {trial.number}", trial.checkpoint
        if checkpoint is None or not (folder.checkpoints / checkpoint).is_file():
            rule = "must have its checkpoint, as it is among the best, but the file is missing"
            yield Problem(place, rule, checkpoint)
        elif epoch_of_name(Path(checkpoint)) != trial.epochs:
            rule = f"must have the checkpoint of its last epoch, {trial.epochs}"
            yield Problem(place, rule, checkpoint)


def _stray_files(record: Record, folder: SearchFolder) -> Iterator[Problem]:
    unfinished = {checkpoint_folder(folder, trial) for trial in record.running()}
    wanted = unfinished | {checkpoint_folder(folder, trial) for trial in record.kept()}
    for path in sorted(folder.checkpoints.glob("*")):
        if path not in wanted:
            rule = "must not exist: its trial has ended and is not among the best"
            yield Problem(str(path), rule)
            continue
        for file in sorted(path.glob("*")):
            is_being_written = path in unfinished and file.suffix == ".tmp"
            is_command_s = file.name in (FILES, FILES_LOG)
            if not (epoch_of_name(file) is not None or is_command_s or is_being_written):
                yield Problem(str(file), "must be a checkpoint, named epoch-NNNN.pt")


def _damaged_checkpoints(record: Record, folder: SearchFolder) -> Iterator[Problem]:
    for trial in (*record.running(), *record.kept()):
        for file in sorted(checkpoint_folder(folder, trial).glob("*")):
            epoch = epoch_of_name(file)
            try:
                if epoch is not None:
                    yield from _content_problems(file, epoch)
            except FileNotFoundError:  # its trial is running, and has a newer one
                continue


def epoch_of_name(file: Path) -> int | None:
    """Return the epoch of a checkpoint's file; None if it isn't named as one."""
    match = _CHECKPOINT.fullmatch(file.name)
    return None if match is None else int(match[1])


def _content_problems(file: Path, epoch: int) -> Iterator[Problem]:
    damage = _damage(file)
    if damage is not None:
        yield Problem(str(file), "must be a readable checkpoint", damage)
        return
    try:
        state = load_state(file, mmap=True)  # the tensors stay on the disk
    except RunsError as error:
        yield Problem(str(file), str(error).removeprefix(f"{file}: "))
        return
    except Exception as error:  # torch raises many kinds for what it can't read
        yield Problem(
            str(file), "must be a readable checkpoint", f"{type(error).__name__}: {error}"
        )
        return
    stored = state.get("epoch") if isinstance(state, dict) else None
    if stored != epoch:
        yield Problem(str(file), f"must hold the state after epoch {epoch}", stored)


def _damage(file: Path) -> str | None:
    """Return what is wrong with a file of torch's, a ZIP archive with checksums."""
    try:
        with zipfile.ZipFile(file) as archive:
            member = archive.testzip()  # a megabyte at a time
    except FileNotFoundError:
        raise
    except Exception as error:  # damaged bytes may mean anything
        return f"{type(error).__name__}: {error}"
    return None if member is None else f"a wrong checksum of {member}"
