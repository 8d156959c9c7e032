"""Trials of a script, without Ray."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

from hpsearch.spec import Command, TrialConfig
from hpsearch.training.command import CommandTrainer, OtherNodes, TrialFolders

#: reports its rate as the accuracy of each epoch, and goes on from its checkpoint
SCRIPT = """
    import argparse, pathlib, hpsearch
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float)
    parser.add_argument("--epochs", type=int, default=5)
    options = parser.parse_args()
    saved = hpsearch.checkpoint_dir() / "epoch"
    first = int(saved.read_text()) if saved.exists() else 0
    for epoch in range(first, options.epochs):
        print("training", epoch)
        saved.write_text(str(epoch + 1))
        hpsearch.report(epoch=epoch, accuracy=options.rate + epoch)
    pathlib.Path(hpsearch.checkpoint_dir(), "done").touch()
"""


def folders_in(path: Path) -> TrialFolders:
    """Return a trial's folders below a path."""
    return TrialFolders(path / "checkpoints", path / "outputs")


def make_trainer(
    path: Path,
    script: str = SCRIPT,
    command: Mapping[str, Any] | None = None,
    max_epochs: int = 5,
    space: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    metric: str = "accuracy",
    others: OtherNodes | None = None,
    **more: Any,
) -> CommandTrainer:
    """Return the trainer of a script, which is written to a folder."""
    (path / "train.py").write_text(dedent(script))
    settings = {"run": [sys.executable, "train.py"], "stop_grace": 2.0, **(command or {})}
    config = TrialConfig(
        number=0,
        seed=0,
        max_epochs=max_epochs,
        values={"space": {"rate": 0.5} if space is None else dict(space)},
        metric=metric,
        command=Command.model_validate(settings).model_dump(mode="json"),
        metrics=dict(metrics) if metrics else None,
        folder=str(path),
        **more,
    )
    return CommandTrainer(config, folders_in(path), others)


@contextmanager
def training(path: Path, *arguments: Any, **more: Any) -> Iterator[CommandTrainer]:
    """Yield the trainer of a script, which is closed in the end."""
    trainer = make_trainer(path, *arguments, **more)
    try:
        yield trainer
    finally:
        trainer.close()


def curve(trainer: CommandTrainer, metric: str = "accuracy") -> list[float]:
    """Train to the end and return a metric of each epoch."""
    found = []
    while trainer.epoch < trainer._config.max_epochs:
        if (metrics := trainer.train_epoch()) is None:
            break
        found.append(metrics[metric])
    return found
