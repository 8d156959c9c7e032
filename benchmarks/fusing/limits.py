"""What a device could do at best: the roofline of a trial's epoch (Williams et al., 2009)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.fusing.peers import synchronize
from benchmarks.fusing.work import Work
from hpsearch.training.lanes.row_training import train_data

FLOAT = 4
#: times that a step must read or write a number per parameter: weights forward and backward, the
#: gradient; then gradient, weights and momentum, the last two written
PARAMETER_TRAFFIC = 8
#: times that a batch is read or written: gathered, and read by the first layer twice
BATCH_TRAFFIC = 4


@dataclass(frozen=True)
class Limits:
    """Measured bytes a second of copies (read and written), and float32 operations a second."""

    bandwidth: float
    flops: float

    def epochs_per_second(self, work: Work, device: torch.device) -> float:
        """Return the trial-epochs a second at which one of the two is reached."""
        trainer = work.trainer(0, device)
        data, size = train_data(trainer), work.batch_size
        val_rows = len(trainer.splits.batches("val"))
        batch = data.rows.map(lambda tensor: tensor[:size])
        with FlopCounterMode(display=False) as counter:
            outputs = trainer.model(batch.inputs)
            forward = counter.get_total_flops()
            trainer.task.loss(outputs, batch).backward()
        num_params = sum(param.numel() for param in trainer.model.parameters())
        traffic = FLOAT * (PARAMETER_TRAFFIC * num_params + BATCH_TRAFFIC * batch.inputs.numel())
        step = max(counter.get_total_flops() / self.flops, traffic / self.bandwidth)
        evaluation = forward / size * val_rows / self.flops
        return 1 / (len(data) / size * step + evaluation)


def measured_limits(device: torch.device) -> Limits:
    """Measure a device."""
    is_gpu = device.type == "cuda"
    source = torch.rand((256 if is_gpu else 16) * 2**20, device=device)
    target, side = torch.empty_like(source), 8192 if is_gpu else 1024
    matrix = torch.rand(side, side, device=device)
    copying = _seconds(lambda: target.copy_(source), device)
    multiplying = _seconds(lambda: matrix @ matrix, device)
    return Limits(2 * FLOAT * source.numel() / copying, 2 * side**3 / multiplying)


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    """Return the shortest of some calls."""
    times = []
    for _ in range(8):
        synchronize(device)
        start = time.perf_counter()
        call()
        synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times[2:])
