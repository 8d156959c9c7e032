"""Compare range tests of the learning rate with full sweeps: is the best rate in the range?

    python -m benchmarks.lr_range [--seeds 2] [--epochs 15] [--pairs NAME ...]

Of each pair of a net and a data set, trainings at 25 constant rates from 1e-5 to 10 show the best
one by validation loss; the range test proposes a range without them. Half an hour on one core.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hpsearch.components import Data, load_data
from hpsearch.errors import DivergedError
from hpsearch.lr_range import find_lr_ranges
from hpsearch.record import LrRangeNote
from hpsearch.spec import SearchSpec, TrialConfig, draft_spec
from hpsearch.training import Trainer
from hpsearch.validation.lr_places import lr_places

RATES = [float(rate) for rate in 10 ** np.arange(-5, 1.01, 0.25)]
#: rates whose loss is this part above the best one's are as good
AS_GOOD = 0.02


@dataclass(frozen=True)
class Pair:
    """A net with its optimizer, and a data set."""

    dataset: dict[str, Any]
    model: dict[str, Any]
    optimizer: dict[str, Any]
    batch_size: int

    def spec(self, epochs: int) -> SearchSpec:
        """Return the spec of a search for its learning rate."""
        raw = {
            "name": "pair",
            "objective": {"metric": "val_loss", "direction": "minimize"},
            "dataset": self.dataset,
            "model": self.model,
            "optimizer": {
                **self.optimizer,
                "lr": {"low": RATES[0], "high": RATES[-1], "log": True},
            },
            "batch_size": self.batch_size,
            "search": {"early_stopping": {"name": "none", "max_epochs": epochs}},
        }
        spec = draft_spec(raw).spec
        assert spec is not None
        return spec


def _keel(name: str) -> dict[str, Any]:
    return {"name": "keel", "set": name, "missing": "drop"}


def _mlp(*sizes: int, **keywords: Any) -> dict[str, Any]:
    return {"name": "mlp", "hidden_sizes": list(sizes), **keywords}


MOMENTUM = {"name": "sgd", "momentum": 0.9}
PAIRS = {
    "digits, mlp, momentum": Pair({"name": "digits"}, _mlp(64, 64), MOMENTUM, 64),
    "digits, cnn, adamw": Pair({"name": "digits"}, {"name": "cnn"}, {"name": "adamw"}, 64),
    "phoneme, mlp, adam": Pair(_keel("phoneme"), _mlp(64, 64), {"name": "adam"}, 64),
    "segment, mlp, rmsprop": Pair(_keel("segment"), _mlp(64), {"name": "rmsprop"}, 32),
    "letter, batch norm, sgd": Pair(
        _keel("letter"), _mlp(128, norm="batch"), {"name": "sgd"}, 128
    ),
    "diabetes, mlp, adam": Pair({"name": "diabetes"}, _mlp(32), {"name": "adam"}, 32),
    "banana, mlp, momentum": Pair(_keel("banana"), _mlp(64, 64), MOMENTUM, 64),
    "vowel, mlp, adamw": Pair(_keel("vowel"), _mlp(64, 64), {"name": "adamw"}, 32),
}


def val_losses(pair: Pair, data: Data, epochs: int, seeds: int) -> list[float]:
    """Return the mean validation loss after training at each rate; infinite where one diverged."""
    return [
        float(np.mean([_val_loss(pair, data, rate, epochs, seed) for seed in range(seeds)]))
        for rate in RATES
    ]


def _val_loss(pair: Pair, data: Data, rate: float, epochs: int, seed: int) -> float:
    values = {
        "model": pair.model,
        "optimizer": {**pair.optimizer, "lr": rate},
        "batch_size": pair.batch_size,
    }
    trainer = Trainer(TrialConfig(0, seed, epochs, values), data)
    try:
        metrics = [trainer.train_epoch() or {} for _ in range(epochs)]
    except DivergedError:
        return float("inf")
    return metrics[-1]["val_loss"]


def proposed(pair: Pair, data: Data, epochs: int) -> LrRangeNote:
    """Return what the range test of a pair finds."""
    spec = pair.spec(epochs)
    [note] = find_lr_ranges(spec, data, lr_places(spec))
    return note


def _compare(name: str, epochs: int, seeds: int) -> bool:
    """Print a pair's best rate and its range; returns whether the one is in the other."""
    pair = PAIRS[name]
    data = load_data(pair.dataset, seed=0)
    begin = time.perf_counter()
    note = proposed(pair, data, epochs)
    tested = time.perf_counter()
    losses = np.array(val_losses(pair, data, epochs, seeds))
    factor = (time.perf_counter() - tested) / (tested - begin)
    best = RATES[int(losses.argmin())]
    good = np.array(RATES)[losses <= losses.min() + AS_GOOD * abs(losses.min())]
    is_inside = note.low <= best <= note.high
    span = f"{np.log10(note.high / note.low):.1f} decades"
    print(
        f"{'in ' if is_inside else 'OUT'} {name:<25} best {best:.1e} ({good.min():.1e} to "
        f"{good.max():.1e} as good), range {note.low:.1e} to {note.high:.1e} ({span}), "
        f"sweep takes {factor:.0f} times as long",
        flush=True,
    )
    return is_inside


def main() -> None:
    """Print each pair, and how many best rates are in their ranges."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--pairs", nargs="+", default=list(PAIRS), choices=list(PAIRS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"command: python -m benchmarks.lr_range {' '.join(sys.argv[1:])}".rstrip())
    print(f"versions: torch {torch.__version__}; machine: {platform.machine()}")
    first = PAIRS[options.pairs[0]]
    proposed(first, load_data(first.dataset, seed=0), 1)  # imports take seconds
    inside = sum(_compare(name, options.epochs, options.seeds) for name in options.pairs)
    print(f"best rates in the proposed range: {inside} of {len(options.pairs)}")


if __name__ == "__main__":
    main()
