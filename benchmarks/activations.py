"""What activations cost on one core, as ratios to ReLU: `python -m benchmarks.activations`.

The CPU time of a pass forward and one backward: of the function by itself, on as many outputs as
`--rows` and `--units` say, and of a step of a net of two hidden layers of as many units, with its
loss. Activations are timed in turn, round after round, so that a slow minute of a shared machine
falls on all of them; a ratio is the median over rounds of those within a round, and what follows
it the first and the third quartile.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.speed import print_circumstances
from hpsearch import registry
from hpsearch.components.layers.activations import make_activation, widening
from hpsearch.components.models.building import build_model

NUM_INPUTS, NUM_CLASSES = 64, 10
REFERENCE = "relu"
Pass = Callable[[], None]


@dataclass(frozen=True)
class Ratio:
    """Of CPU times to the reference's: the median of rounds, and the quartiles."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


def main() -> None:
    """Print the table, in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.activations", description=__doc__)
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--units", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=41)
    parser.add_argument("--passes", type=int, default=20, help="that are timed as one")
    arguments = parser.parse_args()
    print_circumstances("benchmarks.activations")
    torch.set_num_threads(1)
    shape = arguments.rows, arguments.units
    repeats = arguments.rounds, arguments.passes
    alone, steps = costs(alone_of, shape, *repeats), costs(step_of, shape, *repeats)
    print(f"{shape[0]} rows, {shape[1]} units, {arguments.rounds} rounds")
    print("| activation | by itself | a step of a net |")
    print("|---|---|---|")
    for name in sorted(alone, key=lambda each: alone[each].median):
        print(f"| `{name}` | {alone[name]} | {steps[name]} |")


def costs(
    of: Callable[[str, int, int], Pass], shape: tuple[int, int], rounds: int, passes: int
) -> Mapping[str, Ratio]:
    """Return the ratio of each activation by its name; `of` makes of it what is timed."""
    torch.manual_seed(0)
    found = {name: of(name, *shape) for name in registry.names("activation")}
    for run in found.values():
        run()  # memory, and what is made when it is first needed
    times = {name: np.empty(rounds) for name in found}
    for number in range(rounds):
        for name, run in found.items():
            times[name][number] = cpu_time(run, passes)
    return {name: ratio(each / times[REFERENCE]) for name, each in times.items()}


def cpu_time(run: Pass, passes: int) -> float:
    """Return the seconds of this process's CPU time that so many passes take."""
    start = time.process_time()
    for _ in range(passes):
        run()
    return time.process_time() - start


def ratio(rounds: Sequence[float] | np.ndarray) -> Ratio:
    """Return what the ratios of rounds come to."""
    low, median, high = np.quantile(rounds, (0.25, 0.5, 0.75)).tolist()
    return Ratio(median, low, high)


def alone_of(name: str, rows: int, units: int) -> Pass:
    """Return a pass of an activation by itself, with as many outputs."""
    activation = make_activation(name)
    x = torch.randn(rows, units * widening(activation), requires_grad=True)
    gradient = torch.randn(rows, units)

    def run() -> None:
        x.grad = None
        outputs: Tensor = activation(x)
        outputs.backward(gradient)

    return run


def step_of(name: str, rows: int, units: int) -> Pass:
    """Return a pass of a net and its loss."""
    model = {"name": "mlp", "hidden_sizes": [units, units], "activation": name}
    net: nn.Module = build_model(model, (NUM_INPUTS,), NUM_CLASSES, Path())
    x, classes = torch.randn(rows, NUM_INPUTS), torch.randint(NUM_CLASSES, (rows,))

    def run() -> None:
        net.zero_grad()
        F.cross_entropy(net(x), classes).backward()

    return run


if __name__ == "__main__":
    main()
