"""Multi-label classification by what labels have to do with each other: chains and label sets.

Shapes: B rows, L labels, K sets of labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hpsearch.components.losses import Loss, LossSection
from hpsearch.components.metrics import MetricSections
from hpsearch.components.tasks.heads import Head, HeadSection, log_mean
from hpsearch.components.tasks.multilabel import Multilabel
from hpsearch.components.tasks.parts import Targets, TaskComponents, make_parts
from hpsearch.errors import BadConfigurationError, DataError
from hpsearch.registry import register


@dataclass(frozen=True)
class LabelParts:
    """What the keywords of a multi-label task say, and which sets of labels the data has."""

    num_labels: int
    label_sets: Sequence[Sequence[int]]
    loss: Any = None
    head: Any = None
    metrics: Sequence[Any] = ()
    folder: Path | None = None

    def binary_relevance(self) -> Multilabel:
        """Return the task of labels that are learned each by itself."""
        targets = Targets("multilabel", self.num_labels)
        parts = make_parts(targets, "soft_bce", self.loss, self.head, self.metrics, self.folder)
        return Multilabel(parts)

    def chain(self) -> Multilabel:
        """Return the task of labels that are learned given those before them."""
        task = replace(self, head=self._own_head("chain")).binary_relevance()
        links = Links(self.num_labels)
        parts = TaskComponents(
            ChainLoss(task.criterion, links), ChainHead(links), task.scores_asked, self.has_loss
        )
        return Chained(parts)

    def powerset(self) -> Multilabel:
        """Return the task of sets of labels as classes."""
        if not self.label_sets:
            rule = "powerset needs the labels of all training rows, as arrays have them"
            raise DataError(rule, keyword="strategy")
        if len(self.label_sets) < 2:
            rule = "powerset needs two different sets of labels at least, but all rows have one"
            raise DataError(rule, keyword="strategy")
        scores = replace(self, loss=None, head=self._own_head("powerset")).binary_relevance()
        head = PowersetHead(self.label_sets)
        classes = Targets("classification", len(self.label_sets))
        parts = make_parts(classes, "cross_entropy", self.loss, folder=self.folder)
        loss = PowersetLoss(parts.loss, head)
        return Powerset(
            TaskComponents(loss, head, scores.scores_asked, self.has_loss), len(self.label_sets)
        )

    @property
    def has_loss(self) -> bool:
        """Whether a loss is given, whose value is then reported."""
        return self.loss is not None

    def _own_head(self, strategy: str) -> str:
        name = self.head["name"] if isinstance(self.head, dict) else self.head
        if name in (None, "sigmoid"):
            return "sigmoid"
        rule = f"must be sigmoid for the strategy {strategy}, which gives probabilities"
        raise BadConfigurationError(rule, name, keyword="head")


class Links(nn.Module):
    """z_j + sum u_ij y_i over the labels i before j: logits of labels given those before."""

    def __init__(self, num_labels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(num_labels, num_labels))

    def given(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the logits (B, L) where all labels are known."""
        return outputs + labels @ self.weight.triu(1)

    def forward(self, outputs: Tensor) -> Tensor:
        """Return the logits (B, L) where each label before is what the chain says of it."""
        logits = list(outputs.unbind(-1))
        for j in range(len(logits)):
            is_set = (logits[j] > 0).to(outputs.dtype)
            for later in range(j + 1, len(logits)):
                logits[later] = logits[later] + is_set * self.weight[j, later]
        return torch.stack(logits, -1)

    def undone(self, logits: Tensor) -> Tensor:
        """Return outputs for which `forward` gives these logits."""
        return logits - (logits > 0).to(logits.dtype) @ self.weight.triu(1).to(logits.dtype)


class ChainLoss(Loss):
    """A loss of the logits given the true labels before each."""

    def __init__(self, loss: Loss, links: Links) -> None:
        super().__init__()
        self.loss, self.links = loss, links

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over the rows."""
        value: Tensor = self.loss(self.links.given(outputs, targets), targets)
        return value


class ChainHead(Head):
    """The sigmoid of each label's logit, given what the chain says of those before."""

    kinds: ClassVar[tuple[str, ...]] = ("multilabel",)

    def __init__(self, links: Links) -> None:
        super().__init__()
        self.links = links

    def forward(self, outputs: Tensor) -> Tensor:
        """Return the probability of each label."""
        return self.read(outputs).sigmoid()

    def read(self, outputs: Tensor) -> Tensor:
        """See Head."""
        logits: Tensor = self.links(outputs)
        return logits

    def inverse(self, predictions: Tensor) -> Tensor:
        """See Head."""
        return self.links.undone(predictions.logit())

    def mean(self, outputs: Tensor) -> Tensor:
        """See Head."""
        probabilities = self(outputs).mean(0)
        return self.inverse(probabilities.clamp(_LEAST, 1 - _LEAST))


class Chained(Multilabel):
    """A classifier chain (Read et al., 2011): each label is learned given those before it.

    One model serves all links, which have a weight for each pair of labels. While training the
    labels before are the true ones, afterwards what the chain says of them.
    """

    def _own_totals(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return super()._own_totals(self.head.read(outputs), targets)


class PowersetHead(Head):
    """Outputs (B, K), one for each set of labels, as what they say of the labels."""

    kinds: ClassVar[tuple[str, ...]] = ("multilabel",)
    sets: Tensor

    def __init__(self, label_sets: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.register_buffer("sets", torch.tensor(label_sets, dtype=torch.float32), False)

    def forward(self, outputs: Tensor) -> Tensor:
        """Return the probability of each label, the sum of those of its sets."""
        return (outputs.softmax(-1) @ self.sets.to(outputs)).clamp(0, 1)

    def read(self, outputs: Tensor) -> Tensor:
        """Return, label by label, how much more the best set that has it gets than the best that
        hasn't: above 0 for the labels of the likeliest set."""
        has = self.sets.to(outputs.device).bool()
        apart = outputs[..., None, :].expand(*outputs.shape[:-1], has.shape[1], len(has))
        best = apart.masked_fill(~has.T, -torch.inf).amax(-1)
        rest = apart.masked_fill(has.T, -torch.inf).amax(-1)
        return (best - rest).clamp(-_SURE, _SURE)

    def inverse(self, predictions: Tensor) -> Tensor:
        """Return log p of each set where labels are independent."""
        has, p = self.sets.to(predictions), predictions.clamp(_LEAST, 1 - _LEAST)
        return p.log() @ has.T + (1 - p).log() @ (1 - has).T

    def mean(self, outputs: Tensor) -> Tensor:
        """Return the logarithms of the mean probabilities of the sets."""
        return log_mean(outputs.log_softmax(-1))

    def numbers(self, targets: Tensor) -> Tensor:
        """Return the number of each row's set, int64 (B,), of the one with most labels in common
        where it is unknown."""
        has = self.sets.to(targets.device)[None] > 0.5
        same: Tensor = (has == (targets[:, None] > 0.5)).sum(-1)
        return same.argmax(-1)


#: what stands for a label that all sets have, or none has
_SURE = 30.0
#: the smallest probability whose logarithm is taken
_LEAST = 1e-6


class PowersetLoss(Loss):
    """A loss of classes, which are sets of labels."""

    def __init__(self, loss: Loss, head: PowersetHead) -> None:
        super().__init__()
        self.loss, self.head = loss, head

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over the rows."""
        value: Tensor = self.loss(outputs, self.head.numbers(targets))
        return value


class Powerset(Multilabel):
    """Label powerset (Tsoumakas & Katakis, 2007): each set of labels in training is a class.

    The labels of the likeliest set are set; probabilities, of which the loss is reported, are
    the sums over sets.
    """

    def __init__(self, parts: TaskComponents, num_outputs: int) -> None:
        super().__init__(parts)
        self.num_outputs = num_outputs

    def _own_totals(self, outputs: Tensor, targets: Tensor) -> Tensor:
        totals = super()._own_totals(self.head.read(outputs), targets)
        shares = self.head(outputs).clamp(_LEAST, 1 - _LEAST)
        losses = F.binary_cross_entropy(shares, targets, reduction="none").mean(1).double()
        return torch.cat([losses.sum().reshape(1), totals[1:]])


@register("task", "multilabel")
def multilabel(
    output_size: int,
    label_sets: Sequence[Sequence[int]],
    folder: Path | None,
    loss: LossSection | None = None,
    head: HeadSection = None,
    metrics: MetricSections = (),
    in_order: bool = False,
    strategy: Literal["binary_relevance", "chain", "powerset"] = "binary_relevance",
) -> Multilabel:
    """Labels that don't exclude each other, learned by soft_bce or another loss.

    By `binary_relevance` each label is learned by itself; in a `chain` (Read et al., 2011) given
    the labels before it, in the order of the columns; by `powerset` each set of labels that
    training rows have is a class, learned by cross entropy. Reports the binary cross entropy (mean
    over labels) whatever is trained on, subset accuracy, Hamming loss, micro and macro F1; and
    `criterion`, the value of a loss that is given. For a data set with `kind: multilabel`, whose
    targets (rows, labels) are from 0 to 1. `in_order` is that of `classification`.
    """
    parts = LabelParts(output_size, label_sets, loss, head, metrics, folder)
    task: Multilabel = getattr(parts, strategy)()
    task.in_order = in_order
    return task
