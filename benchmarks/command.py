"""What a script costs more as a trial than alone: `python -m benchmarks.command [--repeats 10]`.

A script that does nothing but report one epoch is run alone and by a CommandTrainer, in turns. Its
time alone is Python's own start and the import of hpsearch; the difference is the overhead of a
command trial: its supervisor, its socket, its end.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hpsearch.provenance import available_cpus
from hpsearch.spec import Command, TrialConfig
from hpsearch.training.command import CommandTrainer

SCRIPT = "import hpsearch\nhpsearch.report(epoch=1, accuracy=1.0)\n"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=10)
    repeats = parser.parse_args().repeats
    print(f"command: python -m benchmarks.command --repeats {repeats}")
    print(f"python {platform.python_version()}, {platform.machine()}, {available_cpus()} cores")
    alone, as_trial = [], []
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "train.py").write_text(SCRIPT)
        for _ in range(repeats):
            alone.append(seconds_alone(folder))
            as_trial.append(seconds_as_trial(folder))
    first, second = statistics.median(alone), statistics.median(as_trial)
    print(f"alone {first:.3f} s, as a trial {second:.3f} s (medians of {repeats})")
    print(f"overhead: {second - first:.3f} s, {second / first:.2f} times")


def seconds_alone(folder: str) -> float:
    """Return how long the script takes by itself."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "train.py"], cwd=folder, check=True)
    return time.perf_counter() - started


def seconds_as_trial(folder: str) -> float:
    """Return how long the script takes as a trial, to its end."""
    command = Command(run=(sys.executable, "train.py"), arguments="none").model_dump(mode="json")
    config = TrialConfig(0, 0, 1, {"space": {}}, metric="accuracy", command=command, folder=folder)
    started = time.perf_counter()
    trainer = CommandTrainer(config)
    assert trainer.train_epoch() is not None
    trainer.close()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
