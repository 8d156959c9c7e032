"""A driver and its lives, without Ray: real records, samplers, actors and checkpoints."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hpsearch.early_stopping import make_early_stopper
from hpsearch.record import Record, TrialRecord
from hpsearch.samplers import make_sampler
from hpsearch.spec import SearchSpec
from hpsearch.tuning.budgets import Clock
from hpsearch.tuning.control import SearchControl
from hpsearch.tuning.on_ray.actor import TrialActor


class Driver:
    """One life of a driver: real parts, with `slots` workers that move in turn."""

    def __init__(
        self, record: Record, folder: Path, slots: int = 1, clock: Clock = time.monotonic
    ) -> None:
        spec = record.spec
        rule = make_early_stopper(spec)
        sampler = make_sampler(
            spec.search.sampler,
            record.space,
            seed=spec.search.seed,
            direction=spec.objective.direction,
            rungs=rule.rungs,
            slots=slots,
        )
        self.record, self._folder, self._slots = record, folder, slots
        self.control = SearchControl(
            record, sampler, rule, folder / "checkpoints", folder / "stop", clock=clock
        )

    def reports(self) -> Iterator[TrialRecord]:
        """Train; yields after each report that the control took, and ends with the search."""
        workers: deque[tuple[TrialRecord, TrialActor]] = deque()
        try:
            while True:
                while len(workers) < self._slots and not self.control.is_over:
                    trial = self.control.next_trial()
                    if trial is None:
                        break
                    workers.append((trial, self._start(trial)))
                if not workers:
                    break
                trial, worker = workers.popleft()
                if self.control.take_report(trial.number, worker.step()["report"]):
                    worker.cleanup()
                else:
                    workers.append((trial, worker))
                yield trial
        finally:  # a driver that dies takes its workers with it
            for _, worker in workers:
                worker.cleanup()
        self.control.close()

    def _start(self, trial: TrialRecord) -> TrialActor:
        worker = TrialActor.__new__(TrialActor)  # Tune's own set-up makes folders and loggers
        config = {"trial": self.control.config(trial)}
        worker.setup(config, checkpoints=str(self._folder / "checkpoints"))
        self.control.start_attempt(trial.number)
        return worker


def begin(spec: SearchSpec, folder: Path) -> Record:
    folder.mkdir(exist_ok=True)
    return Record.create(folder / "record.journal", spec)


def finish(record: Record, folder: Path, slots: int = 1) -> Record:
    for _ in Driver(record, folder, slots).reports():
        pass
    return record


def summary(record: Record) -> list[tuple[Any, ...]]:
    return [
        (t.number, t.params, t.curve, t.outcome, t.reason, t.stopped_by) for t in record.trials
    ]


def die_and_go_on(
    record: Record, folder: Path, rng: random.Random, slots: int = 1, at_most: int = 12
) -> tuple[Record, int]:
    """Let drivers die after up to so many reports each until the search has ended; returns its
    record, and how many died."""
    deaths, name = 0, record.name
    while record.state == "running":
        num_reports = rng.randint(0, at_most)
        for i, _ in enumerate(Driver(record, folder, slots).reports()):
            if i == num_reports:
                deaths += 1
                cut_last_entry(folder / "record.journal", rng)
                break
        record = Record.reopen(folder / "record.journal", name)
        if record.state == "running":
            record.go_on()
    return record, deaths


def cut_last_entry(journal: Path, rng: random.Random) -> None:
    content = journal.read_bytes()
    start = content.rfind(b"\n", 0, len(content) - 1) + 1
    journal.write_bytes(content[: rng.randint(start, len(content))])


def kept_files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.glob("checkpoints/*/*")}
