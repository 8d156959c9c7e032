"""The states of a trial: copied while it trains, and on disk, whole or absent, only the newest.

A file holds tensors, arrays and plain values. Others may write to the folder of a search, and to
unpickle more than that would run what they have put there.
"""

from __future__ import annotations

import os
import pickle
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from hpsearch.errors import RunsError, UserCodeError
from hpsearch.spec.trials import FILES

#: what is loaded beside torch's own: arrays and their numbers, which only hold data
_ARRAYS: list[Any] = [
    np.ndarray,
    np.dtype,
    np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
    np._core.multiarray.scalar,  # type: ignore[attr-defined]
    *{type(np.dtype(code)) for code in "?bBhHiIlLqQefdgFDGSUOVmM"},
]
#: beside that folder, the log of what the command reported
FILES_LOG = "files.jsonl"
_RULE = "must hold tensors, arrays and plain values only, for which no code need run"


class CheckpointStore:
    """A trial's checkpoints: `FOLDER/trial-0007/epoch-0003.pt`, and the `files` of its command."""

    def __init__(self, folder: Path, number: int) -> None:
        self.folder = folder / f"trial-{number:04d}"
        #: what a command writes itself; its own code keeps these files whole
        self.files = self.folder / FILES

    def save(self, epoch: int, state: dict[str, Any]) -> Path:
        """Write a state atomically and drop the older ones; returns its file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / file_name(epoch)
        unfinished = path.with_suffix(".tmp")
        with unfinished.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        check_loadable(unfinished, "the state of a trial")
        unfinished.replace(path)
        for older in self.folder.glob("epoch-*"):  # unfinished ones of a worker that died too
            if older != path:
                older.unlink(missing_ok=True)
        return path

    def newest(self) -> Path | None:
        """Return the newest checkpoint, if there is one."""
        return max(self.folder.glob("epoch-*.pt"), default=None, key=lambda path: path.name)

    def copy_from(self, other: CheckpointStore, epoch: int) -> Path:
        """Begin with another trial's state after an epoch; returns its file. Twice is as once.

        Raises FileNotFoundError where that is gone.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / file_name(epoch)
        if not path.exists():
            unfinished = path.with_suffix(".tmp")
            unfinished.unlink(missing_ok=True)
            _link(other.folder / path.name, unfinished)
            unfinished.replace(path)
        return path

    def has(self, epoch: int) -> bool:
        """Whether the state after an epoch is there."""
        return (self.folder / file_name(epoch)).is_file()

    def num_bytes(self, checkpoint: Path) -> int:
        """Return the size of a checkpoint and of the command's files; FileNotFoundError where it
        is gone."""
        return checkpoint.stat().st_size + sum(_sizes(self.files))

    def delete(self) -> None:
        """Remove all checkpoints of the trial."""
        shutil.rmtree(self.folder, ignore_errors=True)


def file_name(epoch: int) -> str:
    """Return the name of the file of a state after an epoch."""
    return f"epoch-{epoch:04d}.pt"


def _link(path: Path, target: Path) -> None:
    """Give a file, which is never written again, a second name; a copy where that can't be."""
    try:
        target.hardlink_to(path)
    except FileNotFoundError:
        raise
    except OSError:  # not on this file system
        shutil.copyfile(path, target)


def _sizes(folder: Path) -> Iterator[int]:
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # the command replaces its files meanwhile
            if not path.is_symlink() and path.is_file():
                yield path.stat().st_size


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a state that `CheckpointStore.save` wrote; raises RunsError for anything else."""
    state: dict[str, Any] = load_state(path, device)
    return state


def load_state(
    file: Path | IO[bytes], device: torch.device | str = "cpu", mmap: bool = False
) -> Any:
    """Read what `torch.save` wrote; raises RunsError where code would have to run for it."""
    try:
        with safe_globals(_ARRAYS), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol")  # of a foreign file
            return torch.load(file, map_location=device, weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        place = file if isinstance(file, Path) else "a checkpoint"
        raise RunsError(f"{place}: {_RULE}, but has {_foreign_objects(file)}") from error


def check_loadable(file: Path | IO[bytes], what: str) -> None:
    """Raise UserCodeError for what `torch.save` wrote, but `load_state` doesn't read."""
    if names := _foreign_objects(file):
        raise UserCodeError(
            f"{what}: {_RULE}, but has {names}: save the state_dict() of modules and optimizers, "
            "and other objects as bytes of your own, such as pickle.dumps gives"
        )


def _foreign_objects(file: Path | IO[bytes]) -> str:
    """Return the functions and classes that would have to run; none does to find them."""
    if not isinstance(file, Path):
        file.seek(0)
    try:
        with safe_globals(_ARRAYS):
            return ", ".join(sorted(get_unsafe_globals_in_checkpoint(file))[:5])
    except (ValueError, pickle.UnpicklingError):  # an older form of torch's, or not torch's
        return "another program's pickles"


def copied_to_cpu(value: Any) -> Any:
    """Copy the tensors in nested mappings and lists into the CPU's memory."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: copied_to_cpu(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(copied_to_cpu(child) for child in value)
    return value
