"""What user code saved, out of the checkpoint of its trial."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from hpsearch.errors import HpsearchError
from hpsearch.spec.trials import FILES
from hpsearch.training.checkpoints import load_checkpoint, load_state
from hpsearch.training.user_code.saved_files import is_packed, temporary_files, unpack_files

#: what the first of several processes writes to its files, with its state
RANKS_STATE = "state.pt"
#: of the state of a function's or a class' trainer
_KEYS = {"epoch", "checkpoint"}


def load_saved(checkpoint: Path, device: torch.device | str = "cpu") -> Any:
    """Return what a training function, or a class, saved; raises HpsearchError if it never did.

    Files that were saved are copies in a temporary folder, until the process ends; this is the
    path.
    """
    state = _state(_required(read_saved(checkpoint, device)), device)
    return temporary_files(state, load_saved) if is_packed(state) else state


def read_saved(checkpoint: Path, device: torch.device | str = "cpu") -> Any:
    """Return the state, or the bytes of its file; None where nothing was saved."""
    state = load_checkpoint(checkpoint, device)["trainer"]
    if "checkpoint" in state:
        return state["checkpoint"]
    of_ranks = checkpoint.parent / FILES / RANKS_STATE
    return load_state(of_ranks, device)["state"] if of_ranks.exists() else None


def write_saved(saved: Any, folder: Path) -> Path:
    """Write what `read_saved` returned into a folder: files as they were, a state as
    `checkpoint.pt`, as `torch.save` does. Returns what was written."""
    if is_packed(state := _state(saved)):
        return unpack_files(state, folder)
    file = folder / "checkpoint.pt"
    file.write_bytes(saved) if isinstance(saved, bytes) else torch.save(saved, file)
    return file


def unpack(checkpoint: Path) -> Path:
    """Replace a copy of a checkpoint of user code by what that saved; leaves others as they are.

    A file that was saved keeps its suffix, a folder has none: returns the path. Raises
    HpsearchError, and removes the copy, where it never saved, where the file isn't one that a
    trial wrote, and where the place is taken.
    """
    with tempfile.TemporaryDirectory(dir=checkpoint.parent) as folder:
        try:
            trainer = load_checkpoint(checkpoint)["trainer"]
            if not isinstance(trainer, Mapping) or trainer.keys() - {"objective"} != _KEYS:
                return checkpoint
            written = write_saved(_required(trainer["checkpoint"]), Path(folder))
            place = checkpoint.with_suffix("" if written.is_dir() else written.suffix)
            if place != checkpoint and place.exists():
                raise HpsearchError(f"{place} is there already: move it, or choose another --to")
        except BaseException:
            checkpoint.unlink()
            raise
        checkpoint.unlink()
        return written.rename(place)


def _state(saved: Any, device: torch.device | str = "cpu") -> Any:
    return load_state(io.BytesIO(saved), device) if isinstance(saved, bytes) else saved


def _required(saved: Any) -> Any:
    if saved is None:
        raise HpsearchError(
            "the trial saved no checkpoint: save one in the training function by "
            "trial.save_checkpoint"
        )
    return saved
