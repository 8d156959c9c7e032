"""What a task is, and how one is built for a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import Tensor, nn

from hpsearch import registry
from hpsearch.components.batch import Batch, Tree
from hpsearch.components.data import Data, Kind
from hpsearch.components.encodings import encoding_of
from hpsearch.components.examples import Arrays
from hpsearch.components.tasks.heads import Head
from hpsearch.errors import DataError

#: what a task is offered where the data set isn't known, so that its metrics are
NO_DATA: Mapping[str, Any] = {
    "output_size": 2,
    "target_std": (1.0,),
    "class_counts": (1, 1),
    "class_names": ("0", "1"),
    "soft_targets": True,
    "naive_errors": (1.0,),
    "output_shape": (4096, 2),
    "label_sets": ((0, 0), (0, 1), (1, 1)),
    "input_mean": 0.0,
    "input_std": 1.0,
    "input_range": 1.0,
    "input_bounds": (0.0, 1.0),
    "target_blocks": (("0", ("0", "1")), ("1", ())),
}


class Task(Protocol):
    """Loss and metrics, pure functions of a model's outputs and the batch that they are for.

    Outputs may be in half precision, which the task takes to float32.
    """

    @property
    def kind(self) -> Kind:
        """What the targets must be."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of what `summary` returns."""

    @property
    def scores(self) -> tuple[str, ...]:
        """The names of what `measure` returns."""

    @property
    def criterion(self) -> nn.Module:
        """The loss as a module: its parameters are learned with the model's."""

    @property
    def head(self) -> Head:
        """What makes predictions of outputs."""

    @property
    def joins_batches(self) -> bool:
        """Whether `totals` may be of the joined rows of several batches, without their inputs:
        outputs are small, and nothing is computed of a whole batch."""

    def count(self, batch: Batch) -> Tensor | int:
        """Return what the loss of a batch is a mean over: its rows, tokens, pixels or pairs."""

    def loss(self, outputs: Tree, batch: Batch) -> Tensor:
        """Return the mean loss of a batch, which training minimises."""

    def totals(self, outputs: Tree, batch: Batch) -> Tensor:
        """Return sums over a batch and their denominators, as a float64 vector; batches add up."""

    def summary(self, totals: Sequence[float]) -> dict[str, float]:
        """Return the metrics, given totals."""

    def measure(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """Return the scores of all rows of a split, but for those that aren't defined there."""


def task_for(
    data: Data, section: Mapping[str, Any] | None = None, folder: Path | None = None
) -> Task:
    """Build the task of a spec's section, by default the one that the data set is for.

    Raises DataError where the data set's targets are of another kind, BadConfigurationError
    where loss, head, metrics and task don't fit each other.
    """
    keywords = dict(section or {"name": data.kind})
    name = keywords.pop("name")
    task: Task = registry.get("task", name, folder).build(
        keywords,
        output_size=data.output_size,
        target_std=np.ravel(data.y_scale.std).tolist(),
        class_counts=data.class_counts,
        class_names=data.class_names,
        soft_targets=data.has_soft_targets,
        naive_errors=data.naive_errors,
        output_shape=data.output_shape,
        label_sets=data.label_sets,
        target_blocks=data.target_blocks,
        input_mean=data.x_scale.mean,
        input_std=data.x_scale.std,
        input_range=data.input_range,
        input_bounds=data.input_bounds,
        folder=folder,
    )
    if task.kind != data.kind:
        needed = encoding_of(task.kind).made_of or task.kind
        raise DataError(
            f"{name} needs targets for {needed}, but the data set's are for {data.kind}, "
            f"because {data.kind_reason} (the data set's `kind` sets how they are read)",
            keyword="name",
        )
    return task


def output_shape(task: Task, data: Data) -> tuple[int, ...]:
    """Return the shape of a model's outputs for an example: the data's, unless the task has more
    or fewer."""
    own = getattr(task, "num_outputs", None)  # of a user's own it may be unknown
    return data.output_shape if own is None else (own,)


def as_learned_by(data: Data, section: Mapping[str, Any] | None, folder: Path) -> Data:
    """Return data as the task of a section learns it, by default its own.

    A task that ignores targets learns from data of any kind, one of pairs from classes; for others
    the data stays as it is.
    """
    if section is None:
        return data
    keywords = dict(section)
    component = registry.get("task", keywords.pop("name"), folder)
    kind = component.build(keywords, **NO_DATA, folder=folder).kind
    encoding = encoding_of(kind)
    takes = encoding.ignores_targets or encoding.takes_any or encoding.made_of == data.kind
    if kind == data.kind or not takes:
        return data
    if encoding.num_inputs and not isinstance(data.train, Arrays):
        raise DataError(f"{kind} needs rows in memory, but the data set reads them by need")
    targets = data.train.y if isinstance(data.train, Arrays) else np.zeros((0, 1))
    splits: dict[str, Any] = {
        key: encoding.examples(split) if isinstance(split, Arrays) else split
        for key, split in (("train", data.train), ("val", data.val), ("test", data.test))
    }
    return replace(
        data,
        **splits,
        kind=kind,
        input_shape=encoding.input_shape(data.input_shape),
        output_size=encoding.output_size(targets, (), data.input_shape),
        class_names=(),
        kind_reason=f"the task is for {kind}",
    )


def epoch_metrics(
    task: Task, *, has_rest: bool = False, measured: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return the names of all that a trainer reports each epoch.

    A score that isn't defined, such as the ROC AUC of a single class, is left out. `has_rest`
    where fine-tuning leaves rows out, and measures what is forgotten of them. `measured` is what
    callbacks add, in which `{metric}` stands for each metric of the task.
    """
    splits = ("train", "val", *(["rest"] if has_rest else []))
    names = (f"{split}_{metric}" for split in splits for metric in task.metrics)
    scores = (f"{split}_{score}" for split in splits[1:] for score in task.scores)
    rest = ["forgetting"] if has_rest else []
    added = dict.fromkeys(
        name.replace("{metric}", metric) for name in measured for metric in task.metrics
    )
    return (*names, *scores, *rest, "lr", "grad_norm", *added, "seconds")
