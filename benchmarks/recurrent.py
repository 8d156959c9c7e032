"""What recurrent layers gain as lanes on one core: `python -m benchmarks.recurrent`.

A step of trials of the model `rnn`, forward and backward, one by one and as one program, for
sequences (time, features) of random numbers in batches of 32 rows.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from benchmarks.speed import print_circumstances
from hpsearch.components.data import Data
from hpsearch.components.examples import Arrays
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer
from hpsearch.training.lanes.probing import tried

BATCH_SIZE = 32


def main() -> None:
    """Print how many times as fast the program is."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recurrent", description=__doc__)
    parser.add_argument("--cells", nargs="+", default=["rnn", "gru", "lstm"])
    parser.add_argument("--lanes", type=int, default=16)
    parser.add_argument("--times", type=int, nargs="+", default=[8, 28, 64])
    parser.add_argument("--units", type=int, nargs="+", default=[16, 32, 64])
    arguments = parser.parse_args()
    print_circumstances("benchmarks.recurrent")
    torch.set_num_threads(1)
    print(f"{arguments.lanes} lanes; step one by one / step as one program")
    for cell in arguments.cells:
        for times in arguments.times:
            data = sequences(times)
            found = (speedup(cell, units, arguments.lanes, data) for units in arguments.units)
            told = zip(arguments.units, found, strict=True)
            print(f"{cell} of {times} steps:", ", ".join(f"{u} units x{s:.2f}" for u, s in told))


def sequences(times: int) -> Data:
    """Return sequences of eight features, of two classes."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=(4 * BATCH_SIZE, times, 8)).astype(np.float32)
    rows = Arrays(x, draw.integers(2, size=len(x)))
    return Data("classification", x.shape[1:], 2, train=rows, val=rows)


def speedup(cell: str, units: int, num_lanes: int, data: Data) -> float:
    """Return the time of a step one by one over that as a program."""
    values = {
        "model": {"name": "rnn", "cell": cell, "hidden_size": units},
        "optimizer": {"name": "sgd", "lr": 0.01},
        "batch_size": BATCH_SIZE,
    }
    trainer = Trainer(TrialConfig(0, 0, 1, values=values), data)
    with tried([trainer] * num_lanes, stacked=False, num_rows=BATCH_SIZE) as trial:
        return num_lanes * trial.time_alone() / trial.time_fused()


if __name__ == "__main__":
    main()
