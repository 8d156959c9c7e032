"""Wall and CPU time of one search in hpsearch and in two peers: `python -m benchmarks.speed`.

The work: Fashion-MNIST (12,000 + 3,000 rows), an MLP 784-128-64-10, six hyperparameters, trials
of 1 to 9 epochs under ASHA (eta 3), two at once, every curve in MLflow's SQLite store. The peers
are `benchmarks.peers.ray_tune` and `benchmarks.peers.optuna_processes`; `hpsearch_fused` trains up
to 16 trials in each of two workers, of which ASHA trains other epochs than of two. Linux only.

The samplers come to like other batch sizes, of which a small one takes many times the steps of a
large one: `steps` tells. With one of `--batch-sizes` all programs train the same steps an epoch.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import os
import platform
import select
import shlex
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
METRIC = "val_accuracy"
MAX_EPOCHS = 9
TRAIN_ROWS, VAL_ROWS = 12_000, 3_000
BATCH_SIZES = [32, 64, 128, 256]

SPEC = """\
name: speed
objective: {{metric: val_accuracy, direction: maximize}}
dataset: {{name: fashion_mnist, train_rows: 12000, val_rows: 3000}}
model: {{name: mlp, hidden_sizes: [128, 64], dropout: {{low: 0.0, high: 0.6}}}}
initializer: {{choices: [xavier_uniform, he_normal, orthogonal]}}
optimizer:
  name: sgd
  lr: {{low: 1e-3, high: 1.0, log: true}}
  momentum: {{low: 0.0, high: 0.99}}
  weight_decay: {{low: 1e-6, high: 1e-2, log: true}}
batch_size: {{choices: {batch_sizes}}}
search:
  trials: {trials}
  seed: {seed}
  max_concurrent: {max_concurrent}
  early_stopping: {{name: asha, max_epochs: 9, grace_period: 1, reduction_factor: 3}}
resources: {{cpu: 1, gpu: 0}}
fuse: {fuse}
"""

HPSEARCH, FUSED = "hpsearch", "hpsearch_fused"
RAY_TUNE, OPTUNA = "ray_tune", "optuna_processes"
#: what differs in the spec
SETTINGS = {
    HPSEARCH: {"fuse": "off", "max_concurrent": 2},
    FUSED: {"fuse": "16", "max_concurrent": 32},
}
#: hpsearch in one way or the other → peer → its wall time over hpsearch's must be at least this
GOALS = {HPSEARCH: {RAY_TUNE: 6.0, OPTUNA: 0.9}, FUSED: {RAY_TUNE: 10.0, OPTUNA: 2.0}}
DISTRIBUTIONS = ("hpsearch", "ray", "optuna", "mlflow", "torch")

GRACE_S = 30.0  # what a command leaves running is killed after this
INTERVAL_S = 0.1  # between two readings of the processes' CPU times


@dataclass(frozen=True)
class Measurement:
    """What one search took, and what it did according to MLflow."""

    wall_s: float
    cpu_s: float
    trials: int
    epochs: int
    steps: int | None
    best: float | None


def main() -> None:
    """Run the programs in turn, `--repeats` times, and print the comparison."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("--trials", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3, help="with the seeds 0, 1, 2 …")
    programs = (*GOALS, RAY_TUNE, OPTUNA)
    parser.add_argument("--only", nargs="+", choices=programs, default=programs)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=BATCH_SIZES)
    arguments = parser.parse_args()
    print_circumstances()
    results: dict[str, list[Measurement]] = {program: [] for program in arguments.only}
    with tempfile.TemporaryDirectory(prefix="speed-") as folder:
        # In turn, so that a slow minute of a shared machine does not fall on one program.
        for seed in range(arguments.repeats):
            for program in arguments.only:
                run_folder = Path(folder, f"{program}-{seed}")
                sizes = arguments.batch_sizes
                result = run(program, arguments.trials, seed, run_folder, sizes)
                results[program].append(result)
                print(f"{program} seed {seed}: {result}", flush=True)
    print_table(results)
    print_ratios(results)


def run(program: str, trials: int, seed: int, folder: Path, batch_sizes: list[int]) -> Measurement:
    """Measure one search of `program` in the new `folder`."""
    folder.mkdir()
    if program in SETTINGS:
        spec = folder / "speed.yaml"
        values = {"trials": trials, "seed": seed, "batch_sizes": batch_sizes}
        spec.write_text(SPEC.format(**values, **SETTINGS[program]))
        command = [sys.executable, "-m", "hpsearch.cli", "run", str(spec)]
        command += ["--runs", str(folder / "runs")]
    else:
        command = [sys.executable, "-m", f"benchmarks.peers.{program}", "--unmeasured"]
        command += ["--trials", str(trials), "--seed", str(seed), "--dir", str(folder)]
        command += ["--batch-sizes", *map(str, batch_sizes)]
    return measure(command, folder)


def measure(command: list[str], folder: Path) -> Measurement:
    """Run `command`, which leaves an MLflow store in `folder`, and wait for all its processes."""
    folder.mkdir(parents=True, exist_ok=True)
    processes = ProcessTree()
    log = folder / "output.log"
    start = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env=_environment() | processes.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        processes.watch(process)
    wall_s = time.perf_counter() - start
    processes.wait_for_the_rest()
    if process.returncode != 0:
        tail = log.read_text(errors="replace")[-3000:]
        raise SystemExit(f"{shlex.join(command)} ended with {process.returncode}:\n{tail}")
    return Measurement(round(wall_s, 2), round(processes.cpu_s, 2), *read_store(folder))


class ProcessTree:
    """CPU time of a command and of all that it starts, daemons too.

    The kernel adds a child's CPU time to its parent's when the parent waits for it, but Ray's
    workers are waited for by nobody: RUSAGE_CHILDREN sees a sixth of what Ray uses, even in a
    subreaper. So each process that inherited our environment variable is found in /proc and its
    times are read ten times a second, the same way for every program. What a process does after
    the last reading is lost: 0.05 s on average for each that ends busy.
    """

    def __init__(self) -> None:
        self.environment = {"HPSEARCH_SPEED": uuid.uuid4().hex}
        self._marker = "=".join(*self.environment.items()).encode()
        self._older = _pids()  # cannot be ours, and may be many
        # A process is its id and its start time, since ids come back. None: not one of ours.
        self._cpu_ticks: dict[tuple[int, str], int | None] = {}

    @property
    def cpu_s(self) -> float:
        """CPU seconds read so far."""
        return sum(filter(None, self._cpu_ticks.values())) / os.sysconf("SC_CLK_TCK")

    def watch(self, process: subprocess.Popen[bytes]) -> None:
        """Read the times until `process` ends."""
        ended = os.pidfd_open(process.pid)
        while not select.select([ended], [], [], INTERVAL_S)[0]:
            self.read()
        os.close(ended)
        process.wait()

    def wait_for_the_rest(self) -> None:
        """Read the times until no process is left; what stays is killed."""
        deadline = time.monotonic() + GRACE_S
        while pids := self.read():
            if time.monotonic() > deadline:
                for pid in pids:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            time.sleep(INTERVAL_S)

    def read(self) -> list[int]:
        """Read the times of all our processes; returns the ids of those that run."""
        alive = []
        pids = _pids()
        self._older &= pids
        for pid in pids - self._older:
            # It may end between any two of these lines.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                state, ticks, start = fields[0], int(fields[11]) + int(fields[12]), fields[19]
                if self._is_ours(pid, start):
                    self._cpu_ticks[pid, start] = ticks
                    alive += [pid] if state != "Z" else []
        return alive

    def _is_ours(self, pid: int, start: str) -> bool:
        if (pid, start) not in self._cpu_ticks:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
            if not environment:  # in the middle of an exec
                return False
            self._cpu_ticks[pid, start] = 0 if self._marker in environment else None
        return self._cpu_ticks[pid, start] is not None


def _pids() -> set[int]:
    return {int(name) for name in os.listdir("/proc") if name.isdigit()}


def _environment() -> dict[str, str]:
    """Ours, less what would send a search to another MLflow server; nothing calls home."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
    return environment | {"MLFLOW_DISABLE_TELEMETRY": "true", "RAY_USAGE_STATS_ENABLED": "0"}


def read_store(folder: Path) -> tuple[int, int, int | None, float | None]:
    """Trials, epochs, optimizer steps and best full-length accuracy that MLflow knows of."""
    # Counted in MLflow, not as the programs report: a curve that is not there was not logged.
    store = next(_stores(folder), None)
    if store is None:
        raise SystemExit(f"no MLflow store was written to {folder}")
    with contextlib.closing(sqlite3.connect(store)) as database:
        # A parent run may carry a metric of the same name, but trains nothing.
        epochs = database.execute(
            "SELECT run_uuid, COUNT(DISTINCT step) FROM metrics WHERE key = 'train_loss'"
            " GROUP BY run_uuid"
        ).fetchall()
        batch_sizes = dict(
            database.execute("SELECT run_uuid, value FROM params WHERE key = 'batch_size'")
        )
        (best,) = database.execute(
            "SELECT MAX(value) FROM metrics WHERE key = ? AND step = ?", (METRIC, MAX_EPOCHS)
        ).fetchone()
    num_batches = {
        run: -(-TRAIN_ROWS // int(size)) for run, size in batch_sizes.items() if size.isdigit()
    }
    known = all(run in num_batches for run, _ in epochs)
    steps = sum(n * num_batches[run] for run, n in epochs) if known else None
    return len(epochs), sum(n for _, n in epochs), steps, best


def _stores(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*.db")):
        with contextlib.closing(sqlite3.connect(path)) as database:
            if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'metrics'").fetchone():
                yield path


def print_circumstances(module: str = "benchmarks.speed") -> None:
    """The command, the versions and the machine."""
    print("command:", shlex.join(["python", "-m", module, *sys.argv[1:]]))
    versions = [f"{name} {_version(name)}" for name in DISTRIBUTIONS]
    print("versions:", ", ".join([f"python {platform.python_version()}", *versions]))
    cpu_model = next(
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines() + ["model name: unknown CPU"]
        if line.startswith("model name")
    )
    num_cores = len(os.sched_getaffinity(0))
    print(f"machine: {cpu_model}, {num_cores} cores, load {os.getloadavg()[0]:.1f} before\n")


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def print_table(results: dict[str, list[Measurement]]) -> None:
    """The median of each program's numbers, with the smallest and the largest."""
    print(f"\n{'median (min..max)':18}" + "".join(f"{program:>28}" for program in results))
    for field in Measurement.__dataclass_fields__:
        cells = [_spread([getattr(m, field) for m in rows]) for rows in results.values()]
        print(f"{field:18}" + "".join(f"{cell:>28}" for cell in cells))


def _spread(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "none"
    digits = 4 if max(known) <= 1 else 1 if isinstance(known[0], float) else 0
    median, low, high = statistics.median(known), min(known), max(known)
    return f"{median:.{digits}f} ({low:.{digits}f}..{high:.{digits}f})"


def print_ratios(results: dict[str, list[Measurement]]) -> None:
    """Wall time of each peer over hpsearch's, against its goal."""
    for way in (way for way in GOALS if way in results):
        ours = statistics.median(m.wall_s for m in results[way])
        for peer in (peer for peer in GOALS[way] if peer in results):
            ratio = statistics.median(m.wall_s for m in results[peer]) / ours
            goal = GOALS[way][peer]
            verdict = "reached" if ratio >= goal else "MISSED"
            print(f"wall({peer}) / wall({way}) = {ratio:.2f}, at least {goal}: {verdict}")


if __name__ == "__main__":
    main()
