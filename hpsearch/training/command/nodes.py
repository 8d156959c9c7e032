"""The nodes of a trial beside the first, on which its launcher starts processes too."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hpsearch.training.command.environment import complete_environment
from hpsearch.training.command.failures import CommandEnd, first_cause, is_consequence
from hpsearch.training.command.process import CommandProcess


@dataclass(frozen=True)
class NodeCommand:
    """What a node runs: plain values, which travel to it. `log` takes what it prints."""

    words: tuple[str, ...]
    folder: str
    variables: dict[str, str]
    grace: float
    log: str
    shared: tuple[str, ...] = ()  # folders that all nodes must see


class OtherNodes(Protocol):
    """The nodes of a trial beside the first: how commands are run there."""

    @property
    def address(self) -> str:
        """Where the first node is reached by the others."""

    def start(self, commands: Sequence[NodeCommand]) -> None:
        """Begin to run a command on each."""

    def ends(self) -> Sequence[CommandEnd]:
        """Return how those commands ended that have, a node's loss included."""

    def stop(self) -> None:
        """Begin to end the commands."""

    def close(self) -> None:
        """Wait until all have ended, and let go of the nodes."""


class NodeRun:
    """A command as it runs on a node of its own, until it ends or is stopped by another thread."""

    def __init__(self) -> None:
        self._process: CommandProcess | None = None
        self._is_stopped = False
        self._lock = threading.Lock()

    def run(self, command: NodeCommand) -> CommandEnd:
        """Run a command to its end."""
        for folder in command.shared:
            if not Path(folder).is_dir():
                rule = "must be a folder that all nodes of a trial share"
                where = f"but {socket.gethostname()} doesn't have it"
                return CommandEnd(start_error=f"{folder}: {rule}, {where}")
        with Path(command.log).open("ab") as log, selectors.DefaultSelector() as selector:
            try:
                self._start(command, selector, log.fileno())
            except (OSError, ValueError) as error:  # as a word with a null
                return CommandEnd(start_error=str(error))
            return self._wait(selector)

    def stop(self) -> None:
        """Begin to end the command."""
        with self._lock:
            self._is_stopped = True
            if self._process is not None:
                self._process.ask_to_end()

    def _start(self, command: NodeCommand, selector: selectors.BaseSelector, log: int) -> None:
        with self._lock:
            self._process = CommandProcess(
                command.words,
                Path(command.folder),
                complete_environment(command.variables),
                command.grace,
                selector,
                (log, log),
            )
            if self._is_stopped:
                self._process.ask_to_end()

    def _wait(self, selector: selectors.BaseSelector) -> CommandEnd:
        process = self._process
        assert process is not None
        while not process.has_ended:
            for key, _ in selector.select():
                key.data()
            process.take_lines()
        process.stop()
        return process.end


#: seconds in which the loss of a node is noticed by others than its peers
LOSS_NOTICED_S = 30.0


class AllNodes:
    """A command on the nodes of its trial, of which this is the first."""

    def __init__(self, process: CommandProcess, number: int, others: OtherNodes | None) -> None:
        self.process = process
        self._number = number
        self._others = others

    @property
    def has_ended(self) -> bool:
        """Whether all have ended, or one has failed."""
        ends = self._ends()
        return len(ends) == self._number or bool(_errors(ends))

    @property
    def error(self) -> Exception | None:
        """What ended the trial, if it failed."""
        errors = _errors(self._ends())
        if self._number == 1 or not errors:
            return errors[0] if errors else None
        return first_cause(errors)

    def wait_for_cause(self, handle: Callable[[], None]) -> None:
        """Wait for other nodes' ends where one only lost its connection to them."""
        deadline = time.monotonic() + LOSS_NOTICED_S
        while len(ends := self._ends()) < self._number and time.monotonic() < deadline:
            if not all(map(is_consequence, _errors(ends))):
                break
            handle()

    def stop(self) -> None:
        """End the command everywhere; returns when that is done."""
        if self._others is not None:
            self._others.stop()
        self.process.stop()
        if self._others is not None:
            self._others.close()

    def _ends(self) -> list[CommandEnd]:
        own = [self.process.end] if self.process.has_ended else []
        return [*own, *(self._others.ends() if self._others is not None else ())]


def _errors(ends: Iterable[CommandEnd]) -> list[Exception]:
    return [end.error for end in ends if end.error is not None]
