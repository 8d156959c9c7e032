"""The penalties of lanes on their weights, computed for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from hpsearch.components.regularizers import Measure, WeightPenalty, measured
from hpsearch.components.weights import weights_of
from hpsearch.training.lanes.tensors import named_params
from hpsearch.training.trainer import Trainer


class Penalties:
    """The strength of each measure in each lane, 0 where a lane doesn't take it."""

    def __init__(self, trainers: Sequence[Trainer]) -> None:
        self._strengths: dict[Measure, Tensor] = {}
        for lane, trainer in enumerate(trainers):
            for penalty in trainer.update.penalties:
                assert isinstance(penalty, WeightPenalty)
                for measure, strength in penalty.strengths.items():
                    zeros = torch.zeros(len(trainers), device=trainer.device)
                    self._strengths.setdefault(measure, zeros)[lane] += strength
        first = trainers[0]
        trained = {
            id(param) for group in first.optimizer.param_groups for param in group["params"]
        }
        names = {id(param): name for name, param in named_params(first) if id(param) in trained}
        weights = (id(weight.value) for weight in weights_of(first.model))
        self._names = [names[weight] for weight in weights if weight in names]

    def __bool__(self) -> bool:
        return bool(self._strengths and self._names)

    def __call__(self, leaves: Mapping[str, Tensor], begins: Tensor | None) -> Tensor:
        """Return the penalties of what is trained, (lanes,): of lanes whose batch `begins`."""
        weights = [leaves[name] for name in self._names]
        terms = [s * measured(weights, measure) for measure, s in self._strengths.items()]
        penalties = torch.stack(terms).sum(0)
        return penalties if begins is None else penalties * begins

    def gradients(self, leaves: Mapping[str, Tensor], begins: Tensor | None) -> dict[str, Tensor]:
        """Return their gradients by name; none where there are no penalties."""
        if not self:
            return {}
        weights = [leaves[name] for name in self._names]
        found = torch.autograd.grad(self(leaves, begins).sum(), weights)
        return dict(zip(self._names, found, strict=True))


def are_shared(trainer: Trainer) -> bool:
    """Whether a trainer's penalties can be computed here: none is the user's own, or of weights
    that are computed."""
    names = {id(param) for _, param in named_params(trainer)}
    return all(
        isinstance(penalty, WeightPenalty)
        and all(id(weight.value) in names for weight in penalty.weights)
        for penalty in trainer.update.penalties
    )
