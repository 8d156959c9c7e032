"""Sequence generation: a class for each step, said one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from hpsearch.components.data import Kind
from hpsearch.components.encodings import Values, register_encoding
from hpsearch.components.examples import Arrays
from hpsearch.components.losses import LossSection
from hpsearch.components.metrics import MetricSections
from hpsearch.components.pairs import Taught
from hpsearch.components.tasks.parts import Targets, make_parts
from hpsearch.components.tasks.sequence_labelling import SequenceLabelling, StepClasses
from hpsearch.registry import register


class GeneratedClasses(StepClasses):
    """Class numbers int64 (rows, steps), which models are given, too, while they train."""

    made_of: ClassVar[str] = "sequence_labelling"
    gives_targets: ClassVar[bool] = True

    def output_size(self, y: Values, names: Sequence[str], input_shape: tuple[int, ...]) -> int:
        """Return the number of classes, of targets that have no names one more than the last."""
        return len(names) or int(y.max()) + 1

    def examples(self, rows: Arrays) -> Taught:
        """Return the rows, whose targets are inputs too."""
        return Taught(rows.x, rows.y)


register_encoding("sequence_generation", GeneratedClasses())


class SequenceGeneration(SequenceLabelling):
    """Cross entropy and accuracy over the steps that count; in evaluation of what a model says
    by itself."""

    kind: ClassVar[Kind] = "sequence_generation"


@register("task", "sequence_generation")
def sequence_generation(
    output_size: int,
    class_counts: Sequence[int],
    folder: Path | None,
    loss: LossSection | None = None,
    metrics: MetricSections = (),
) -> SequenceGeneration:
    """A class for each step of a sequence, each said after those before it (one to many, many to
    many), for the model encoder_decoder and data sets of labelled sequences.

    Loss and metrics are those of sequence_labelling. In training a model may be given the target
    of the step before (teacher forcing), so that its training metrics may be better than what it
    says by itself, as in evaluation. A model of yours gets pairs of inputs and targets, class
    numbers (rows, steps), and must take no notice of the latter unless it trains; where it is
    exported it gets inputs alone.
    """
    targets = Targets("classification", output_size, class_counts)
    parts = make_parts(targets, "cross_entropy", loss, "softmax", metrics, folder)
    return SequenceGeneration(parts, 0)
