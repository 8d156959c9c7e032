"""Lanes of several batch sizes in one program, and in one for each size: `python -m
benchmarks.batch_parts`.

In one program lanes take parts of their batches and add up the gradients of these; apart they take
whole batches, in more steps. CPU time of an epoch of all lanes on one core, of MLPs on random
rows: the quickest of some, both ways in turn.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from benchmarks.speed import print_circumstances
from hpsearch.components import Arrays, Data
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer
from hpsearch.training.lanes import lanes as lanes_module
from hpsearch.training.lanes.lanes import Lanes

#: features, hidden sizes
NETS = [(64, [64]), (64, [256, 128]), (784, [32]), (784, [128, 64])]
BATCH_SIZES = [[32, 64, 128, 256], list(range(16, 272, 16))]
NUM_ROWS, NUM_CLASSES = 2_000, 10
WAYS = {"together": 2**60, "apart": 0}


def main() -> None:
    """Measure each net."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batch_parts", description=__doc__)
    parser.add_argument("--lanes", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print_circumstances("benchmarks.batch_parts")
    torch.set_num_threads(1)
    for num_features, hidden_sizes in NETS:
        data = random_rows(num_features)
        for batch_sizes in BATCH_SIZES:
            found = measured(data, hidden_sizes, batch_sizes, arguments.lanes, arguments.rounds)
            cells = ", ".join(f"{way} {seconds * 1e3:.1f} ms" for way, seconds in found.items())
            net = "-".join(map(str, [num_features, *hidden_sizes, NUM_CLASSES]))
            ratio = found["together"] / found["apart"]
            print(f"{net}, {len(batch_sizes)} sizes: {cells}; apart {ratio:.2f} times as fast")


def random_rows(num_features: int) -> Data:
    """Return rows of noise, which cost what others do."""
    rng = np.random.default_rng(0)
    splits = [
        Arrays(
            rng.standard_normal((rows, num_features), np.float32),
            rng.integers(0, NUM_CLASSES, rows),
        )
        for rows in (NUM_ROWS, NUM_ROWS // 4)
    ]
    return Data("classification", (num_features,), NUM_CLASSES, *splits)


def measured(
    data: Data,
    hidden_sizes: Sequence[int],
    batch_sizes: Sequence[int],
    num_lanes: int,
    rounds: int,
) -> dict[str, float]:
    """Return the CPU seconds of an epoch of all lanes, each way."""
    all_lanes = {way: Lanes(fewest=1) for way in WAYS}
    for lanes in all_lanes.values():
        for trainer in trainers(data, hidden_sizes, batch_sizes, num_lanes):
            lanes.join(trainer)
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(rounds + 1):  # the first puts programs together
        for way, limit in WAYS.items():
            lanes_module.APART_PARAMS = limit
            began = time.thread_time()
            all_lanes[way].train_epoch()
            found[way].append(time.thread_time() - began)
    return {way: min(seconds[1:]) for way, seconds in found.items()}


def trainers(
    data: Data, hidden_sizes: Sequence[int], batch_sizes: Sequence[int], number: int
) -> Iterator[Trainer]:
    """Yield trainers that share a program, but have other numbers."""
    rng = random.Random(0)
    for place in range(number):
        values = {
            "model": {"name": "mlp", "hidden_sizes": hidden_sizes, "dropout": rng.uniform(0, 0.6)},
            "optimizer": {"name": "sgd", "lr": 0.01, "momentum": rng.uniform(0, 0.95)},
            "batch_size": batch_sizes[place % len(batch_sizes)],
        }
        yield Trainer(TrialConfig(place, 0, max_epochs=100, values=values), data)


if __name__ == "__main__":
    main()
