"""What a result costs the driver: `python -m benchmarks.driver [--trials 1000] [--concurrent 64]`.

The control loop of a search, with its record, random configurations, ASHA and the MLflow tracker,
is fed with results as fast as it takes them; no Ray, no training. CPU seconds are those of the
driver's process; those of the process that writes MLflow's view beside it are told at the end.
With `--lanes` the trials share one worker, whose message has the results of an epoch of all.
"""

from __future__ import annotations

import argparse
import math
import platform
import resource
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import mlflow
import optuna

from benchmarks.record import METRICS, make_spec
from hpsearch.early_stopping import make_early_stopper
from hpsearch.provenance import available_cpus
from hpsearch.record import Record
from hpsearch.samplers import make_sampler
from hpsearch.tracking import Tracker
from hpsearch.tuning.control import SearchControl
from hpsearch.tuning.lane_pool import LanePool
from hpsearch.tuning.report import LaneReports, Report


def run(trials: int, concurrent: int, epochs: int, folder: Path, *, lanes: bool) -> None:
    """Feed a search with results, and print what one costs in each tenth of it."""
    spec = make_spec(epochs, trials, early_stopping="asha")
    record = Record.create(folder / "record.journal", spec)
    rule = make_early_stopper(spec)
    sampler = make_sampler(
        {"name": "random"},
        record.space,
        seed=0,
        direction="maximize",
        rungs=rule.rungs,
        slots=concurrent,
    )
    tracker = Tracker(record, f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts")
    tracker.start()
    control = SearchControl(record, sampler, rule, folder / "checkpoints")
    clock = Clock()
    for num_results in (fed_lanes if lanes else fed)(control, concurrent):
        clock.tick(len(record.trials) / trials, num_results)
    control.close()
    clock.end()
    started = time.perf_counter()
    tracker.close(timeout=None)
    clock.tracked(time.perf_counter() - started)


def fed(control: SearchControl, concurrent: int) -> Iterator[int]:
    """Give results one by one; yields how many were given."""
    live: deque[int] = deque()
    while True:
        while len(live) < concurrent and (trial := control.next_trial()) is not None:
            control.start_attempt(trial.number)
            live.append(trial.number)
        if not live:
            break
        number = live.popleft()
        if not control.take_report(number, report_of(control.record, number)):
            live.append(number)
        yield 1


def fed_lanes(control: SearchControl, num_lanes: int) -> Iterator[int]:
    """Give the results of an epoch of lanes as one message; yields how many were given."""
    pool = LanePool(control, num_lanes, num_lanes, measured=False)
    live = [trial.number for trial in pool.begin("worker")]
    pool.start("worker")
    num_results = 0
    while live:
        num_results += len(live)
        reports = tuple((number, report_of(control.record, number)) for number in live)
        change = pool.take("worker", LaneReports(reports, num_lanes, num_fused=num_results))
        live = [number for number in live if number not in change.stop]
        live += [trial.number for trial in change.start]
        yield len(reports)


def report_of(record: Record, number: int) -> Report:
    """Return what a trial reports of its next epoch."""
    trial = record.trials[number]
    value = sum(float(x) for x in trial.params.values()) / len(trial.params)
    return Report(trial.epochs + 1, {**METRICS, "val_accuracy": value})


class Clock:
    """Wall and CPU time a result, over the whole search and in each tenth of it."""

    def __init__(self) -> None:
        self._num_results = 0
        self._begin = self._mark = (time.perf_counter(), time.process_time())
        self._mark_results = 0
        self._next_tenth = 0.1

    def tick(self, share: float, num_results: int) -> None:
        """Count results; `share` of the search is done."""
        self._num_results += num_results
        if share >= self._next_tenth:
            self._print(f"to {share:4.0%} of the trials", self._mark, self._mark_results)
            self._mark = (time.perf_counter(), time.process_time())
            self._mark_results = self._num_results
            self._next_tenth = math.floor(share * 10 + 1) / 10

    def end(self) -> None:
        """Print the whole."""
        self._print("the whole search", self._begin, 0)

    def tracked(self, seconds: float) -> None:
        """Print how long the follower was behind, and what it cost."""
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = (usage.ru_utime + usage.ru_stime) / self._num_results * 1e3
        print(
            f"results: {self._num_results}; MLflow's view was {seconds:.1f} s behind, "
            f"{cpu:.2f} ms CPU a result in its own process"
        )

    def _print(self, what: str, since: tuple[float, float], results: int) -> None:
        now = (time.perf_counter(), time.process_time())
        wall, cpu = (
            (b - a) / max(self._num_results - results, 1) * 1e3
            for a, b in zip(since, now, strict=True)
        )
        print(f"{what}: {wall:.2f} ms wall, {cpu:.2f} ms CPU of the driver, a result")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--concurrent", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=27)
    parser.add_argument("--lanes", action="store_true", help="trials share one worker")
    options = parser.parse_args()
    print(f"command: python -m benchmarks.driver {' '.join(sys.argv[1:])}")
    versions = f"optuna {optuna.__version__}, mlflow {mlflow.__version__}"
    print(f"versions: {versions}, python {platform.python_version()}")
    print(f"machine: {platform.machine()}, {available_cpus()} cores")
    with tempfile.TemporaryDirectory() as folder:
        run(options.trials, options.concurrent, options.epochs, Path(folder), lanes=options.lanes)


if __name__ == "__main__":
    main()
