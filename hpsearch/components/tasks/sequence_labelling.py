"""Sequence labelling: a class for each step of a sequence, at once or some steps later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import torch
from annotated_types import Ge
from torch import Tensor

from hpsearch.components.batch import IGNORED, Batch, Tree, in_float32
from hpsearch.components.data import Kind
from hpsearch.components.encodings import Values, register_encoding
from hpsearch.components.losses import LossSection
from hpsearch.components.metrics import MetricSections, Predictions
from hpsearch.components.tasks.parts import (
    SupervisedTask,
    Targets,
    TaskComponents,
    make_parts,
    predicted_classes,
    summed_cross_entropy,
)
from hpsearch.components.tasks.placed_classes import PlacedClasses, class_numbers
from hpsearch.errors import BadConfigurationError, DataError
from hpsearch.registry import register


class StepClasses(PlacedClasses):
    """Class numbers int64 (rows, steps); steps that don't count are IGNORED.

    Outputs are (rows, steps, classes).
    """

    has_means: ClassVar[bool] = False

    def description(self, output_size: int) -> str:
        """See TargetEncoding."""
        return f" into {output_size} classes of steps"

    def checked(self, y: Values, names: Sequence[str], x: Values) -> Values:
        """Return class numbers; DataError for what is none."""
        if x.ndim not in (2, 3) or y.shape != x.shape[:2]:
            raise DataError(
                "sequence_labelling needs sequences (rows, steps, features) or ids (rows, steps), "
                f"and a class for each step (rows, steps), but got {x.shape} and {y.shape}"
            )
        if len(names) < 2:
            raise DataError("sequence_labelling needs the names of two classes (`classes`)")
        return class_numbers(y, len(names), "classes")

    def output_shape(self, output_size: int, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (steps, classes)."""
        return (input_shape[0], output_size)

    def forecasts(self, y: Values, output_size: int) -> dict[str, Tensor]:
        """The classes' shares of the steps, and all classes alike."""
        prior = torch.tensor(self.base_rates(y, output_size), dtype=torch.float64)
        return {"prior": prior, "uniform": torch.full_like(prior, 1 / output_size)}

    def right_outputs(self, targets: Tensor, output_size: int) -> Tensor:
        """See TargetEncoding; a step that doesn't count may be anything."""
        return super().right_outputs(targets.clamp_min(0), output_size)

    def answers(self, outputs: Tensor) -> Tensor:
        """Return the likeliest class at each step, (rows, steps)."""
        return outputs.argmax(-1)

    def columns(
        self, answers: Values, shares: Values, names: Sequence[str], share: str
    ) -> Mapping[str, Values]:
        """Return what is said at each step, counted from 0."""
        labels = np.array(names, dtype=object)
        return {f"step_{step}": labels[column] for step, column in enumerate(answers.T)}


register_encoding("sequence_labelling", StepClasses())


class SequenceLabelling(SupervisedTask):
    """Cross entropy and accuracy over the steps that count."""

    kind: ClassVar[Kind] = "sequence_labelling"
    own_metrics: ClassVar[tuple[str, ...]] = ("loss", "accuracy")
    joins_batches: ClassVar[bool] = False

    def __init__(self, parts: TaskComponents, delay: int) -> None:
        super().__init__(parts)
        self._delay = delay

    def count(self, batch: Batch) -> Tensor | int:
        """Return the number of steps that count."""
        counts: Tensor = (self._of_delayed(batch.targets) != IGNORED).sum()
        return counts

    def _compared(self, outputs: Tree, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return logits (steps, classes) and targets, those that don't count as IGNORED.

        Losses other than the usual one don't know what to ignore: they get what counts.
        """
        logits, targets = self._flat(in_float32(outputs), batch.targets)
        if not self._parts.reports_loss:
            return logits, targets
        counts = targets != IGNORED
        return logits[counts], targets[counts]

    def _num_compared(self, targets: Tensor) -> Tensor:
        """Return the number of steps that count."""
        return (targets != IGNORED).sum().double().reshape(1)

    def _predictions(self, outputs: Tensor, targets: Tensor) -> Predictions:
        return predicted_classes(self.head, *self._flat(outputs, targets))

    def _own_totals(self, outputs: Tensor, targets: Tensor) -> Tensor:
        loss = summed_cross_entropy(self.head.logits(outputs), targets)
        return torch.stack([loss, (outputs.argmax(1) == targets).sum().double()])

    def _own_summary(self, totals: Sequence[float], num_rows: float) -> dict[str, float]:
        loss, num_correct = totals
        return {"loss": loss / num_rows, "accuracy": num_correct / num_rows}

    def _flat(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return outputs (steps, classes), and the targets of `delay` steps before each."""
        return outputs[:, self._delay :].flatten(0, 1), self._of_delayed(targets).flatten()

    def _of_delayed(self, targets: Tensor) -> Tensor:
        return targets[:, : targets.shape[1] - self._delay]


@register("task", "sequence_labelling")
def sequence_labelling(
    output_size: int,
    output_shape: tuple[int, ...],
    class_counts: Sequence[int],
    folder: Path | None,
    delay: Annotated[int, Ge(0)] = 0,
    loss: LossSection | None = None,
    metrics: MetricSections = (),
    stateful: bool = False,
) -> SequenceLabelling:
    """A class for each step of a sequence, learned by cross entropy or another loss.

    With a `delay` the output at each step is of so many steps before: the first outputs count
    nowhere, nor the last targets. Reports the cross entropy a step whatever is trained on, and the
    accuracy; `criterion` is the value of a loss that is given. To `metrics` each step is a row of
    a classification. For models with an output at each step (rnn, transformer, echo_state).
    `stateful` is that of `language_model`, for a data set whose rows follow each other, split
    chronologically.
    """
    if len(output_shape) == 2 and delay >= output_shape[0]:
        rule = f"must be below the {output_shape[0]} steps of a sequence"
        raise BadConfigurationError(rule, delay, keyword="delay")
    targets = Targets("classification", output_size, class_counts)
    parts = make_parts(targets, "cross_entropy", loss, "softmax", metrics, folder)
    task = SequenceLabelling(parts, delay)
    task.stateful = stateful
    return task
