"""One process of a training function that trains on several: `python -m ... CONFIG.json`.

A launcher starts it once a rank, with the rank in the environment. It calls the function with a
trial that reports to the search as a script does.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from hpsearch import reporting
from hpsearch.code_snapshot import use_snapshot
from hpsearch.spec import Command, TrialConfig
from hpsearch.training.checkpoints import check_loadable, load_state
from hpsearch.training.command import CommandTrainer, OtherNodes, TrialFolders
from hpsearch.training.user_code.reports import read_numbers
from hpsearch.training.user_code.saved import RANKS_STATE
from hpsearch.training.user_code.saved_files import packed
from hpsearch.training.user_code.trial import (
    Trial,
    call_user_code,
    check_state,
    program_of,
    state_of,
)


class RankTrial(Trial):
    """A trial as its training function sees it in one of several processes.

    All ranks report each epoch, and are stopped at the same report; the metrics are those of rank
    0, and so are the checkpoints.
    """

    def __init__(self, config: TrialConfig) -> None:
        self._file = reporting.checkpoint_dir() / RANKS_STATE
        self._saved = load_state(self._file) if self._file.exists() else {"epoch": 0}
        self.rank, self.world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        local = int(os.environ["LOCAL_RANK"])
        device = torch.device("cuda", local) if config.gpu > 0 else torch.device(config.device)
        super().__init__(config, device, self._saved["epoch"])

    def report(self, metrics: Mapping[str, Any], checkpoint: Any = None) -> None:
        """See FunctionTrial."""
        if checkpoint is not None:
            self.save_checkpoint(state_of(checkpoint), self.epoch + 1)
        values = read_numbers(metrics, self.epoch + 1)  # the worker sees one that isn't finite
        self.epoch += 1
        reporting.report(values, epoch=self.epoch, on_stop="raise")

    def save_checkpoint(self, state: Any, epoch: int | None = None) -> None:
        """See FunctionTrial; ranks other than 0 save nothing."""
        check_state(state)
        if self.rank != 0:
            return
        if isinstance(state, os.PathLike):
            state = packed(state)
        draft = self._file.with_suffix(".tmp")
        torch.save({"epoch": self.epoch if epoch is None else epoch, "state": state}, draft)
        check_loadable(draft, "save_checkpoint")
        draft.replace(self._file)

    def load_checkpoint(self) -> Any | None:
        """See FunctionTrial; every rank gets the state of rank 0."""
        if "state" not in self._saved:
            return None
        return self._as_saved(load_state(self._file, self.device)["state"])


def ranks_trainer(
    config: TrialConfig, folders: TrialFolders | None, nodes: OtherNodes | None
) -> CommandTrainer:
    """Return the trainer of a training function that runs as several processes."""
    folders = folders or TrialFolders.temporary()
    folders.outputs.mkdir(parents=True, exist_ok=True)
    path = folders.outputs.resolve() / "trial.json"
    path.write_text(json.dumps(asdict(config)))
    command = Command(run=("python", "-m", __name__, str(path)), arguments="none")
    plain = command.model_dump(mode="json")
    return CommandTrainer(replace(config, command=plain, metrics=None), folders, nodes)


def main() -> None:
    """Call the function of a trial."""
    config = TrialConfig(**json.loads(Path(sys.argv[1]).read_text()))
    use_snapshot(config.code, config.folder)
    trial = RankTrial(config)
    _, sys.argv = program_of(config)
    torch.set_num_threads(max(1, config.cpu // config.processes))
    result: Any = call_user_code(config, trial)
    if inspect.isgenerator(result):
        reports: Iterator[Any] = result
        for metrics in reports:
            trial.report(metrics)


if __name__ == "__main__":
    main()
