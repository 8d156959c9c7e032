"""What lanes gain over trials one by one: `python -m benchmarks.fusion [--quick] [--out FOLDER]`.

Trial-epochs a second, evaluation included, of 1 to 1,024 trials that train as lanes (up to 32 on
a CPU), beside one trainer, a compiled model whose whole step is a CUDA graph, the best number of
processes (with NVIDIA's MPS, too, where it can be started), and the device's own limits: measured
bandwidth and matrix rate in float32. Needs torch and hpsearch; matplotlib for the plot.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import gc
import math
import os
import platform
import resource
import shlex
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.fusing.limits import Limits, measured_limits
from benchmarks.fusing.peers import eager_rate, graphed_rate, mps, process_rates, rate
from benchmarks.fusing.work import Work, works
from hpsearch.training.lanes.batched_layers import grouped, unfolded
from hpsearch.training.lanes.group import LaneGroup

GIB = 2**30


@dataclass
class Measured:
    """Trial-epochs a second of one work; `lanes` by their number, with the GiB they need."""

    work: Work
    eager: float = math.nan
    graphed: float = math.nan
    roofline: float = math.nan
    processes: dict[str, float] = field(default_factory=dict)
    lanes: dict[int, tuple[float, float]] = field(default_factory=dict)

    @property
    def best_processes(self) -> float:
        """The rate of the best number of processes."""
        return max((each for each in self.processes.values() if each > 0), default=math.nan)


class Deadline:
    """What must be over in so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._start, self._seconds = time.perf_counter(), seconds

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self._start + self._seconds - time.perf_counter()


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fusion", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rows and lanes, for CPUs")
    parser.add_argument("--out", type=Path, help="folder for fusion.md and fusion.png")
    parser.add_argument("--only", nargs="+", help="names of works: mlp cnn transformer digits")
    parser.add_argument("--limit", type=float, default=330, help="seconds; the rest is left out")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print_circumstances(device)
    chosen = works(device, quick=arguments.quick)
    chosen = [work for work in chosen if work.name in (arguments.only or work.name)]
    limits = measured_limits(device)
    print(f"measured: {limits.bandwidth / 1e9:,.0f} GB/s, {limits.flops / 1e12:.2f} TFLOP/s\n")
    if device.type == "cuda":
        with reported("convolutions"):
            print_convolutions(device)
    results = [Measured(work) for work in chosen]
    measure(results, limits, device, Deadline(arguments.limit), quick=arguments.quick)
    report = "\n\n".join(map(table, results))
    print(f"\n{report}")
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "fusion.md").write_text(report + "\n")
        plot(results, arguments.out / "fusion.png")


def measure(
    results: list[Measured], limits: Limits, device: torch.device, deadline: Deadline, quick: bool
) -> None:
    """Fill in the results: first what each is compared with, then lanes, each work in its time."""
    seconds = 1.0 if quick else 2.0
    is_gpu = device.type == "cuda"
    for result in results:
        result.roofline = limits.epochs_per_second(result.work, device)
        result.eager = eager_rate(result.work, device, seconds)
        if is_gpu:
            with reported(f"{result.work.name}: the graphed loop"):
                result.graphed = graphed_rate(result.work, device, seconds)
    for number, result in enumerate(results):
        # half of the time for lanes, the other half for processes
        share = Deadline((deadline.left * 0.6) / (len(results) - number))
        measure_lanes(result, lane_counts(device, quick=quick), device, seconds, share)
    measure_processes(results, device, seconds, deadline, quick=quick)


def print_convolutions(device: torch.device) -> None:
    """Print what the two ways to convolve 64 lanes take, forward and backward."""
    conv = torch.nn.Conv2d(16, 32, 3, padding=1, device=device)
    state = {
        name: param.detach().expand(64, *param.shape) for name, param in conv.named_parameters()
    }
    state = {name: tensor.clone().requires_grad_() for name, tensor in state.items()}
    x = torch.rand(64, 128, 16, 14, 14, device=device, requires_grad=True)
    for way in (grouped, unfolded):
        step = functools.partial(_gradient, way, conv, state, x)
        step()
        print(f"convolutions, {way.__name__}: {1e3 / rate(step, device, 0.5):.2f} ms a step")


def _gradient(way: Any, conv: torch.nn.Conv2d, state: dict[str, Tensor], x: Tensor) -> None:
    torch.autograd.grad(way(conv, state, x).sum(), [x, *state.values()])


def lane_counts(device: torch.device, *, quick: bool) -> list[int]:
    """Return the numbers of lanes that are measured."""
    if device.type == "cuda":
        return [1, 4, 16, 64, 256, 1024]
    return [1, 4, 16] if quick else [1, 2, 4, 8, 16, 32]


def measure_lanes(
    result: Measured, counts: list[int], device: torch.device, seconds: float, deadline: Deadline
) -> None:
    """Measure numbers of lanes, until there is no time or no memory for more."""
    for count in counts:
        start = time.perf_counter()
        with reported(f"{result.work.name}: {count} lanes"):
            result.lanes[count] = lanes_rate(result.work, count, device, seconds)
            each, memory = result.lanes[count]
            print(f"{result.work.name}, {count} lanes: {each:.1f} a second, {memory:.2f} GiB")
        gc.collect()
        if count not in result.lanes:
            break
        if count != counts[-1] and 4 * (time.perf_counter() - start) > deadline.left:
            print(f"{result.work.name}: no time for more than {count} lanes", flush=True)
            break


def lanes_rate(
    work: Work, count: int, device: torch.device, seconds: float
) -> tuple[float, float]:
    """Return the trial-epochs a second of so many lanes, and the GiB that were needed."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    trainers = [work.trainer(number, device) for number in range(count)]
    group = LaneGroup(trainers, stacked=device.type == "cuda")
    for _ in range(2):
        for outcome in group.train_epoch():
            if isinstance(outcome, Exception):
                raise outcome
    if group.training.reason:
        print(f"not recorded as a graph: {group.training.reason}")
    each = count * rate(group.train_epoch, device, seconds)
    return each, memory_of(device) / GIB


def memory_of(device: torch.device) -> int:
    """Return the bytes of the device's memory in use at most, on a CPU those of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure_processes(
    results: list[Measured], device: torch.device, seconds: float, deadline: Deadline, quick: bool
) -> None:
    """Measure numbers of processes that train a trial each, while there is time."""
    names = [result.work.name for result in results]
    counts = [1, 2, 4, 8] if device.type == "cuda" else [1, 2]
    for with_mps in [False, True] if device.type == "cuda" else [False]:
        with mps() if with_mps else contextlib.nullcontext(False) as runs:
            if with_mps and not runs:
                print("MPS can't be started here")
                return
            for count in counts:
                if deadline.left < 15 + 2 * seconds * len(names):
                    print(f"no time for {count} processes", "with MPS" if with_mps else "")
                    return
                name = f"{count}, MPS" if with_mps else str(count)
                with reported(f"processes: {name}"):
                    found = process_rates(names, str(device), count, seconds, quick=quick)
                    for result in results:
                        result.processes[name] = found[result.work.name]
                    print(f"processes: {name}: {found}", flush=True)


@contextlib.contextmanager
def reported(what: str) -> Iterator[None]:
    """Print what failed; the rest is measured."""
    try:
        yield
    except Exception as error:
        print(f"{what} failed: {type(error).__name__}: {str(error).partition(chr(10))[0]}")


def table(result: Measured) -> str:
    """Return a result as Markdown."""
    best = result.best_processes
    number = next((n for n, each in result.processes.items() if each == best), "none")
    lines = [
        f"### {result.work.name}: {result.work.what}",
        "",
        f"Trial-epochs a second: one eager trainer {result.eager:.1f}, compiled and graphed loop "
        f"{result.graphed:.1f}, best number of processes ({number}) {best:.1f}, roofline "
        f"{result.roofline:,.0f}.",
        "",
        "| lanes | a second | GiB | / eager | / graphed | / processes | of the roofline |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for count, (each, memory) in result.lanes.items():
        ratios = [each / peer for peer in (result.eager, result.graphed, best)]
        cells = [f"{each:,.1f}", f"{memory:.2f}", *(f"{ratio:.2f}" for ratio in ratios)]
        lines.append(f"| {count} | {' | '.join(cells)} | {each / result.roofline:.1%} |")
    return "\n".join(lines).replace("nan", "-")


def plot(results: list[Measured], path: Path) -> None:
    """Draw the rates by the number of lanes."""
    try:
        import matplotlib
    except ImportError:
        print("no plot: matplotlib isn't installed")
        return
    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(results), figsize=(5 * len(results), 4), squeeze=False)
    for axis, result in zip(axes[0], results, strict=True):
        rates = [each for each, _ in result.lanes.values()]
        axis.loglog(list(result.lanes), rates, "o-", label="lanes")
        peers = {"eager": result.eager, "graphed loop": result.graphed}
        peers |= {"best processes": result.best_processes, "roofline": result.roofline}
        for style, (name, value) in zip(("-", "--", "-.", ":"), peers.items(), strict=True):
            if not math.isnan(value):
                axis.axhline(value, color="gray", linestyle=style, label=name)
        axis.set(title=result.work.name, xlabel="lanes", ylabel="trial-epochs a second")
        axis.legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(path)


def print_circumstances(device: torch.device) -> None:
    """The command, the versions and the machine."""
    print("command:", shlex.join(["python", "-m", "benchmarks.fusion", *sys.argv[1:]]))
    versions = [f"{name} {_version(name)}" for name in ("hpsearch", "torch", "triton", "numpy")]
    print("versions:", ", ".join([f"python {platform.python_version()}", *versions]))
    cores = len(os.sched_getaffinity(0))
    print(f"machine: {platform.machine()}, {cores} cores, load {os.getloadavg()[0]:.1f} before")
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        print(f"card: {card.name}, {card.total_memory / GIB:.0f} GiB, CUDA {torch.version.cuda}")


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    main()
