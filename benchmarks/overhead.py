"""What a whole search costs beside its training: `python -m benchmarks.overhead [--seconds 1]`.

A search of one-epoch trials that only wait runs on this machine, with everything that a search
has: Ray, record, sampler, MLflow, report. Its time is compared with that of the training, and
told for each tenth of the trials, with the driver's memory: neither may grow.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import threading
import time
from pathlib import Path

import mlflow
import optuna
import psutil
import ray

from hpsearch.provenance import available_cpus
from hpsearch.record import Record
from hpsearch.runs import SearchFolder
from hpsearch.searches import run_search
from hpsearch.spec import draft_spec

CODE = """
import time

def wait(config, trial):
    time.sleep(config["seconds"])
    yield {"score": config["x"]}
"""


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=1.0, help="of training, a trial")
    parser.add_argument("--sampler", default="random")
    options = parser.parse_args()
    print(f"command: python -m benchmarks.overhead {' '.join(sys.argv[1:])}")
    versions = f"ray {ray.__version__}, optuna {optuna.__version__}, mlflow {mlflow.__version__}"
    print(f"versions: {versions}, python {platform.python_version()}")
    print(f"machine: {platform.machine()}, {available_cpus()} cores")
    with tempfile.TemporaryDirectory() as folder:
        record, memory = run(options.trials, options.seconds, options.sampler, Path(folder))
    show(record, memory, options.seconds)


def run(
    trials: int, seconds: float, sampler: str, folder: Path
) -> tuple[Record, dict[int, float]]:
    """Run a search; returns its record, and the driver's memory in MB by number of trials."""
    (folder / "waiting.py").write_text(CODE)
    raw = {
        "name": "waiting",
        "objective": {"metric": "score"},
        "trainable": "waiting.py:wait",
        "space": {"x": {"low": 0.0, "high": 1.0}, "seconds": seconds},
        "search": {"trials": trials, "sampler": sampler, "early_stopping": {"max_epochs": 1}},
    }
    draft = draft_spec(raw, folder)
    assert draft.spec is not None, draft.problems
    memory: dict[int, float] = {}
    watched: list[Record] = []

    def watch(record: Record, search: SearchFolder) -> None:
        watched.append(record)
        threading.Thread(target=sample, args=(record, memory), daemon=True).start()

    run_search(draft.spec, folder / "runs", on_start=watch)
    return watched[0], memory


def sample(record: Record, memory: dict[int, float]) -> None:
    """Note the driver's memory in MB, by number of trials, while the search runs."""
    while record.state == "running":
        memory[len(record.trials)] = psutil.Process().memory_info().rss / 1e6
        time.sleep(0.2)


def show(record: Record, memory: dict[int, float], seconds: float) -> None:
    """Print how much longer the slots were held than they trained."""
    ended = sorted(trial.ended_at or 0.0 for trial in record.trials)
    slots = min(available_cpus(), len(ended))
    tenth = max(len(ended) // 10, 1)
    for begin in range(0, len(ended) - tenth + 1, tenth):
        last = ended[begin + tenth - 1]
        first = ended[begin - 1] if begin else record.trials[0].started_at
        per_trial = slots * (last - first) / tenth
        used = max(used for count, used in memory.items() if count <= begin + tenth)
        print(
            f"trials {begin:5d} to {begin + tenth - 1:5d}: {1e3 * per_trial:7.1f} ms of a slot "
            f"each, {1e3 * (per_trial - seconds):6.1f} ms beside training; driver {used:.0f} MB"
        )
    warm = ended[tenth:]  # the first wait for workers, which start once
    per_trial = slots * (warm[-1] - ended[tenth - 1]) / len(warm)
    print(f"after the first tenth: {1e3 * (per_trial - seconds):.1f} ms beside training a trial")
    if seconds:
        whole = slots * (ended[-1] - record.trials[0].started_at) / (len(ended) * seconds)
        print(f"whole search / training: {whole:.3f}")
        print(f"after the first tenth: {per_trial / seconds:.3f}")


if __name__ == "__main__":
    main()
