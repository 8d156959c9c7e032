"""Learn the portfolio that comes with hpsearch, and measure it in searches of other data.

    python -m benchmarks.portfolio [--write] [--seeds 8]

A member sets what users search most with SGD: learning rate, momentum, batch size, dropout. On a
table it is as good as the trials that have its settings, the rest of the configuration drawn at
random. Members are chosen greedily: each next one is that which most reduces the regret (0 the
best configuration of a table, 1 the median one or worse) of the best of one trial a member, on
average over the tables, the real curves of `benchmarks.curves` (recorded first where they aren't).

Members that are learned from the curves of one data set are measured in simulated searches of the
other (`benchmarks.samplers`: auto, ASHA), which begin with torch's default of SGD as the product
does: mean regret with and without them, their difference with its 95 % interval, and the epochs
that the trials took. `--write` writes what is learned from both into the package.
"""

from __future__ import annotations

import argparse
import json
import sys
import zlib
from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.quality import load_task
from benchmarks.samplers import MAKERS, Simulation
from benchmarks.tables import Array, Task
from hpsearch.samplers.first_points import FirstPoints
from hpsearch.samplers.shipped_portfolio import PATH, SIZE
from hpsearch.spec import Scalar

Member = Mapping[str, float]

DIGITS, PHONEME = (
    tuple(f"curves/{name}/{kind}" for kind in ("error", "log_loss"))
    for name in ("digits", "phoneme")
)
LEARNED_FROM = (*DIGITS, *PHONEME)
CANDIDATES: list[Member] = [
    {"lr": lr, "momentum": momentum, "batch_size": batch_size, "dropout": dropout}
    for lr, momentum, batch_size, dropout in product(
        (0.003, 0.01, 0.03, 0.1, 0.3), (0.0, 0.9), (32, 64, 128), (0.0, 0.3)
    )
]
#: torch's, and the product's where the batch size isn't searched
DEFAULT: Member = {"lr": 1e-3, "momentum": 0.0, "batch_size": 32, "dropout": 0.0}
NUM_SAMPLES = 256
NUM_RESAMPLES = 10_000


def learn(tasks: Sequence[str], size: int = SIZE) -> list[Member]:
    """Return the members that are learned from tables, the most useful first."""
    regrets = np.stack([[_regrets(load_task(t), c) for c in CANDIDATES] for t in tasks])
    reached, chosen = np.ones((len(tasks), 1, NUM_SAMPLES)), []
    for _ in range(size):
        best = int(np.minimum(reached, regrets).mean(axis=(0, 2)).argmin())
        chosen.append(CANDIDATES[best])
        reached = np.minimum(reached, regrets[:, [best]])
    return chosen


def _regrets(task: Task, member: Member) -> Array:
    """Return the regrets of random configurations with a member's settings, (NUM_SAMPLES,).

    Members that a table can't tell apart are the same there.
    """
    fixed = point_of(task, member)
    rng = np.random.default_rng(zlib.crc32(f"{task.name} {fixed}".encode()))
    rows = np.zeros(NUM_SAMPLES, int)
    for name, values in task.grid.items():
        drawn = rng.integers(len(values), size=NUM_SAMPLES)
        rows = rows * len(values) + fixed.get(name, drawn)
    best, median = task.errors.min(), np.median(task.errors)
    regrets: Array = np.clip((task.errors[rows] - best) / (median - best), 0.0, 1.0)
    return regrets


def point_of(task: Task, member: Member) -> dict[str, int]:
    """Return the nearest values of a table's grid, by their indices."""
    return {name: _nearest(task.grid[name], value) for name, value in member.items()}


def _nearest(values: Sequence[Scalar], wanted: float) -> int:
    """Return the index of the nearest value, by ratio where all are positive."""
    numbers = np.array(values, float)
    if wanted > 0 and (numbers > 0).all():
        numbers, wanted = np.log(numbers), float(np.log(wanted))
    return int(np.abs(numbers - wanted).argmin())


def search(task: Task, members: Sequence[Member], seed: int, workers: int, trials: int) -> Array:
    """Return the regret at the end of a search that begins with members, and its epochs, (2,)."""
    points: list[dict[str, int]] = []
    for member in members:
        if (point := point_of(task, member)) not in points:
            points.append(point)
    sampler = FirstPoints(MAKERS["auto"](task, seed, workers), points, task.space, seed)
    result = Simulation(task, sampler, seed, workers, max_trials=trials).run()
    return np.array([min(result.regrets[-1], 1.0), result.num_epochs])


def main() -> None:
    """Learn, write the portfolio if asked, and print the measurements."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="write it into the package")
    parser.add_argument("--seeds", type=int, default=8)
    arguments = parser.parse_args()
    print(f"python -m benchmarks.portfolio {' '.join(sys.argv[1:])}".rstrip())
    members = learn(LEARNED_FROM)
    for member in members:
        print(", ".join(f"{name} {value:g}" for name, value in member.items()))
    if arguments.write:
        PATH.write_text(json.dumps(members, indent=1) + "\n")
    with threadpool_limits(1):  # as the driver has it
        for trials, workers in product((16, 32), (1, 8)):
            _compare(trials, workers, arguments.seeds)


def _compare(trials: int, workers: int, seeds: int) -> None:
    without, begun = [], []
    for learned_from, judged_by in ((DIGITS, PHONEME), (PHONEME, DIGITS)):
        members = learn(learned_from)
        for task, seed in product(map(load_task, judged_by), range(seeds)):
            without.append(search(task, [DEFAULT], seed, workers, trials))
            begun.append(search(task, [DEFAULT, *members], seed, workers, trials))
    differences = np.subtract(begun, without)[:, 0]
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(differences), size=(NUM_RESAMPLES, len(differences)))
    low, high = np.quantile(differences[drawn].mean(axis=1), [0.025, 0.975])
    (regret, epochs), (regret_begun, epochs_begun) = np.mean([without, begun], axis=1)
    print(
        f"{trials} trials, {workers} workers: regret {regret:.3f} in {epochs:.0f} epochs, "
        f"with members {regret_begun:.3f} in {epochs_begun:.0f}; "
        f"difference {differences.mean():+.3f} [{low:+.3f}, {high:+.3f}]",
        flush=True,
    )


if __name__ == "__main__":
    main()
