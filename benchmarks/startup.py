"""How long a user waits: `python -m benchmarks.startup [SPEC] [--rounds 3]`.

Each round starts the bare floor (Ray on this machine, with two actors that import torch), then
`hpsearch --help`, `hpsearch validate` and `hpsearch run`, each as a process of its own, and prints
their times and the ratio of the first result to the floor. The run is watched in a terminal of
its own for the first output, in its record for the results.
"""

from __future__ import annotations

import argparse
import os
import platform
import pty
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from hpsearch.provenance import available_cpus

SPEC = Path(__file__).parent.parent / "search_spaces" / "digits_mlp.yaml"
FLOOR = """
import ray
ray.init(address="local", include_dashboard=False, log_to_driver=False)

@ray.remote(num_cpus=0.5)
class Actor:
    def is_ready(self):
        import torch
        return torch.ones(1).item() == 1.0

actors = [Actor.remote() for _ in range(2)]
print(ray.get([actor.is_ready.remote() for actor in actors]), flush=True)
"""
#: what Optuna's journal calls a value that a trial reports
RESULT = b'"op_code":7,'
POLL_S = 0.01


@dataclass(frozen=True)
class Times:
    """Seconds of one round."""

    floor: float
    help: float
    validate: float
    first_output: float
    first_result: float
    prompt_after_last_epoch: float
    whole_run: float

    @property
    def ratio(self) -> float:
        """The first result in units of the floor."""
        return self.first_result / self.floor


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spec", type=Path, nargs="?", default=SPEC)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(f"command: python -m benchmarks.startup {' '.join(sys.argv[1:])}")
    packages = [f"{name} {version(name)}" for name in ("ray", "torch", "optuna", "mlflow")]
    print(f"versions: {', '.join(packages)}, python {platform.python_version()}")
    print(f"machine: {platform.machine()}, {available_cpus()} cores", flush=True)
    rounds = []
    for _ in range(options.rounds):
        rounds.append(measure(options.spec))
        print(", ".join(f"{name} {value:.2f}" for name, value in asdict(rounds[-1]).items()))
        print(f"first result / floor: {rounds[-1].ratio:.2f}", flush=True)
    print(f"median of first result / floor: {statistics.median(r.ratio for r in rounds):.2f}")
    for name in asdict(rounds[0]):
        median = statistics.median(getattr(each, name) for each in rounds)
        print(f"median {name.replace('_', ' ')}: {median:.2f} s")


def measure(spec: Path) -> Times:
    """Return the times of one round."""
    with tempfile.TemporaryDirectory() as folder:
        return Times(
            floor(),
            seconds(hpsearch("--help")),
            seconds(hpsearch("validate", str(spec))),
            *run(spec, Path(folder)),
        )


def hpsearch(*arguments: str) -> list[str]:
    """Return a command line of this environment's hpsearch."""
    return [str(Path(sys.executable).with_name("hpsearch")), *arguments]


def seconds(command: list[str]) -> float:
    """Return how long a command takes."""
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def floor() -> float:
    """Return the seconds until two actors with torch answer."""
    begin = time.perf_counter()
    command = [sys.executable, "-c", FLOOR]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=os.environ
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"[True, True]\n"
        return time.perf_counter() - begin


def run(spec: Path, folder: Path) -> tuple[float, float, float, float]:
    """Run a search; returns the seconds to its first output and its first result, from its last
    result to its end, and of all of it."""
    outer, inner = pty.openpty()
    begin = time.perf_counter()
    command = hpsearch("run", str(spec), "--runs", str(folder))
    process = subprocess.Popen(command, stdin=inner, stdout=inner, stderr=inner)
    os.close(inner)
    outputs: list[tuple[float, bytes]] = []
    reader = threading.Thread(target=read, args=(outer, outputs))
    reader.start()
    results = watch(process, folder)
    end = time.perf_counter()
    reader.join()
    os.close(outer)
    if process.returncode:
        shown = b"".join(text for _, text in outputs).decode(errors="replace")
        raise SystemExit(f"{shown}\n{' '.join(command)}: exit status {process.returncode}")
    return outputs[0][0] - begin, results[0] - begin, end - results[-1], end - begin


def read(terminal: int, shown: list[tuple[float, bytes]]) -> None:
    """Read all that a terminal shows, and note when."""
    try:
        while text := os.read(terminal, 65536):
            shown.append((time.perf_counter(), text))
    except OSError:  # the process has ended
        return


def watch(process: subprocess.Popen[bytes], folder: Path) -> list[float]:
    """Wait for the end of a search; returns when its results came into the record."""
    times: list[float] = []
    position = 0
    while process.poll() is None:
        for journal in folder.glob("*/record.journal"):
            with journal.open("rb") as file:
                file.seek(position)
                added = file.read()
                position = file.tell()
            if RESULT in added:
                times.append(time.perf_counter())
        time.sleep(POLL_S)
    return times


if __name__ == "__main__":
    main()
