"""Optimizers that learn one set of weights and give away another: an average of them.

Between epochs the model holds the average, so that it is what is evaluated, kept in checkpoints
and exported; while an epoch trains it holds the weights that the steps move. Such an optimizer
has the methods `eval` and `train` that change between the two, as schedule-free ones do, and
notes in its groups' `train_mode` which of them the model holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class AveragedSGD(torch.optim.ASGD):
    """torch's ASGD, whose average of the weights after step `t0` takes their place."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        for group in self.param_groups:
            group["train_mode"] = True

    def eval(self) -> None:
        """Let the model hold the average."""
        self._hold_average(True)

    def train(self) -> None:
        """Let the model hold the weights that the steps move."""
        self._hold_average(False)

    def _hold_average(self, average: bool) -> None:
        for group in self.param_groups:
            if group["train_mode"] == average:
                for param in group["params"]:
                    swap(param, self.state[param]["ax"])
                group["train_mode"] = not average


@torch.no_grad()
def swap(one: Tensor, other: Tensor) -> None:
    """Exchange the values of two tensors in place."""
    held = one.clone()
    one.copy_(other)
    other.copy_(held)


def hold_average(optimizer: Optimizer) -> bool:
    """Let a model hold the average that its optimizer keeps; returns whether it keeps one."""
    return _switch(optimizer, "eval")


def hold_iterate(optimizer: Optimizer) -> None:
    """Let a model hold the weights that its optimizer's steps move."""
    _switch(optimizer, "train")


def _switch(optimizer: Optimizer, method: str) -> bool:
    switch = getattr(optimizer, method, None)
    if switch is None:
        return False
    with _moved_alone(optimizer):
        switch()
    return True


@contextmanager
def _moved_alone(optimizer: Optimizer) -> Iterator[None]:
    """Leave the parameters out that no step has moved: there is no average of them."""
    groups = [(group, group["params"]) for group in optimizer.param_groups]
    for group, params in groups:
        group["params"] = [param for param in params if optimizer.state.get(param)]
    try:
        yield
    finally:
        for group, params in groups:
            group["params"] = params
