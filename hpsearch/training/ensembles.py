"""The mean of several trials: their models as one, evaluated and exported as a trial's own."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from hpsearch.components.batch import Tree
from hpsearch.components.tasks.heads import Head
from hpsearch.errors import BadConfigurationError, placed
from hpsearch.training.snapshots import Ensemble
from hpsearch.training.trainer import Trainer

#: how far from 0 and 1 a probability is at least where outputs of another head are made of it
_LEAST = 1e-7


class Translated(nn.Module):
    """A model whose outputs are those for which another head gives the same predictions."""

    def __init__(self, model: nn.Module, own: Head, other: Head) -> None:
        super().__init__()
        self.model, self.own, self.other = model, own, other

    def forward(self, x: Tree) -> Tensor:
        """Return the outputs (rows, ...) for the other head."""
        predictions: Tensor = self.own(self.model(x).float())
        return self.other.inverse(predictions.clamp(_LEAST, 1 - _LEAST))


def put_together(trainers: Sequence[Trainer]) -> Trainer:
    """Return the first of several trials' trainers, which evaluates and exports the models of all
    as one from now on: its predictions, of classes their probabilities, are the means of theirs.

    The models may be of any kind; none is trained any more. Raises BadConfigurationError where
    predictions of one trial mean something else than those of another.
    """
    first = trainers[0]
    check_heads([each.task.head for each in trainers])
    models = [_as_answered_by(first.task.head, each) for each in trainers]
    first.stand_for(Ensemble(models, first.task.head))
    return first


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
