"""What the record costs: 10,000 trials of 27 epochs, written as a search writes them, then read.

python -m benchmarks.record [--trials 10000] [--epochs 27]
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from pathlib import Path

import optuna

from hpsearch.outcome import Outcome
from hpsearch.provenance import available_cpus
from hpsearch.record import Record
from hpsearch.spec import SearchSpec, draft_spec

METRICS = {
    "train_loss": 0.31234,
    "val_loss": 0.41234,
    "train_accuracy": 0.91234,
    "val_accuracy": 0.87654,
    "lr": 0.01,
    "grad_norm": 1.2345,
    "seconds": 0.2345,
}


def make_spec(epochs: int, trials: int = 32, early_stopping: str = "none") -> SearchSpec:
    """Return a search over eight numbers."""
    numbers = {f"x{i}": {"low": 0.0, "high": 1.0} for i in range(8)}
    draft = draft_spec(
        {
            "name": "record",
            "objective": {"metric": "val_accuracy"},
            "trainable": "nothing:runs",
            "space": numbers,
            "search": {
                "trials": trials,
                "early_stopping": {"name": early_stopping, "max_epochs": epochs},
            },
        }
    )
    assert draft.spec is not None, draft.problems
    return draft.spec


def write(record: Record, trials: int, epochs: int) -> None:
    """Write the trials and print what a result costs, at the start and at the end."""
    params = {f"x{i}": 0.5 for i in range(8)}
    tenth = max(trials // 10, 1)
    started = time.perf_counter()
    for number in range(trials):
        record.add_trial(params)
        record.start_attempt(number)
        for epoch in range(1, epochs + 1):
            record.report(number, epoch, METRICS)
        record.end_trial(number, Outcome.COMPLETED)
        if (number + 1) % tenth == 0 and number // tenth in (0, trials // tenth - 1):
            each = (time.perf_counter() - started) / (tenth * epochs)
            print(f"trials to {number + 1:>6}: {each * 1e3:.2f} ms a result, all writes included")
        if (number + 1) % tenth == 0:
            started = time.perf_counter()


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=27)
    options = parser.parse_args()
    print(f"command: python -m benchmarks.record {' '.join(sys.argv[1:])}")
    print(f"versions: optuna {optuna.__version__}, python {platform.python_version()}")
    print(f"machine: {platform.machine()}, {available_cpus()} cores")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "record.journal"
        write(Record.create(path, make_spec(options.epochs)), options.trials, options.epochs)
        started = time.perf_counter()
        record = Record.open(path, "record")
        seconds = time.perf_counter() - started
        size = path.stat().st_size / 1e6
        print(f"read {len(record.trials)} trials of {options.epochs} epochs: {seconds:.1f} s")
        print(f"journal: {size:.0f} MB")


if __name__ == "__main__":
    main()
