"""From a spec's `optimizer` section and groups of parameters to an optimizer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Gt, Interval
from torch.nn import Parameter
from torch.optim import Optimizer

from hpsearch import registry
from hpsearch.errors import UserCodeError
from hpsearch.registry import Recommended

LearningRate = Annotated[float, Gt(0), Recommended(1e-4, 1.0, log=True)]
#: of optimizers whose steps do not grow with the gradient
AdaptiveLearningRate = Annotated[float, Gt(0), Recommended(1e-5, 1e-1, log=True)]
Momentum = Annotated[float, Interval(ge=0, lt=1), Recommended(0.0, 0.99)]
#: decay rate of a running average
Decay = Annotated[float, Interval(ge=0, lt=1)]
WeightDecay = Annotated[float, Ge(0), Recommended(1e-6, 1e-2, log=True, prior=1e-4)]
Epsilon = Annotated[float, Gt(0)]

#: traits: all weights have one rate, whatever gradients they had; made to be used with dropout
ONE_RATE, WANTS_DROPOUT = "one_rate", "wants_dropout"

#: parameters and, where a group has some, values of the optimizer's keywords
Group = dict[str, Any]
Params = list[Parameter] | list[Group]


@dataclass(frozen=True)
class Shared:
    """Keywords that every optimizer has beside its own.

    Without `decay_biases` weight decay leaves biases and norms alone: parameters of one axis.
    """

    decay_biases: bool = True


registry.share_keywords("optimizer", Shared)


def build_optimizer(
    section: Mapping[str, Any], groups: Sequence[Group], folder: Path
) -> Optimizer:
    """Build the optimizer of a spec's section over groups of parameters.

    A group's `lr_factor` multiplies its learning rate. UserCodeError if a factory returns no
    Optimizer.
    """
    keywords = dict(section)
    name = keywords.pop("name")
    component = registry.get("optimizer", name, folder)
    if "decay_biases" not in component.own_keywords and not keywords.pop("decay_biases", True):
        groups = [part for group in groups for part in _without_decay_of_biases(group)]
    plain = len(groups) == 1 and set(groups[0]) == {"params"}
    params: Params = list(groups[0]["params"]) if plain else list(groups)
    optimizer = component.build(keywords, params=params)
    if not isinstance(optimizer, Optimizer):
        raise UserCodeError(
            f"{name} must return a torch.optim.Optimizer", optimizer, keyword="name"
        )
    for group in optimizer.param_groups:
        group["lr"] *= group.pop("lr_factor", 1.0)
    return optimizer


def _without_decay_of_biases(group: Group) -> Iterator[Group]:
    """Yield the group in two: matrices and filters, and what has one axis, not decayed."""
    params = list(group["params"])
    weights = [param for param in params if param.ndim > 1]
    others = [param for param in params if param.ndim <= 1]
    if weights:
        yield {**group, "params": weights}
    if others:
        yield {**group, "params": others, "weight_decay": 0.0}
