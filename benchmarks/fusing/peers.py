"""Other ways to train many small trials on one device."""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from benchmarks.fusing.work import Work, works
from hpsearch.training.lanes.graphs import CudaRecorder
from hpsearch.training.lanes.row_training import train_data


def rate(epoch: Callable[[], object], device: torch.device, seconds: float) -> float:
    """Return calls a second, of at least one."""
    synchronize(device)
    start, count = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - start) < seconds or not count:
        epoch()
        count += 1
        synchronize(device)
    return count / max(elapsed, time.perf_counter() - start)


def synchronize(device: torch.device) -> None:
    """Wait for a device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def eager_rate(work: Work, device: torch.device, seconds: float) -> float:
    """Return the epochs a second of one trainer."""
    trainer = work.trainer(0, device)
    trainer.train_epoch()
    return rate(trainer.train_epoch, device, seconds)


def graphed_rate(work: Work, device: torch.device, seconds: float) -> float:
    """Return the epochs a second of a compiled model whose whole step is a CUDA graph."""
    trainer = work.trainer(0, device)
    data, size = train_data(trainer), work.batch_size
    val = trainer.splits.batches("val")
    x, y = data.rows
    model = trainer.model
    compiled, loss_of = torch.compile(model), torch.nn.functional.cross_entropy
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, fused=True)
    rows = torch.arange(size, device=device)
    total = torch.zeros((), device=device)

    def step() -> None:
        optimizer.zero_grad()
        loss = loss_of(compiled(x.index_select(0, rows)), y.index_select(0, rows))
        loss.backward()
        optimizer.step()
        total.add_(loss.detach())

    recorder = CudaRecorder(device)
    for _ in range(3):
        recorder.run(step)
    replay = recorder.record(step)

    def epoch() -> None:
        order = torch.randperm(len(data), device=device)
        for part in order[: len(data) // size * size].split(size):
            rows.copy_(part)
            replay()
        with torch.no_grad():
            for x, y in val.read(len(val)):
                total.add_(loss_of(model(x), y)).item()

    epoch()
    return rate(epoch, device, seconds)


def process_rates(
    names: Sequence[str], device: str, num: int, seconds: float, *, quick: bool
) -> dict[str, float]:
    """Return for each work the epochs a second of so many processes together."""
    context = multiprocessing.get_context("spawn")
    barrier, queue = context.Barrier(num), context.SimpleQueue()
    arguments = (list(names), device, seconds, quick, barrier, queue)
    children = [context.Process(target=_train, args=arguments) for _ in range(num)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    found: dict[str, float] = dict.fromkeys(names, 0.0)
    while not queue.empty():
        name, each = queue.get()
        found[name] += each
    return {name: value if value else math.nan for name, value in found.items()}


def _train(
    names: list[str], device_name: str, seconds: float, quick: bool, barrier: Any, queue: Any
) -> None:
    torch.set_num_threads(1)
    device = torch.device(device_name)
    try:
        for work in works(device, quick=quick):
            if work.name in names:
                trainer = work.trainer(0, device)
                trainer.train_epoch()
                barrier.wait(timeout=60)
                queue.put((work.name, rate(trainer.train_epoch, device, seconds)))
    except BaseException:
        barrier.abort()  # the others end, too
        raise


@contextlib.contextmanager
def mps() -> Iterator[bool]:
    """Start NVIDIA's MPS for processes that are started meanwhile; yields whether it runs."""
    control = shutil.which("nvidia-cuda-mps-control")
    with tempfile.TemporaryDirectory(prefix="mps-") as folder:
        names = ("CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY")
        before = {name: os.environ.get(name) for name in names}
        os.environ |= dict.fromkeys(names, folder)
        runs = control is not None and _succeeds([control, "-d"])
        try:
            yield runs
        finally:
            if runs:
                _succeeds([str(control)], "quit\n")
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})


def _succeeds(command: list[str], text: str = "") -> bool:
    try:
        done = subprocess.run(command, input=text, text=True, timeout=20, capture_output=True)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
