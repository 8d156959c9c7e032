"""What user code knows of its trial, and how it is called."""

from __future__ import annotations

import copy
import inspect
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hpsearch import registry
from hpsearch.errors import UserCodeError
from hpsearch.importing import program_arguments
from hpsearch.spec import TrialConfig
from hpsearch.training.checkpoints import check_loadable, load_state
from hpsearch.training.seeds import derive_seed, seed_all
from hpsearch.training.user_code.copied import of_its_own
from hpsearch.training.user_code.lockstep import Lockstep
from hpsearch.training.user_code.saved_files import is_packed, packed, temporary_files

_PURPOSE = "training function"


class Trial:
    """What user code knows of its trial. Epochs count from 1; `epoch` is the last reported.

    `rank` is the process' number of `world_size`, where a launcher starts several.
    """

    rank = 0
    world_size = 1

    def __init__(self, config: TrialConfig, device: torch.device, epoch: int = 0) -> None:
        self.number = config.number
        self.max_epochs = config.max_epochs
        #: below 2**32: numpy and others refuse larger ones
        self.seed = derive_seed(config.seed, config.stream, _PURPOSE) % 2**32
        self.device = device
        self.epoch = epoch

    def _as_saved(self, state: Any) -> Any:
        """Return a state as it was saved: a path of files, which are there as long as this is."""
        return temporary_files(state, self) if is_packed(state) else state


@dataclass
class Saved:
    """A state as `torch.save` wrote it, and the number of epochs that it was trained."""

    epoch: int = 0
    checkpoint: bytes | None = None
    #: whether it was saved after the report of its epoch, or may be, as far as is known
    follows_report: bool = True


class FunctionTrial(Trial):
    """A trial as its training function sees it: where it reports, and where its states are."""

    def __init__(
        self, config: TrialConfig, device: torch.device, saved: Saved, lockstep: Lockstep
    ) -> None:
        super().__init__(config, device, saved.epoch)
        self._config = config
        self._saved = saved
        self._lockstep = lockstep

    def report(self, metrics: Mapping[str, Any], checkpoint: Any = None) -> None:
        """Report the metrics of an epoch; returns when the next epoch is wanted.

        `checkpoint` is what to save with it (see `save_checkpoint`), or a module, whose
        state_dict() is saved.
        """
        if checkpoint is not None:
            self.save_checkpoint(state_of(checkpoint), self.epoch + 1)
        self._lockstep.put(metrics)

    def save_checkpoint(self, state: Any, epoch: int | None = None) -> None:
        """Keep a state for retries, pauses and the best trials: tensors, arrays, plain values.

        Of a path (pathlib.Path) the file is kept, or all files of the folder. `epoch` is the
        number of epochs that the state was trained: by default those reported, so save after the
        report, or pass `trial.epoch + 1` before it. Raises UserCodeError for other objects, which
        could be loaded only by running code from the file, and for an empty state.
        """
        trained = self.epoch if epoch is None else epoch
        if trained > self.max_epochs:
            self._lockstep.cut_short()
        if isinstance(state, os.PathLike):
            state = packed(state)
        check_state(state)
        buffer = io.BytesIO()  # a copy at once: training continues in the same tensors
        torch.save(state, buffer)
        check_loadable(buffer, "save_checkpoint")
        self._saved.checkpoint = buffer.getvalue()
        self._saved.epoch = trained
        self._saved.follows_report = trained == self.epoch
        if self._saved.follows_report:
            self._lockstep.rest()

    def load_checkpoint(self) -> Any | None:
        """Return the state to continue from; None where the trial starts from scratch.

        Files that were saved are copies in a temporary folder, and this is the path. In a
        population it may be the state of another trial, in which optimizers have this one's
        hyperparameters.
        """
        if self._saved.checkpoint is None:
            return None
        state = load_state(io.BytesIO(self._saved.checkpoint), self.device)
        return self._as_saved(of_its_own(state, self._config, self._saved.epoch))


def is_class(config: TrialConfig) -> bool:
    """Whether `config.trainable` names a class; UserCodeError where it can't be imported."""
    name, folder = str(config.trainable), Path(config.folder)
    return inspect.isclass(registry.get("trainable", name, folder).factory)


def state_of(checkpoint: Any) -> Any:
    """Return the state of a module, and a state as it is."""
    return checkpoint.state_dict() if isinstance(checkpoint, nn.Module) else checkpoint


def check_state(state: Any) -> None:
    """Raise UserCodeError for a state that holds nothing: it would look like none when loaded."""
    if state is None or (isinstance(state, Mapping | list | tuple) and not state):
        rule = "save_checkpoint: must hold what training continues from"
        raise UserCodeError(f"{rule}, but got {state!r}")


def call_user_code(config: TrialConfig, trial: Trial) -> Any:
    """Call the function or make the object, seeded for this trial and where it starts."""
    seed = derive_seed(config.seed, config.stream, _PURPOSE, trial.epoch)
    seed_all(seed)
    component = registry.get("trainable", str(config.trainable), Path(config.folder))
    return component.build({}, config=copy.deepcopy(config.values["space"]), trial=trial)


def program_of(config: TrialConfig) -> tuple[Path, list[str]]:
    """Where a trial's code runs, and its sys.argv."""
    folder = Path(config.folder)
    return folder, program_arguments(str(config.trainable).rpartition(":")[0], folder)
