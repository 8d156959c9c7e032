"""What user code saved, out of the checkpoint of its trial."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from hpsearch.errors import HpsearchError
from hpsearch.training.checkpoints import load_checkpoint, load_state

#: of the state of a function's or a class' trainer
_KEYS = {"epoch", "checkpoint"}


def load_saved(checkpoint: Path, device: torch.device | str = "cpu") -> Any:
    """Return what a training function, or a class, saved; raises HpsearchError if it never did."""
    saved = load_checkpoint(checkpoint, device)["trainer"]["checkpoint"]
    _require(saved)
    return load_state(io.BytesIO(saved), device) if isinstance(saved, bytes) else saved


def unpack(checkpoint: Path) -> None:
    """Replace a copy of a checkpoint of user code by what that saved; leaves others as they are.

    Raises HpsearchError, and removes the copy, where it never saved, and where the file isn't one
    that a trial wrote.
    """
    draft = checkpoint.with_suffix(".tmp")
    try:
        trainer = load_checkpoint(checkpoint)["trainer"]
        if isinstance(trainer, Mapping) and trainer.keys() - {"objective"} == _KEYS:
            saved = trainer["checkpoint"]
            _require(saved)
            draft.write_bytes(saved) if isinstance(saved, bytes) else torch.save(saved, draft)
            draft.replace(checkpoint)
    except BaseException:
        draft.unlink(missing_ok=True)
        checkpoint.unlink()
        raise


def _require(saved: Any) -> None:
    if saved is None:
        raise HpsearchError(
            "the trial saved no checkpoint: save one in the training function by "
            "trial.save_checkpoint"
        )
