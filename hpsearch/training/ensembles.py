"""The mean of several trials: their models as one, evaluated and exported as a trial's own."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from statistics import fmean

import torch
from torch import Tensor, nn

from hpsearch.components.batch import Tree
from hpsearch.components.tasks.heads import Head
from hpsearch.errors import BadConfigurationError, placed
from hpsearch.spec.settings import Direction, sign_of
from hpsearch.training.snapshots import Ensemble
from hpsearch.training.streams import keeping_states
from hpsearch.training.totals import Totals
from hpsearch.training.trainer import Trainer

#: how far from 0 and 1 a probability is at least where outputs of another head are made of it
_LEAST = 1e-7
#: members of a greedy selection, each as often as it counts
MAX_ROUNDS = 50


class Translated(nn.Module):
    """A model whose outputs are those for which another head gives the same predictions."""

    def __init__(self, model: nn.Module, own: Head, other: Head) -> None:
        super().__init__()
        self.model, self.own, self.other = model, own, other

    def forward(self, x: Tree) -> Tensor:
        """Return the outputs (rows, ...) for the other head."""
        predictions: Tensor = self.own(self.model(x).float())
        return self.other.inverse(predictions.clamp(_LEAST, 1 - _LEAST))


def put_together(trainers: Sequence[Trainer], counts: Sequence[int] = ()) -> Trainer:
    """Return the first of several trials' trainers, which evaluates and exports the models of all
    as one from now on: its predictions, of classes their probabilities, are the means of theirs.
    `counts` say how often each counts.

    The models may be of any kind; none is trained any more. Raises BadConfigurationError where
    predictions of one trial mean something else than those of another.
    """
    first = trainers[0]
    check_heads([each.task.head for each in trainers])
    models = [_as_answered_by(first.task.head, each) for each in trainers]
    first.stand_for(Ensemble(models, first.task.head, counts))
    return first


def select_greedily(
    folds: Sequence[Sequence[Trainer]], metric: str, direction: Direction
) -> dict[int, int]:
    """Return which of several trials' trainers to average, by place, and how often each counts:
    forward selection with replacement (Caruana et al., 2004, Ensemble selection from libraries of
    models, ICML), until no trial makes the mean better in a metric of validation.

    `folds` have the trials' trainers of each fold, whose metrics are averaged; of data without
    folds there is one.
    """
    libraries = [_Library(trainers) for trainers in folds]
    sign, best = sign_of(direction), -math.inf
    chosen: list[int] = []
    while len(chosen) < MAX_ROUNDS:
        scores = [
            sign * fmean(library.score([*chosen, place], metric) for library in libraries)
            for place in range(len(folds[0]))
        ]
        if max(scores) <= best:
            break
        best = max(scores)
        chosen.append(scores.index(best))
    return dict(Counter(chosen))


class _Library:
    """Several trials' outputs for the validation rows, as they are for the head of the first."""

    def __init__(self, trainers: Sequence[Trainer]) -> None:
        self._first, heads = trainers[0], [each.task.head for each in trainers]
        check_heads(heads)
        self._evaluation = self._first.evaluation
        with self._evaluation.views() as changed:
            read = self._evaluation.read("val", self._first.epoch)
            self._batches = [changed(batch) for batch in read]
        self._outputs = [self._of(_as_answered_by(heads[0], each)) for each in trainers]

    def score(self, places: Sequence[int], metric: str) -> float:
        """Return a metric of the mean of the trials at these places."""
        task = self._first.task
        totals = Totals(task, self._first.epoch, "val", keep=bool(task.scores))
        for number, batch in enumerate(self._batches):
            outputs = torch.stack([self._outputs[place][number] for place in places])
            totals.add(task.head.mean(outputs), batch)
        return self._evaluation.measured("val", totals)[metric]

    def _of(self, model: nn.Module) -> list[Tensor]:
        model.eval()
        keeps = self._evaluation.keeps_states("val")
        with torch.no_grad(), self._first.autocast(), keeping_states(model, keeps=keeps):
            return [model(batch.inputs) for batch in self._batches]


def mean_metrics(trainers: Sequence[Trainer]) -> dict[str, float]:
    """Return the metrics of validation, the means over folds that have a trainer each."""
    found = [each.evaluate("val") for each in trainers]
    names = [name for name in found[0] if all(name in metrics for metrics in found)]
    return {name: sum(metrics[name] for metrics in found) / len(found) for name in names}


def check_heads(heads: Sequence[Head]) -> None:
    """Refuse heads whose predictions have no mean: probabilities and scores, or other ones."""
    if len({type(head) for head in heads}) > 1 and not all(h.gives_probabilities for h in heads):
        names = ", ".join(sorted({type(head).__name__.lower() for head in heads}))
        with placed("task"):
            raise BadConfigurationError(
                "must give trials of an ensemble predictions of one meaning, but their heads "
                f"are {names}: choose one loss and head, or losses with probabilities"
            )


def _as_answered_by(head: Head, trainer: Trainer) -> nn.Module:
    own, model = trainer.task.head, trainer.model_copy()
    is_learned = any(True for _ in own.parameters())
    if own is head or (type(own) is type(head) and not is_learned):
        return model
    return Translated(model, own, head)
