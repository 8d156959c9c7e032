"""Lanes of several widths in programs of their own, and as if padded to the widest: `python -m
benchmarks.width_padding`.

CPU time of an epoch of all lanes on one core, of MLPs on random rows: the quickest of some, both
ways in turn. The padded lanes are lanes of the widest net, which is less than padding takes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import torch

from benchmarks.batch_parts import random_rows, trainers
from benchmarks.speed import print_circumstances
from hpsearch.components import Data
from hpsearch.training.lanes.lanes import Lanes

#: features, widths of the hidden layer
CASES = [(64, [16, 24, 32, 48]), (64, list(range(16, 48, 2))), (64, [64, 128]), (784, [64, 128])]


def main() -> None:
    """Measure each case."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.width_padding", description=__doc__
    )
    parser.add_argument("--lanes", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print_circumstances("benchmarks.width_padding")
    torch.set_num_threads(1)
    for num_features, widths in CASES:
        of_lanes = [widths[place % len(widths)] for place in range(arguments.lanes)]
        ways = {"apart": of_lanes, "padded": [max(widths)] * arguments.lanes}
        data = random_rows(num_features)
        found = measured(data, ways, arguments.batch_size, arguments.rounds)
        cells = ", ".join(f"{way} {seconds * 1e3:.1f} ms" for way, seconds in found.items())
        ratio = found["apart"] / found["padded"]
        shown = ", ".join(map(str, widths))
        print(
            f"{num_features} features, widths {shown}: {cells}; padded {ratio:.2f} times as fast"
        )


def measured(
    data: Data, ways: dict[str, Sequence[int]], batch_size: int, rounds: int
) -> dict[str, float]:
    """Return the CPU seconds of an epoch of all lanes, each way."""
    all_lanes = {way: Lanes(fewest=1) for way in ways}
    for way, widths in ways.items():
        for width in widths:
            for trainer in trainers(data, [width], [batch_size], 1):
                all_lanes[way].join(trainer)
    found: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds + 1):  # the first puts programs together
        for way, lanes in all_lanes.items():
            began = time.thread_time()
            for _ in range(len(set(ways[way]))):
                lanes.train_epoch()
            found[way].append(time.thread_time() - began)
    return {way: min(seconds[1:]) for way, seconds in found.items()}


if __name__ == "__main__":
    main()
