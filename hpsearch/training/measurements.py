"""What a trial costs: the time of a prediction, its parameters, its memory."""

from __future__ import annotations

import ctypes
import gc
import resource
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from torch import nn

from hpsearch.components.batch import Tree
from hpsearch.spec.objectives import LATENCY, PARAMETERS, PEAK_MEMORY

#: forward passes that are timed, after some that are not, and the seconds that they may take
NUM_PASSES = 50
NUM_WARM_UP = 5
MAX_SECONDS = 1.0
_MIB = 2.0**20
_STATUS, _CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Measurements:
    """Measures of a trial what its search compares: `names`, of `MEASURED`.

    `peak_memory_mb` counts from when this is made: on a GPU what torch allocated there, else the
    resident memory of the process, with Python, torch and the data.
    """

    def __init__(self, names: tuple[str, ...], device: torch.device) -> None:
        self._names = names
        self._device = device
        self._latency: float | None = None
        if PEAK_MEMORY in names:
            _forget_peak(device)

    def take(self, model: nn.Module, row: Callable[[], Tree]) -> dict[str, float]:
        """Return the measures; `row` gives the inputs of one row.

        `latency_ms` is the median of forward passes of it in evaluation mode, timed once.
        """
        found: dict[str, float] = {}
        if PARAMETERS in self._names:
            found[PARAMETERS] = float(sum(each.numel() for each in model.parameters()))
        if PEAK_MEMORY in self._names:
            found[PEAK_MEMORY] = _peak_bytes(self._device) / _MIB
        if LATENCY in self._names:
            if self._latency is None:
                self._latency = _latency_ms(model, row(), self._device)
            found[LATENCY] = self._latency
        return found


def _latency_ms(model: nn.Module, row: Tree, device: torch.device) -> float:
    model.eval()
    times: list[float] = []
    began = time.perf_counter()
    with torch.inference_mode():
        for number in range(NUM_WARM_UP + NUM_PASSES):
            start = time.perf_counter()
            model(row)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            end = time.perf_counter()
            if number >= NUM_WARM_UP:
                times.append(end - start)
            if times and end - began > MAX_SECONDS:
                break
    return 1000.0 * statistics.median(times)


def _forget_peak(device: torch.device) -> None:
    """Let the peak begin at what is needed now: earlier trials may have had this process."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    gc.collect()
    with suppress(OSError, AttributeError):  # other systems keep the peak of the whole process
        ctypes.CDLL(None).malloc_trim(0)
        _CLEAR_REFS.write_text("5")  # proc(5): resets the peak


def _peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with suppress(OSError):
        lines = _STATUS.read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10
