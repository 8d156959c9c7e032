"""The states of a trial: copied while it trains, and on disk, whole or absent, only the newest."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


class CheckpointStore:
    """A trial's checkpoints: `FOLDER/trial-0007/epoch-0003.pt`."""

    def __init__(self, folder: Path, number: int) -> None:
        self.folder = folder / f"trial-{number:04d}"

    def save(self, epoch: int, state: dict[str, Any]) -> Path:
        """Write a state atomically and drop the older ones; returns its file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"epoch-{epoch:04d}.pt"
        unfinished = path.with_suffix(".tmp")
        with unfinished.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        for older in self.folder.glob("epoch-*"):  # unfinished ones of a worker that died too
            if older != path:
                older.unlink(missing_ok=True)
        return path

    def newest(self) -> Path | None:
        """Return the newest checkpoint, if there is one."""
        return max(self.folder.glob("epoch-*.pt"), default=None, key=lambda path: path.name)

    def delete(self) -> None:
        """Remove all checkpoints of the trial."""
        shutil.rmtree(self.folder, ignore_errors=True)


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a state that `CheckpointStore.save` wrote.

    A user's training function may have saved any object, so this unpickles: the file comes from
    the search's own folder.
    """
    state: dict[str, Any] = torch.load(path, map_location=device, weights_only=False)
    return state


def copied_to_cpu(value: Any) -> Any:
    """Copy the tensors in nested mappings and lists into the CPU's memory."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: copied_to_cpu(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(copied_to_cpu(child) for child in value)
    return value
