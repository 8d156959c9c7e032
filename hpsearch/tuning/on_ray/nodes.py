"""The other nodes of a trial: an actor on each, in the trial's placement group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from hpsearch.spec import TrialConfig
from hpsearch.training.command import CommandEnd, NodeCommand, NodeRun

#: seconds beyond a command's own grace in which a node has to end it
_CLOSING_S = 10.0


class RayNodes:
    """Runs commands on the nodes of this actor's placement group but its own, the first bundle."""

    def __init__(self, config: TrialConfig) -> None:
        self._resources = {"num_cpus": config.cpu, "num_gpus": config.gpu}
        self._grace = config.stop_grace + _CLOSING_S
        self._actors: list[Any] = []
        self._running: list[Any] = []
        self._ends: list[CommandEnd] = []

    @property
    def address(self) -> str:
        """See OtherNodes."""
        return str(ray.util.get_node_ip_address())

    def start(self, commands: Sequence[NodeCommand]) -> None:
        """See OtherNodes."""
        self._ends = []
        self._actors = [self._actor(i) for i in range(1, len(commands) + 1)]
        self._running = [
            actor.run.remote(command)
            for actor, command in zip(self._actors, commands, strict=True)
        ]

    def ends(self) -> Sequence[CommandEnd]:
        """See OtherNodes."""
        if self._running:
            ended, self._running = ray.wait(
                self._running, num_returns=len(self._running), timeout=0
            )
            self._ends += map(_end_of, ended)
        return self._ends

    def stop(self) -> None:
        """See OtherNodes."""
        for actor in self._actors:
            actor.stop.remote()

    def close(self) -> None:
        """See OtherNodes."""
        if self._running:
            ray.wait(self._running, num_returns=len(self._running), timeout=self._grace)
        for actor in self._actors:
            ray.kill(actor)
        self._actors, self._running = [], []

    def _actor(self, bundle: int) -> Any:
        strategy = PlacementGroupSchedulingStrategy(
            ray.util.get_current_placement_group(), placement_group_bundle_index=bundle
        )
        # a thread runs the command, another stops it
        remote = ray.remote(NodeRun).options(
            scheduling_strategy=strategy, max_concurrency=2, **self._resources
        )
        return remote.remote()


def _end_of(ended: Any) -> CommandEnd:
    try:
        end: CommandEnd = ray.get(ended)
    except RayError as error:  # the actor or its node has died
        return CommandEnd(lost=f"a node of the trial was lost: {str(error).splitlines()[0]}")
    return end
