"""How soon a search goes on after its driver was killed: `python -m benchmarks.resume`.

The time from the start of `hpsearch resume` to the first result that the record didn't have, and
what of it Ray takes by itself: the start of a cluster, and of a worker that imports torch.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import optuna
import ray

from hpsearch.errors import HpsearchError
from hpsearch.provenance import available_cpus
from hpsearch.runs import SearchFolder

SPEC = """
name: killed
objective: {metric: score}
trainable: waiting.py:wait
space: {x: {low: 0.0, high: 1.0}}
search: {trials: 200, early_stopping: {max_epochs: 20}}
"""
CODE = """
import time

def wait(config, trial):
    first = (trial.load_checkpoint() or 0) + 1
    for epoch in range(first, trial.max_epochs + 1):
        time.sleep(0.2)
        yield {"score": config["x"]}
        trial.save_checkpoint(epoch)
"""
BARE_RAY = """
import ray

@ray.remote
class Worker:
    def work(self):
        import ray.tune
        import torch

ray.init(address="local", include_dashboard=False, log_to_driver=False)
ray.get(Worker.remote().work.remote())
"""


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=3)
    options = parser.parse_args()
    print(f"command: python -m benchmarks.resume {' '.join(sys.argv[1:])}")
    versions = f"ray {ray.__version__}, optuna {optuna.__version__}"
    print(f"versions: {versions}, python {platform.python_version()}")
    print(f"machine: {platform.machine()}, {available_cpus()} cores")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "waiting.py").write_text(CODE)
        (folder / "killed.yaml").write_text(SPEC)
        _first_result_s(folder, "run", "killed.yaml")
        for _ in range(options.kills):
            bare_s = _seconds_of_bare_ray()
            seconds = _first_result_s(folder, "resume", "killed")
            print(
                f"first new result {seconds:.1f} s after the start of resume; Ray alone, with a "
                f"worker: {bare_s:.1f} s; beside it: {seconds - bare_s:.1f} s"
            )


def _first_result_s(folder: Path, *arguments: str) -> float:
    """Start a driver, kill it after its first results, and return how long it took to one."""
    before = _num_epochs(folder)
    started = time.perf_counter()
    command = [sys.executable, "-m", "hpsearch.cli", *arguments]
    driver = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    while _num_epochs(folder) == before:
        time.sleep(0.02)
    seconds = time.perf_counter() - started
    time.sleep(3)
    driver.kill()
    driver.wait()
    time.sleep(3)  # its workers end
    return seconds


def _num_epochs(folder: Path) -> int:
    try:
        record = SearchFolder(folder / "runs" / "killed").open_record()
    except (HpsearchError, OSError):  # it is only being made
        return 0
    return sum(len(trial.curve) for trial in record.trials)


def _seconds_of_bare_ray() -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", BARE_RAY], check=True, capture_output=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
