"""Schedules, and their curves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from hpsearch.components.schedules import Progress
from hpsearch.registry import ComponentOf

#: what has no default
NEEDED: dict[str, dict[str, Any]] = {
    "multistep": {"milestones": [3, 5]},
    "increase_on_milestone": {"milestones": [2, 4]},
}


def lr_schedule(name: str, **keywords: Any) -> Any:
    section = {"name": name, **NEEDED.get(name, {}), **keywords}
    return ComponentOf("lr_schedule").build(section)


def progress(max_epochs: int, steps_per_epoch: int) -> Iterator[Progress]:
    for step in range(max_epochs * steps_per_epoch):
        epoch, within = divmod(step, steps_per_epoch)
        total = max_epochs * steps_per_epoch
        yield Progress(step, total, epoch + 1, max_epochs, within, steps_per_epoch)


def curve(name: str, max_epochs: int, steps_per_epoch: int, **keywords: Any) -> list[float]:
    return [*map(lr_schedule(name, **keywords), progress(max_epochs, steps_per_epoch))]


def of_torch(make: Callable[[torch.optim.Optimizer], Any], num_steps: int) -> list[float]:
    """The rates of torch's scheduler, whose optimizer has rate 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)
    scheduler, rates = make(optimizer), []
    for _ in range(num_steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates
