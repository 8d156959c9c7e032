"""Stages by name: what a trial trains before its last stage, which the other sections describe.

A stage is sections that hold for so many epochs in place of the trial's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge

from hpsearch.registry import ComponentOf, Recommended, register

#: sections that an earlier stage has only if it names them: they count epochs, watch metrics, or
#: choose what is trained
OWN_SECTIONS = (
    *("finetune", "lr_schedule", "momentum_schedule", "batch_schedule", "callbacks"),
    "calibration",
)


@dataclass(frozen=True)
class Stage:
    """So many epochs with these sections, in place of the trial's."""

    epochs: int
    sections: Mapping[str, Any]


@register("stage", "train")
def train(
    epochs: Annotated[int, Ge(1), Recommended(1, 27, log=True, prior=5)],
    task: Annotated[Any, ComponentOf("task", optional=True)] = None,
    finetune: Annotated[Any, ComponentOf("finetune", optional=True)] = None,
    optimizer: Annotated[Any, ComponentOf("optimizer", optional=True)] = None,
    lr_schedule: Annotated[Any, ComponentOf("lr_schedule", optional=True)] = None,
    augmentations: Annotated[
        Sequence[Any] | None, ComponentOf("augmentation", many=True, optional=True)
    ] = None,
    callbacks: Annotated[
        Sequence[Any] | None, ComponentOf("callback", many=True, optional=True)
    ] = None,
) -> Stage:
    """Trains the model for another `task`, or for its own: pre-training, or a head by itself.

    `finetune` says what of it is trained. Task, optimizer and augmentations are the trial's where
    none are given; fine-tuning, schedules and callbacks are none.
    """
    given = {
        "task": task,
        "finetune": finetune,
        "optimizer": optimizer,
        "lr_schedule": lr_schedule,
        "augmentations": augmentations,
        "callbacks": callbacks,
    }
    sections = {name: value for name, value in given.items() if value is not None}
    return Stage(epochs, {**dict.fromkeys(OWN_SECTIONS), **sections})
