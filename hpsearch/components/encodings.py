"""How targets of each kind are learned and what predictions of them are: open to new tasks.

A task's `kind` names its encoding; a new kind of task registers one in its own module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Values = np.ndarray[Any, Any]


class TargetEncoding:
    """What depends on the kind of the targets, `y` as arrays hold them; the defaults say nothing.

    The targets that a data set gives are turned into these by `components.datasets.targets`,
    unless `reads_targets` is false: then they are what the data set or its windows make of them.
    """

    reads_targets: ClassVar[bool] = True
    #: whether a task may be learned from a data set whatever its targets are
    ignores_targets: ClassVar[bool] = False
    #: whether outputs are inputs again, whose units they get back
    gives_inputs: ClassVar[bool] = False
    #: whether targets are never taken for such unless the task or the data set says so
    must_be_said: ClassVar[bool] = False
    #: the kind of a data set's own targets of which these are made, once its rows are divided;
    #: nothing: they are its own
    made_of: ClassVar[str] = ""
    #: whether a stage may learn it from data of any other kind too
    takes_any: ClassVar[bool] = False
    #: whether nothing could be learned without augmentations, which evaluation has then, too
    needs_augmentations: ClassVar[bool] = False
    #: whether targets are the inputs as they were before augmentations
    restores: ClassVar[bool] = False
    #: inputs of an example, each of the data set's shape; 0: it has one, without an axis
    num_inputs: ClassVar[int] = 0
    #: whether each target is brought to mean 0 and standard deviation 1
    standardizes: ClassVar[bool] = False
    #: the axes of targets over which that is done, where it isn't as inputs are
    target_axes: ClassVar[tuple[int, ...] | None] = None
    #: whether targets have places in an image, which an augmentation would have to move too
    has_places: ClassVar[bool] = False
    #: whether the mean of two rows' targets is a target
    has_means: ClassVar[bool] = True
    #: whether outputs are embeddings: those of models that were trained apart have no mean
    is_embedding: ClassVar[bool] = False
    #: whether examples come with their targets, which a model is given while it trains
    gives_targets: ClassVar[bool] = False
    #: whether an output must not depend on later steps of its sequence
    is_causal: ClassVar[bool] = False

    def description(self, output_size: int) -> str:
        """Return what follows the kind where the data is described, such as ` into 3 classes`."""
        return ""

    def checked(self, y: Values, names: Sequence[str], x: Values) -> Values:
        """Return targets that aren't read as they are learned; DataError for what can't be."""
        return y

    def output_size(self, y: Values, names: Sequence[str], input_shape: tuple[int, ...]) -> int:
        """Return the number of outputs; of classes and labels there are names."""
        return len(names) or int(y.shape[1])

    def output_shape(self, output_size: int, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of a model's outputs for an example."""
        return (output_size,)

    def input_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of an example whose inputs are of a data set's `shape`."""
        return (self.num_inputs, *shape) if self.num_inputs else shape

    def examples(self, rows: Any) -> Any:
        """Return what is learned from of a split's rows in memory, whose targets are those of
        `made_of`."""
        return rows

    def class_counts(self, y: Values, output_size: int) -> tuple[int, ...]:
        """Return the rows of each class, rounded; nothing where there are no classes."""
        return ()

    def label_sets(self, y: Values) -> tuple[tuple[int, ...], ...]:
        """Return the different sets of labels that rows have, as 0 and 1 for each label."""
        return ()

    def is_scaled(self, y: Values) -> Values:
        """Return which targets `standardizes` is of, given those to train on."""
        return np.array(True)

    def base_rates(self, y: Values, output_size: int) -> tuple[float, ...]:
        """Return how often each output's event is true, and half a row more."""
        return ()

    def forecasts(self, y: Values, output_size: int) -> dict[str, Tensor]:
        """Return one prediction (outputs,) for all rows by the name of each baseline."""
        return {}

    def row_forecasts(self, rows: Any) -> dict[str, Tensor]:
        """Return predictions (rows, outputs) by the name of each baseline that has its own for
        each row of a split."""
        return {}

    def naive_errors(self, y: Values) -> tuple[float, ...]:
        """Return the mean absolute error of the seasonal naive forecast of each series."""
        return ()

    def right_outputs(self, targets: Tensor, output_size: int) -> Tensor:
        """Return outputs of a model that knows the targets, as an order at least."""
        if targets.dtype == torch.int64:
            return F.one_hot(targets, output_size).float()
        return targets

    def answers(self, outputs: Tensor) -> Tensor:
        """Return what is predicted, given a model's outputs."""
        return outputs

    def columns(
        self, answers: Values, shares: Values, names: Sequence[str], share: str
    ) -> Mapping[str, Values]:
        """Return predictions (rows, ...) and what the head gives for them as columns of a table.

        `share` names the latter: `probability` or `score`; `names` those of the outputs.
        """
        return dict(zip(names, answers.T, strict=True))


class NumberedValues(TargetEncoding):
    """Outputs that have no names, but are many values."""

    def columns(
        self, answers: Values, shares: Values, names: Sequence[str], share: str
    ) -> Mapping[str, Values]:
        """Return the values by their number: `value_0`."""
        flat = answers.reshape(len(answers), -1)
        return {f"value_{i}": column for i, column in enumerate(flat.T)}


def register_encoding(kind: str, encoding: TargetEncoding) -> None:
    """Add a kind; ValueError for one that is there."""
    if kind in _ENCODINGS:
        raise ValueError(f"the kind {kind!r} is registered already")
    _ENCODINGS[kind] = encoding


def encoding_of(kind: str) -> TargetEncoding:
    """Return the encoding of a kind."""
    return _ENCODINGS[kind]


def kinds() -> tuple[str, ...]:
    """Return all kinds, sorted."""
    return tuple(sorted(_ENCODINGS))


_ENCODINGS: dict[str, TargetEncoding] = {}
