"""A script of the user's as a trainer: `train_epoch` lets it run up to its next epoch."""

from __future__ import annotations

import glob
import math
import os
import selectors
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpsearch.errors import UserCodeError, placed
from hpsearch.registry import ComponentOf
from hpsearch.reporting import CHECKPOINT_DIR, RANK_VARIABLES, SOCKET
from hpsearch.spec import Command, TrialConfig
from hpsearch.training.checkpoints import FILES_LOG
from hpsearch.training.command.arguments import fill, flat, invocation, placeholders, text
from hpsearch.training.command.epoch_log import EpochLog
from hpsearch.training.command.epochs import EpochMetrics
from hpsearch.training.command.failures import LostProcessError, failure
from hpsearch.training.command.process import CommandProcess
from hpsearch.training.command.processes import launched
from hpsearch.training.command.server import ReportServer
from hpsearch.training.command.sources import FAMILY, MetricSource
from hpsearch.training.command.working_dir import linked_folder
from hpsearch.training.protocol import AfterLastEpochError
from hpsearch.training.seeds import derive_seed

#: seconds between two looks at the files of a script
POLL_S = 0.05
_PURPOSE = "command"


@dataclass(frozen=True)
class TrialFolders:
    """Where a trial's files are: its checkpoints, kept while it is, and its other outputs."""

    checkpoints: Path
    outputs: Path

    @property
    def log(self) -> Path:
        """The file of what the script reported, which lives as long as its checkpoints."""
        return self.checkpoints.with_name(FILES_LOG)

    @classmethod
    def temporary(cls) -> TrialFolders:
        """Return folders that nobody keeps."""
        folder = Path(tempfile.mkdtemp(prefix="hpsearch-trial-"))
        return cls(folder / "checkpoints", folder / "outputs")


class CommandTrainer:
    """Trains by a command.

    The script stands still in `hpsearch.report` between two calls of `train_epoch`; one whose
    metrics are read from what it writes runs on.
    """

    end_reason = "exited"

    def __init__(self, config: TrialConfig, folders: TrialFolders | None = None) -> None:
        assert config.command is not None
        self._config = config
        self._folders = folders or TrialFolders.temporary()
        self._command = Command.model_validate(config.command)
        log = EpochLog(self._folders.log)
        self._epochs = EpochMetrics(
            config.metric, self._command.steps_per_epoch, config.max_epochs, log
        )
        self._epochs.resume(self.state_dict(), self._has_checkpoint())
        self._run: _Run | None = None
        self._has_ended = False

    @property
    def epoch(self) -> int:
        """Epochs reported so far."""
        return self._epochs.epoch

    def train_epoch(self) -> dict[str, float] | None:
        """Let the script run up to its next epoch; None if it has ended instead.

        Raises UserCodeError for a script that never reported the objective, CommandError with the
        last lines of standard error where it failed, LostProcessError where it was killed.
        """
        started = time.perf_counter()
        while (metrics := self._epochs.take()) is None:
            if self._has_ended:
                return None
            self._wait()
        metrics.setdefault("seconds", time.perf_counter() - started)
        if self.epoch == self._config.max_epochs:
            try:
                self._let_it_finish()
            except Exception as error:  # of the script
                raise AfterLastEpochError(metrics, error) from error
        return metrics

    def state_dict(self) -> dict[str, Any]:
        """Return how far the script got; its checkpoints are files of its own."""
        return self._epochs.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Start the script again, which finds its checkpoints."""
        self.close()
        self._has_ended = False
        folder = self._folders.checkpoints
        if state["epoch"] and not folder.is_dir():
            rule = "the checkpoints of the script must stay while the search runs"
            raise UserCodeError(f"{folder}: {rule}, but the folder is gone")
        self._epochs.resume(state, self._has_checkpoint())

    def close(self) -> None:
        """Stop the script: an exception or SIGTERM, then SIGKILL."""
        run, self._run = self._run, None
        if run is not None:
            run.stop()

    def _has_checkpoint(self) -> bool:
        folder = self._folders.checkpoints
        return folder.is_dir() and any(folder.iterdir())

    def _wait(self) -> None:
        """Let the script run until something happens."""
        if self._run is None:
            self._run = _Run(self._config, self._command, self._folders, self._epochs)
        if self._run.wait():
            run, self._run, self._has_ended = self._run, None, True
            run.check_end(self._epochs, self._config.metric)

    def _let_it_finish(self) -> None:
        """After the last epoch wait for the end of the script.

        One that isn't told how many epochs there are would train on: it has its grace to end.
        """
        is_told = {"max_epochs", "max_steps"} & set(placeholders(self._command.run))
        deadline = math.inf if is_told else time.monotonic() + self._command.stop_grace
        while not self._has_ended and time.monotonic() <= deadline:
            if self._epochs.has_more and not is_told:
                break
            self._wait()
        self.close()


class _Run:
    """One run of the script, and the events that come of it."""

    def __init__(
        self, config: TrialConfig, command: Command, folders: TrialFolders, epochs: EpochMetrics
    ) -> None:
        for folder in (folders.checkpoints, folders.outputs):
            folder.mkdir(parents=True, exist_ok=True)
        self._epochs = epochs
        self._folders = folders
        spec_folder = Path(config.folder).resolve()
        folder = (
            linked_folder(spec_folder, folders.outputs / "working_dir", _written(config))
            if command.working_dir == "trial"
            else spec_folder
        )
        filled = filled_values(config, command, folders)
        self._source = make_source(config, folder, folders.outputs, filled)
        called = invocation(command, config.values["space"], filled, folders.outputs)
        environment = _environment(config, called.environment, self._source)
        for report in self._source.read([]):
            epochs.add(report)
        self._selector = selectors.DefaultSelector()
        self._server = ReportServer(self._selector, epochs.add)
        environment |= {
            SOCKET: str(self._server.path),
            CHECKPOINT_DIR: str(folders.checkpoints.resolve()),
        }
        self._grace = command.stop_grace
        words = launched(called.words, config)
        try:
            self._process = CommandProcess(words, folder, environment, self._grace, self._selector)
        except (OSError, ValueError) as error:  # words that are too long, or have a null
            self._close()
            raise UserCodeError(f"the command can't be run: {error}") from error

    def wait(self) -> bool:
        """Let waiting reports go on and take what comes; returns whether the command has ended."""
        self._server.release()
        self._handle(POLL_S)
        for report in self._source.read(self._process.take_lines()):
            self._epochs.add(report)
        return self._process.has_ended

    def stop(self) -> None:
        """Stop the command, by an exception in the script first where it asked for that."""
        if self._server.stop():
            deadline = time.monotonic() + self._grace
            while not self._process.has_ended and time.monotonic() < deadline:
                self._handle(POLL_S)
        self._process.stop()
        self._close()

    def check_end(self, epochs: EpochMetrics, objective: str) -> None:
        """Raise where the command failed, or has reported nothing."""
        process = self._process
        process.stop()
        for report in self._source.read(process.take_lines(), at_end=True):
            epochs.add(report)
        self._close()
        if process.is_lost:
            raise LostProcessError("the supervisor of the command was killed")
        if process.start_error is not None:
            raise UserCodeError(f"the command can't be run: {process.start_error}")
        if process.exit_code != 0:
            raise failure(process.exit_code or 0, list(process.errors))
        if epochs.epoch == 0 and not epochs.has_more:
            raise UserCodeError(
                f"the command ended without a value of the objective {objective!r}: "
                + (
                    f"it reported {', '.join(epochs.seen)}"
                    if epochs.seen
                    else self._source.missing()
                )
            )

    def _handle(self, timeout: float) -> None:
        for key, _ in self._selector.select(timeout):
            key.data()

    def _close(self) -> None:
        self._server.close()
        self._selector.close()
        with suppress(OSError):  # the script has written to it
            self._folders.outputs.rmdir()


def _written(config: TrialConfig) -> set[str]:
    """Return what the script writes its metrics to in its working directory."""
    path = (config.metrics or {}).get("path")
    is_relative = isinstance(path, str) and not Path(path).is_absolute()
    return {Path(str(path)).parts[0]} if is_relative else set()


def make_source(
    config: TrialConfig, folder: Path, files: Path, filled: Mapping[str, Any]
) -> MetricSource:
    """Return where the metrics of a trial come from."""
    section = dict(config.metrics or {"name": "report"})
    if isinstance(section.get("path"), str):
        # what is filled in isn't a pattern of paths
        values = {**filled, **flat(config.values["space"])}
        escaped = {name: glob.escape(text(value)) for name, value in values.items()}
        section["path"] = fill(section["path"], escaped)
    with placed("metrics"):
        source: MetricSource = ComponentOf(FAMILY).build(
            section, Path(config.folder), working_dir=folder, files=files.resolve()
        )
    return source


def filled_values(config: TrialConfig, command: Command, folders: TrialFolders) -> dict[str, Any]:
    """Return what the placeholders stand for that aren't hyperparameters."""
    steps = command.steps_per_epoch
    return {
        "max_epochs": config.max_epochs,
        "max_steps": config.max_epochs * steps if steps is not None else None,
        "seed": derive_seed(config.seed, config.number, _PURPOSE) % 2**32,  # numpy takes no more
        "trial": config.number,
        "checkpoint_dir": folders.checkpoints.resolve(),
        "output_dir": folders.outputs.resolve(),
    }


def _environment(
    config: TrialConfig, own: Mapping[str, str], source: MetricSource
) -> dict[str, str]:
    """Return the script's environment: this process', in which it finds the same Python."""
    wanted = dict(source.environment())
    # a worker that Slurm or MPI started has a rank of its own
    inherited = {key: os.environ[key] for key in os.environ if key not in RANK_VARIABLES}
    paths = [wanted.pop("PYTHONPATH", ""), inherited.get("PYTHONPATH", "")]
    return {
        **inherited,
        "PATH": command_path(),
        "PYTHONUNBUFFERED": "1",  # lines are read as they come
        "OMP_NUM_THREADS": str(max(1, config.cpu // config.processes)),
        **wanted,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        **own,
    }


def command_path() -> str:
    """Return where commands are looked for: beside this Python first, as in its environment."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
