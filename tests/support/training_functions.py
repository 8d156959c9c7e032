"""Training functions and a class as users write them, and what steps them epoch by epoch."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from hpsearch.training.user_code.classes import ClassTrainer
from hpsearch.training.user_code.functions import FunctionTrainer

Trainers = Callable[..., FunctionTrainer | ClassTrainer]
#: what the functions did, in order; cleared before each test
EVENTS: list[str] = []
#: what `raiser` raises: the newest
RAISED: list[BaseException] = []


def metrics_of(trainer: FunctionTrainer | ClassTrainer, epochs: int) -> list[float]:
    """The losses of some epochs."""
    return [(trainer.train_epoch() or {})["loss"] for _ in range(epochs)]


def generator(config: dict[str, Any], trial: Any) -> Iterator[dict[str, Any]]:
    """Saves after it reports, as documented."""
    weights = trial.load_checkpoint()
    weights = torch.zeros(2) if weights is None else weights
    try:
        while trial.epoch < trial.max_epochs:
            EVENTS.append(f"train {trial.epoch + 1}")
            weights += config.get("lr", 1.0)  # in place: a checkpoint must be a copy
            yield {"loss": weights.sum()}
            trial.save_checkpoint(weights)
    finally:
        EVENTS.append("unwound")


def early_saver(config: dict[str, Any], trial: Any) -> Iterator[dict[str, float]]:
    """Saves before it reports."""
    start = trial.load_checkpoint() or 0
    for epoch in range(start + 1, 100):
        EVENTS.append(f"train {epoch}")
        trial.save_checkpoint(epoch, epoch=trial.epoch + 1)
        yield {"loss": float(epoch)}


def module_saver(config: dict[str, Any], trial: Any) -> None:
    net = nn.Linear(1, 1)
    if (state := trial.load_checkpoint()) is not None:
        net.load_state_dict(state)
    for epoch in range(trial.epoch + 1, trial.max_epochs + 1):
        torch.nn.init.constant_(net.weight, epoch)
        trial.report({"loss": net.weight}, checkpoint=net)


def folder_saver(config: dict[str, Any], trial: Any) -> None:
    """Saves what it has on disk, as libraries write it."""
    own = Path(tempfile.mkdtemp()) / "model"
    (own / "parts").mkdir(parents=True)
    start = trial.load_checkpoint()
    total = float((start / "parts" / "total.txt").read_text()) if start is not None else 0.0
    for epoch in range(trial.epoch + 1, trial.max_epochs + 1):
        total += epoch
        (own / "parts" / "total.txt").write_text(str(total))
        trial.report({"loss": total}, checkpoint=own)
        (own / "parts" / "total.txt").write_text("later")


def file_saver(config: dict[str, Any], trial: Any) -> None:
    own = Path(tempfile.mkdtemp()) / "best.txt"
    start = trial.load_checkpoint()
    total = float(start.read_text()) if start is not None else 0.0
    for epoch in range(trial.epoch + 1, trial.max_epochs + 1):
        total += epoch
        own.write_text(str(total))
        trial.report({"loss": total}, checkpoint=own)


def missing_saver(config: dict[str, Any], trial: Any) -> None:
    trial.report({"loss": 1.0}, checkpoint=Path("not-there"))


def careless(config: dict[str, Any], trial: Any) -> Iterator[dict[str, float]]:
    """Saves a whole module, which torch loads only by running what the file names."""
    while True:
        yield {"loss": 1.0}
        trial.save_checkpoint(torch.nn.Linear(1, 1))


def non_saver(config: dict[str, Any], trial: Any) -> Iterator[dict[str, float]]:
    for epoch in range(1, 100):
        EVENTS.append(f"train {epoch}")
        yield {"loss": float(epoch)}


def rare_saver(config: dict[str, Any], trial: Any) -> Iterator[dict[str, float]]:
    for epoch in range(1, 10):
        yield {"loss": float(epoch)}
        if epoch % 4 == 0 or epoch == 9:
            trial.save_checkpoint(epoch)


def empty_saver(config: dict[str, Any], trial: Any) -> Iterator[dict[str, float]]:
    trial.save_checkpoint(config["state"], epoch=1)
    yield {"loss": 1.0}


def reporter(config: dict[str, Any], trial: Any) -> None:
    start = trial.load_checkpoint() or 0
    for epoch in range(start + 1, config.get("epochs", trial.max_epochs) + 1):
        trial.report({"loss": 1.0 / epoch})
        trial.save_checkpoint(epoch)
    EVENTS.append("returned")


def drawer(config: dict[str, Any], trial: Any) -> Iterator[dict[str, Any]]:
    """Draws from the three global generators."""
    while True:
        yield {
            "loss": torch.rand(()),
            "numpy": np.random.rand(),
            "python": random.random(),
            "seed": trial.seed % 2**20,
        }


def describer(config: dict[str, Any], trial: Any) -> Iterator[dict[str, float]]:
    EVENTS.append(f"{config} {trial.number} {trial.max_epochs} {trial.device}")
    EVENTS.append(f"{torch.get_num_threads()}")
    while True:
        yield {"loss": trial.epoch}


def raiser(config: dict[str, Any], trial: Any) -> Iterator[dict[str, float]]:
    yield {"loss": 1.0}
    raise RAISED[-1]


def silent(config: dict[str, Any], trial: Any) -> None:
    """Reports nothing."""


def stubborn(config: dict[str, Any], trial: Any) -> Iterator[dict[str, float]]:
    try:
        yield {"loss": 1.0}
    finally:
        raise RuntimeError("the cleanup broke")


class Net:
    """Training as a class."""

    def __init__(self, config: dict[str, Any], trial: Any) -> None:
        self.net, self.config, self.trial = nn.Linear(3, 1), config, trial

    def train_epoch(self) -> dict[str, Any] | None:
        if self.trial.epoch >= self.config.get("epochs", 100):
            return None
        with torch.no_grad():
            self.net.weight.mul_(0.5)
        return {"loss": self.net.weight.abs().sum()}

    def state_dict(self) -> dict[str, Any]:
        return {key: value.clone() for key, value in self.net.state_dict().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.net.load_state_dict(state)

    def close(self) -> None:
        EVENTS.append("closed")
        if "error" in self.config:
            raise self.config["error"]
