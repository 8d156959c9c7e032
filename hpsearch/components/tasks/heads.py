"""Heads by name: what a model's outputs mean, and how predictions are made of them.

Models give plain outputs; a head is no part of training, where the loss reads them itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hpsearch.components.data import Kind
from hpsearch.components.encodings import TargetEncoding, Values
from hpsearch.registry import ComponentOf, register

#: annotation of a keyword that is a head
HEAD = ComponentOf("head", optional=True)
HeadSection = Annotated[Any, HEAD]
#: how far from 1 a probability is at least where its odds are asked for
_LEAST_DOUBT = 1e-7


class Head(nn.Module):
    """Turns outputs (rows, outputs) into predictions; `forward` gives what users ask for."""

    kinds: ClassVar[tuple[Kind, ...]] = ()
    gives_probabilities: ClassVar[bool] = True

    def logits(self, outputs: Tensor) -> Tensor:
        """Return scores (rows, classes) whose softmax are the probabilities."""
        return outputs

    def margins(self, outputs: Tensor) -> Tensor:
        """Return a score of each class against the rest (rows, classes)."""
        return outputs

    def read(self, outputs: Tensor) -> Tensor:
        """Return outputs as answers are read from them: of labels, above 0 where they are set."""
        return outputs

    def columns(
        self,
        encoding: TargetEncoding,
        answers: Values,
        shares: Values,
        names: Sequence[str],
        share: str,
    ) -> Mapping[str, Values]:
        """Return answers and shares as columns of a table; see TargetEncoding."""
        return encoding.columns(answers, shares, names, share)

    def inverse(self, predictions: Tensor) -> Tensor:
        """Return outputs for which `forward` gives these predictions, where it can."""
        return predictions

    def mean(self, outputs: Tensor) -> Tensor:
        """Return outputs whose predictions are the mean of those of outputs (samples, ...)."""
        return outputs.mean(0)


class Linear(Head):
    """Outputs as they are."""

    kinds: ClassVar[tuple[Kind, ...]] = ("regression", "pairs", "metric_learning")
    gives_probabilities: ClassVar[bool] = False

    def forward(self, outputs: Tensor) -> Tensor:
        """Return the outputs."""
        return outputs


class LogOdds(Linear):
    """Outputs as they are, which are log odds of probabilities."""

    kinds: ClassVar[tuple[Kind, ...]] = ()

    def mean(self, outputs: Tensor) -> Tensor:
        """Return the log odds of the mean probabilities."""
        return _mean_log_odds(outputs)


class Softmax(Head):
    """e^z / sum e^z over an axis, that of the classes."""

    kinds: ClassVar[tuple[Kind, ...]] = ("classification",)

    def __init__(self, axis: int = -1) -> None:
        super().__init__()
        self._axis = axis

    def forward(self, outputs: Tensor) -> Tensor:
        """Return the probability of each class."""
        return outputs.softmax(self._axis)

    def margins(self, outputs: Tensor) -> Tensor:
        """Return log(p / (1 - p))."""
        return _log_odds(outputs.log_softmax(self._axis))

    def inverse(self, predictions: Tensor) -> Tensor:
        """Return the logarithms."""
        return predictions.log()

    def mean(self, outputs: Tensor) -> Tensor:
        """Return the logarithms of the mean probabilities."""
        axis = self._axis if self._axis < 0 else self._axis + 1  # after that of the samples
        return log_mean(outputs.log_softmax(axis))


class Sigmoid(Head):
    """1 / (1 + e^-z) of each label, or of each class and then divided by their sum."""

    kinds: ClassVar[tuple[Kind, ...]] = ("multilabel", "classification")

    def __init__(self, *, exclusive: bool) -> None:
        super().__init__()
        self._exclusive = exclusive

    def forward(self, outputs: Tensor) -> Tensor:
        """Return the probability of each label or class."""
        return self.logits(outputs).softmax(-1) if self._exclusive else outputs.sigmoid()

    def logits(self, outputs: Tensor) -> Tensor:
        """Return log s(z): dividing by the sum of s(z) is their softmax."""
        return F.logsigmoid(outputs)

    def inverse(self, predictions: Tensor) -> Tensor:
        """Return the log odds."""
        return predictions.logit()

    def mean(self, outputs: Tensor) -> Tensor:
        """Return the log odds of the mean probabilities."""
        if not self._exclusive:
            return _mean_log_odds(outputs)
        return _log_odds(log_mean(self.logits(outputs).log_softmax(-1)))


class Svm(Head):
    """Scores: the greatest, or each above 0, is the answer; probabilities need calibration."""

    kinds: ClassVar[tuple[Kind, ...]] = ("classification", "multilabel")
    gives_probabilities: ClassVar[bool] = False

    def forward(self, outputs: Tensor) -> Tensor:
        """Return the scores."""
        return outputs

    def inverse(self, predictions: Tensor) -> Tensor:
        """Return scores of the same order, above 0 for what is likelier than not."""
        return 2 * predictions - 1


def log_mean(logs: Tensor) -> Tensor:
    """Return log(mean e^l) over the first axis, where e^l may be too small for a number."""
    return logs.logsumexp(0) - math.log(len(logs))


def _mean_log_odds(outputs: Tensor) -> Tensor:
    return log_mean(F.logsigmoid(outputs)) - log_mean(F.logsigmoid(-outputs))


def _log_odds(logs: Tensor) -> Tensor:
    """Return log(p / (1 - p)) of log p."""
    logs = logs.clamp_max(-_LEAST_DOUBT)
    return logs - (-torch.expm1(logs)).log()


@register("head", "linear")
def linear() -> Head:
    """z: numbers, for a regression."""
    return Linear()


@register("head", "softmax")
def softmax() -> Head:
    """e^z / sum e^z: probabilities of classes that exclude each other."""
    return Softmax()


@register("head", "sigmoid")
def sigmoid(kind: Kind) -> Head:
    """1 / (1 + e^-z): a probability for each label.

    Classes exclude each other, so in a classification they are divided by their sum, as
    scikit-learn does for one-vs-rest.
    """
    return Sigmoid(exclusive=kind == "classification")


@register("head", "svm")
def svm() -> Head:
    """z: scores of one-vs-rest machines, no probabilities; a `calibration` makes some of them."""
    return Svm()
