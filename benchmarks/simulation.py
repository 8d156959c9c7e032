"""Measure simulated searches: 10,000 trials on 500 workers, over tables of networks.

    python -m benchmarks.simulation [--tasks hpobench/car] [--trials 10000] [--workers 500]
        [--samplers random auto] [--rules asha asha_promotion]

The searches are `hpsearch.simulation`'s, the curves those of `benchmarks.tables`: a trial takes
its row's seconds. Printed are the seconds that a simulation takes, of the wall clock and of the
processor, what is simulated in them, and how the replay of its own record agrees.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Mapping
from importlib.metadata import version

import numpy as np

from benchmarks.tables import MAX_EPOCHS, Task, load_task
from hpsearch.formatting import show_seconds
from hpsearch.simulation import Training, better_trials, replay, simulate
from hpsearch.spec import Scalar, SearchSpec, draft_spec


class TableCurves:
    """The simulated curves of a table's networks."""

    max_epochs = MAX_EPOCHS

    def __init__(self, task: Task) -> None:
        self._task = task

    def training(self, number: int, params: Mapping[str, Scalar], seed: int) -> Training:
        """See Curves."""
        row = self._task.row(params)
        values = self._task.curve(row, np.random.default_rng((seed, number)))
        seconds = float(self._task.seconds[row]) / MAX_EPOCHS
        return Training(values.tolist(), [seconds] * MAX_EPOCHS)


def table_spec(task: Task, sampler: str, rule: str, trials: int) -> SearchSpec:
    """Return the spec of a search over a table."""
    space = {
        name: {"choices": values}
        if isinstance(values[0], str)
        else {"low": 0, "high": len(values) - 1}
        for name, values in task.grid.items()
    }
    early_stopping = {"name": rule, "max_epochs": MAX_EPOCHS}
    draft = draft_spec(
        {
            "name": task.name.replace("/", "-"),
            "objective": {"metric": "error", "direction": "minimize"},
            "trainable": "table.py:train",  # which isn't called
            "space": space,
            "search": {"trials": trials, "sampler": sampler, "early_stopping": early_stopping},
        }
    )
    assert draft.spec is not None, draft.problems
    return draft.spec


def main() -> None:
    """Run the simulations and print a line of each."""
    arguments = _parse_arguments()
    print(f"python -m benchmarks.simulation {' '.join(sys.argv[1:])}".rstrip())
    print(", ".join(f"{name} {version(name)}" for name in ("optuna", "numpy", "scipy")))
    print(f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores")
    print(f"{arguments.trials} trials on {arguments.workers} workers\n")
    for name in arguments.tasks:
        for sampler in arguments.samplers:
            for rule in arguments.rules:
                _run(load_task(name), sampler, rule, arguments.trials, arguments.workers)


def _run(task: Task, sampler: str, rule: str, trials: int, workers: int) -> None:
    spec = table_spec(task, sampler, rule, trials)
    began, began_cpu = time.perf_counter(), time.process_time()
    record = simulate(spec, TableCurves(task), workers)
    wall, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    epochs = sum(len(trial.curve) for trial in record.trials)
    best, decisions = better_trials(record)[-1], replay(record)
    print(
        f"{task.name}, {sampler}, {rule}: {wall:.1f} s ({cpu:.1f} s of the processor) for "
        f"{show_seconds(record.ended_at or 0.0)} and {epochs} epochs; best {best.value:.4g} after "
        f"{show_seconds(best.seconds)}; {len(decisions.differing)} of {decisions.num_decisions} "
        "decisions differ in a replay",
        flush=True,
    )


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tasks", nargs="+", default=["hpobench/car", "nasbench201/cifar10"])
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=500)
    parser.add_argument("--samplers", nargs="+", default=["random"])
    parser.add_argument("--rules", nargs="+", default=["asha", "asha_promotion"])
    return parser.parse_args()


if __name__ == "__main__":
    main()
