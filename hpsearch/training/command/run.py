"""One run of a trial's command, and what comes of it: reports, lines, its end."""

from __future__ import annotations

import glob
import selectors
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from hpsearch.errors import UserCodeError, nearest_names, placed
from hpsearch.registry import ComponentOf
from hpsearch.reporting import CHECKPOINT_DIR, SOCKET
from hpsearch.spec import Command, TrialConfig
from hpsearch.training.command.addresses import free_port
from hpsearch.training.command.arguments import fill, flat, invocation, text
from hpsearch.training.command.environment import added_variables, complete_environment
from hpsearch.training.command.epochs import EpochMetrics
from hpsearch.training.command.folders import TrialFolders
from hpsearch.training.command.nodes import AllNodes, NodeCommand, OtherNodes
from hpsearch.training.command.process import CommandProcess
from hpsearch.training.command.processes import Rendezvous, launched
from hpsearch.training.command.server import ReportServer
from hpsearch.training.command.sources import FAMILY, MetricSource
from hpsearch.training.command.working_dir import linked_folder
from hpsearch.training.seeds import derive_seed

#: seconds between two looks at the files of a script
POLL_S = 0.05
_PURPOSE = "command"


class CommandRun:
    """One run of the script, and the events that come of it."""

    def __init__(
        self,
        config: TrialConfig,
        command: Command,
        folders: TrialFolders,
        epochs: EpochMetrics,
        others: OtherNodes | None = None,
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
        for report in self._source.read([]):
            epochs.add(report)
        self._selector = selectors.DefaultSelector()
        address = others.address if others is not None else None
        self._server = ReportServer(self._selector, epochs.add, address)
        self._grace = command.stop_grace
        variables = added_variables(config, called.environment, self._source.environment())
        variables[CHECKPOINT_DIR] = str(folders.checkpoints.resolve())
        first, *rest = self._commands(config, called.words, folder, variables, address)
        try:
            process = CommandProcess(
                first.words,
                folder,
                complete_environment(first.variables),
                self._grace,
                self._selector,
            )
        except (OSError, ValueError) as error:  # words that are too long, or have a null
            self._close()
            raise UserCodeError(f"the command can't be run: {error}") from error
        self._nodes = AllNodes(process, config.nodes, others)
        if others is not None:
            others.start(rest)

    def _commands(
        self,
        config: TrialConfig,
        words: Sequence[str],
        folder: Path,
        variables: Mapping[str, str],
        address: str | None,
    ) -> Iterator[NodeCommand]:
        """Yield what each node runs."""
        meeting = Rendezvous(address, free_port(address)) if address is not None else None
        outputs = self._folders.outputs.resolve()
        for node in range(config.nodes):
            socket = str(self._server.path) if node == 0 else self._server.remote
            own = {SOCKET: socket, **({"NODE_RANK": str(node)} if meeting else {})}
            yield NodeCommand(
                launched(words, config, node, meeting),
                str(folder),
                {**variables, **own},
                self._grace,
                str(outputs / f"node-{node}.log"),
                (str(folder), str(outputs), variables[CHECKPOINT_DIR]),
            )

    def wait(self) -> bool:
        """Release waiting reports and take what comes; returns whether the command has ended."""
        self._server.release()
        self._handle(POLL_S)
        self._server.check_waiting()
        for report in self._source.read(self._nodes.process.take_lines()):
            self._epochs.add(report)
        return self._nodes.has_ended

    def stop(self) -> None:
        """Stop the command, by what the script does of itself first: see `hpsearch.report`."""
        self._server.stop()
        deadline = time.monotonic() + self._grace
        while self._server.is_ending and not self._nodes.has_ended and time.monotonic() < deadline:
            self._handle(POLL_S)
        self._nodes.stop()
        self._close()

    def check_end(self, epochs: EpochMetrics, objective: str) -> None:
        """Raise where the command failed, or has reported nothing."""
        nodes = self._nodes
        nodes.wait_for_cause(partial(self._handle, POLL_S))
        error = nodes.error  # before the others are stopped
        nodes.stop()
        for report in self._source.read(nodes.process.take_lines(), at_end=True):
            epochs.add(report)
        self._close()
        if error is not None:
            raise error
        if epochs.known == 0:
            rule = f"the command ended without a value of the objective {objective!r}"
            near = nearest_names(objective, epochs.seen)
            raise UserCodeError(f"{rule}: {self._lack(epochs)}", nearest=near)

    def _lack(self, epochs: EpochMetrics) -> str:
        """Say what was missing in a script that completed no epoch."""
        if epochs.last_step is not None:
            steps = f"its last step was {epochs.last_step}"
            return f"{steps}, and an epoch has {epochs.steps_per_epoch} (steps_per_epoch)"
        if epochs.seen:
            return f"it reported {', '.join(epochs.seen)}"
        if ranks := sorted(self._server.ranks):
            return f"rank {ranks[0]} reported, but the metrics of a trial are those of rank 0"
        return self._source.missing()

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
        "seed": derive_seed(config.seed, config.stream, _PURPOSE) % 2**32,  # numpy takes no more
        "trial": config.number,
        "checkpoint_dir": folders.checkpoints.resolve(),
        "output_dir": folders.outputs.resolve(),
    }
