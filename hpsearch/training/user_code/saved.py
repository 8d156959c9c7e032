"""What user code saved, out of the checkpoint of its trial."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from hpsearch.errors import HpsearchError
from hpsearch.spec.trials import FILES
from hpsearch.training.checkpoints import load_checkpoint, load_state

#: what the first of several processes writes to its files, with its state
RANKS_STATE = "state.pt"
#: of the state of a function's or a class' trainer
_KEYS = {"epoch", "checkpoint"}


def load_saved(checkpoint: Path, device: torch.device | str = "cpu") -> Any:
    """Return what a training function, or a class, saved; raises HpsearchError if it never did."""
    saved = _required(read_saved(checkpoint, device))
    return load_state(io.BytesIO(saved), device) if isinstance(saved, bytes) else saved


def read_saved(checkpoint: Path, device: torch.device | str = "cpu") -> Any:
    """Return the state, or the bytes of its file; None where nothing was saved."""
    state = load_checkpoint(checkpoint, device)["trainer"]
    if "checkpoint" in state:
        return state["checkpoint"]
    of_ranks = checkpoint.parent / FILES / RANKS_STATE
    return load_state(of_ranks, device)["state"] if of_ranks.exists() else None


def write_saved(saved: Any, file: Path) -> None:
    """Write what `read_saved` returned as `torch.save` does."""
    file.write_bytes(saved) if isinstance(saved, bytes) else torch.save(saved, file)


def unpack(checkpoint: Path) -> None:
    """Replace a copy of a checkpoint of user code by what that saved; leaves others as they are.

    Raises HpsearchError, and removes the copy, where it never saved, and where the file isn't one
    that a trial wrote.
    """
    draft = checkpoint.with_suffix(".tmp")
    try:
        trainer = load_checkpoint(checkpoint)["trainer"]
        if isinstance(trainer, Mapping) and trainer.keys() - {"objective"} == _KEYS:
            write_saved(_required(trainer["checkpoint"]), draft)
            draft.replace(checkpoint)
    except BaseException:
        draft.unlink(missing_ok=True)
        checkpoint.unlink()
        raise


def _required(saved: Any) -> Any:
    if saved is None:
        raise HpsearchError(
            "the trial saved no checkpoint: save one in the training function by "
            "trial.save_checkpoint"
        )
    return saved
