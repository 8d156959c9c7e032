"""Several targets of different kinds: classes and numbers beside each other, a head for each.

Shapes: B rows, N outputs, those of each target one after another: one a class, or one number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from annotated_types import Ge
from torch import Tensor

from hpsearch.components.data import Kind
from hpsearch.components.encodings import TargetEncoding, Values, register_encoding
from hpsearch.components.losses import Loss
from hpsearch.components.losses.weighting import FixedWeighting, UncertaintyWeighting
from hpsearch.components.tasks.classification import labels_of
from hpsearch.components.tasks.heads import Head, log_mean
from hpsearch.components.tasks.parts import SupervisedTask, TaskComponents
from hpsearch.errors import BadConfigurationError, nearest_names
from hpsearch.registry import register

#: a target's name, and its classes; a number has none
Block = tuple[str, Sequence[str]]


class MixedTargets(TargetEncoding):
    """Float32 (rows, outputs): of a class one-hot columns, of a number its standardised value."""

    must_be_said: ClassVar[bool] = True
    standardizes: ClassVar[bool] = True

    def description(self, output_size: int) -> str:
        """See TargetEncoding."""
        return f" by {output_size} outputs"

    def is_scaled(self, y: Values) -> Values:
        """See TargetEncoding: numbers, which aren't 0 and 1 alone."""
        numbers: Values = np.asarray(~np.isin(y, (0, 1)).all(0))
        return numbers

    def output_size(self, y: Values, names: Sequence[str], input_shape: tuple[int, ...]) -> int:
        """Return the number of columns."""
        return int(y.shape[1])

    def forecasts(self, y: Values, output_size: int) -> dict[str, Tensor]:
        """The rows' shares of classes, and means of numbers."""
        return {"prior": torch.from_numpy(y.mean(0, dtype=np.float64))}


register_encoding("multioutput", MixedTargets())


class MixedHead(Head):
    """Probabilities of each target's classes, and numbers as they are."""

    kinds: ClassVar[tuple[Kind, ...]] = ("multioutput",)

    def __init__(self, blocks: Sequence[Block]) -> None:
        super().__init__()
        self.blocks = tuple((name, tuple(classes)) for name, classes in blocks)

    def parts(self, outputs: Tensor) -> list[Tensor]:
        """Return the outputs of each target."""
        return list(torch.split(outputs, [len(classes) or 1 for _, classes in self.blocks], -1))

    def forward(self, outputs: Tensor) -> Tensor:
        """Return (B, N)."""
        return self._each(outputs, lambda part: part.softmax(-1))

    def read(self, outputs: Tensor) -> Tensor:
        """Return the number of the likeliest class of each target, or its number, (B, targets)."""
        pairs = zip(self.blocks, self.parts(outputs), strict=True)
        answers = [
            part.argmax(-1, keepdim=True).to(part) if classes else part
            for (_, classes), part in pairs
        ]
        return torch.cat(answers, -1)

    def inverse(self, predictions: Tensor) -> Tensor:
        """See Head."""
        return self._each(predictions, torch.log)

    def mean(self, outputs: Tensor) -> Tensor:
        """See Head: the logarithms of mean probabilities, and mean numbers."""
        pairs = zip(self.blocks, self.parts(outputs), strict=True)
        return torch.cat(
            [
                log_mean(part.log_softmax(-1)) if classes else part.mean(0)
                for (_, classes), part in pairs
            ],
            -1,
        )

    def columns(
        self,
        encoding: TargetEncoding,
        answers: Values,
        shares: Values,
        names: Sequence[str],
        share: str,
    ) -> Mapping[str, Values]:
        """See Head: each target by its name, then the probabilities of its classes."""
        found: dict[str, Values] = {}
        chances: dict[str, Values] = {}
        parts = self.parts(torch.from_numpy(shares))
        for (name, classes), column, part in zip(self.blocks, answers.T, parts, strict=True):
            found[name] = labels_of(classes)[column.astype(np.int64)] if classes else column
            for label, chance in zip(classes, part.numpy().T, strict=False):
                chances[f"{share}_{name}_{label}"] = chance
        return found | chances

    def _each(self, values: Tensor, of_classes: Any) -> Tensor:
        pairs = zip(self.blocks, self.parts(values), strict=True)
        return torch.cat(
            [of_classes(part) if classes else part for (_, classes), part in pairs], -1
        )


class MixedLoss(Loss):
    """The cross entropy of each class and the squared error of each number, added up."""

    kinds: ClassVar[tuple[Kind, ...]] = ("multioutput",)

    def __init__(self, head: MixedHead, weighting: FixedWeighting | UncertaintyWeighting) -> None:
        super().__init__()
        self.head, self.weighting = head, weighting

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return those of each row and target, (B, targets)."""
        of = zip(self.head.blocks, self.head.parts(outputs), self.head.parts(targets), strict=True)
        losses = [
            F.cross_entropy(output, target, reduction="none")
            if classes
            else (output - target).square()[:, 0]
            for (_, classes), output, target in of
        ]
        return torch.stack(losses, 1)

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the weighted sum of the mean losses."""
        weighted: Tensor = self.weighting(self.losses(outputs, targets).mean(0))
        return weighted


class Multioutput(SupervisedTask):
    """Losses and scores of each target: accuracy of classes, R² of numbers."""

    kind: ClassVar[Kind] = "multioutput"

    def __init__(self, head: MixedHead, loss: MixedLoss) -> None:
        self._heads = head
        self._losses = loss
        self._scores = [
            ("accuracy_" if classes else "r2_") + re.sub(r"\W+", "_", name)
            for name, classes in head.blocks
        ]
        super().__init__(TaskComponents(loss, head, reports_loss=True))

    @property
    def own_metrics(self) -> tuple[str, ...]:  # type: ignore[override]  # of the data's targets
        """The mean loss of all targets, and a score of each."""
        return ("loss", *self._scores)

    def _own_totals(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return, target by target: losses; right answers or targets; squared targets."""
        losses = self._losses.losses(outputs, targets).double().sum(0)
        answers, truths = self._heads.read(outputs), self._heads.read(targets).double()
        have_classes = [bool(classes) for _, classes in self._heads.blocks]
        is_class = torch.tensor(have_classes, device=truths.device)
        first = torch.where(is_class, (answers == truths).double(), truths).sum(0)
        return torch.cat([losses, first, truths.square().sum(0)])

    def _own_summary(self, totals: Sequence[float], num_rows: float) -> dict[str, float]:
        losses, first, squares = np.reshape(totals, (3, -1))
        found = {"loss": float(losses.mean() / num_rows)}
        blocks = zip(self._scores, self._heads.blocks, losses, first, squares, strict=True)
        for name, (_, classes), loss, one, square in blocks:
            varies = max(square - one**2 / num_rows, 1e-12 * num_rows)
            found[name] = float(one / num_rows if classes else 1 - loss / varies)
        return found


@register("task", "multioutput")
def multioutput(
    target_blocks: Sequence[Block],
    weights: Mapping[str, Annotated[float, Ge(0)]] | None = None,
    weighting: Literal["fixed", "uncertainty"] = "fixed",
) -> Multioutput:
    """Several targets of a table, classes and numbers, each with a head of its own.

    The loss is the sum of the cross entropies of classes and the squared errors of standardised
    numbers, weighed by `weights`, by the targets' names (1 by default), or by the losses' learned
    uncertainty (Kendall et al., 2018). Reports their mean without weights as `loss`, the weighted
    sum as `criterion`, and `accuracy_NAME` or `r2_NAME` of each target.
    """
    names = [name for name, _ in target_blocks]
    for name in weights or {}:
        if name not in names:
            rule = f"must name targets of the data set ({', '.join(names)})"
            near = nearest_names(name, names)
            raise BadConfigurationError(rule, name, keyword="weights", nearest=near)
    if weights and weighting == "uncertainty":
        rule = "must not be given with the weighting uncertainty, which learns them"
        raise BadConfigurationError(rule, dict(weights), keyword="weights")
    head = MixedHead(target_blocks)
    fixed = FixedWeighting([float((weights or {}).get(name, 1)) for name in names])
    is_fixed = weighting == "fixed"
    return Multioutput(
        head, MixedLoss(head, fixed if is_fixed else UncertaintyWeighting(len(names)))
    )
