"""The other nodes of a trial as threads of this process, whose commands are real processes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from hpsearch.training.command import CommandEnd, NodeCommand, NodeRun


class ThreadNodes:
    """See OtherNodes."""

    address = "127.0.0.1"

    def start(self, commands: Sequence[NodeCommand]) -> None:
        self._pool = ThreadPoolExecutor(len(commands))
        self._runs = [NodeRun() for _ in commands]
        self._futures: list[Future[CommandEnd]] = [
            self._pool.submit(run.run, command)
            for run, command in zip(self._runs, commands, strict=True)
        ]

    def ends(self) -> list[CommandEnd]:
        return [future.result() for future in self._futures if future.done()]

    def stop(self) -> None:
        for run in self._runs:
            run.stop()

    def close(self) -> None:
        self._pool.shutdown()
