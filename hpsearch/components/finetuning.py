"""Fine-tuning by name: which weights of a trained model are trained further, how fast, and when.

A model is seen as groups of modules from its input to its output (`layer_groups`): a layer each,
with its norm, its activation and its dropout; the last is its head. What is frozen gets no
gradient, is left out of weight decay, and stays in evaluation mode, so that its batch norms keep
their statistics and its dropouts drop nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from annotated_types import Ge, Gt, Interval
from torch import nn

from hpsearch.components.layer_groups import layer_groups
from hpsearch.errors import BadConfigurationError, placed
from hpsearch.registry import ComponentOf, Recommended, register

LrFactor = Annotated[float, Gt(0), Recommended(0.01, 1.0, log=True)]
HeadFactor = Annotated[float, Gt(0), Recommended(1.0, 100.0, log=True)]
Count = Annotated[int, Ge(0)]
FineTuneSection = Annotated[Any, ComponentOf("finetune")]


#: the trait of a fine-tuning that leaves rows out, on which the model is scored as well
LEAVES_REST = "leaves_rest"


@dataclass(frozen=True)
class Subset:
    """The rows to train on: a `fraction` of all, or of those of some `classes`.

    With them goes a `replay_fraction` of the rest. `metric` tells how much the remaining rest is
    forgotten.
    """

    fraction: float
    classes: Sequence[str | int]
    replay_fraction: float
    metric: str | None


@dataclass
class FineTuning:
    """Rates of the groups, how many of them are frozen, at first and epoch by epoch, and which
    rows are trained on.

    `lr_factors` has one factor a group. With `unfreeze_every` one more group is trained after so
    many epochs, from the output on; that depends on nothing but the epoch.
    """

    model: nn.Module
    groups_of_modules: Sequence[Sequence[nn.Module]]
    lr_factors: Sequence[float]
    num_frozen: int = 0
    unfreeze_every: int | None = None
    subset: Subset | None = None
    _frozen: int = field(init=False, default=0)
    _params: list[list[nn.Parameter]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.num_frozen < len(self.groups_of_modules):
            raise BadConfigurationError(
                f"must leave at least one of the model's {len(self.groups_of_modules)} groups of "
                f"layers to be trained, but {self.num_frozen} would be frozen"
            )
        self._params = _parameters_of(self.model, self.groups_of_modules)
        self._freeze(self.num_frozen)

    def groups(self) -> list[dict[str, Any]]:
        """Return the parameter groups of all that is trained at some time."""
        first = 0 if self.unfreeze_every is not None else self.num_frozen
        pairs = zip(self._params, self.lr_factors, strict=True)
        groups = [{"params": params, "lr_factor": factor} for params, factor in pairs][first:]
        return [group for group in groups if group["params"]]

    def begin_epoch(self, epoch: int) -> None:
        """Freeze what is frozen in an epoch, counted from 1."""
        if self.unfreeze_every is not None:
            self._freeze(max(0, self.num_frozen - (epoch - 1) // self.unfreeze_every))

    def set_modes(self) -> None:
        """Put what is frozen into evaluation mode."""
        for modules in self.groups_of_modules[: self._frozen]:
            for module in modules:
                module.eval()

    def _freeze(self, count: int) -> None:
        self._frozen = count
        for i, params in enumerate(self._params):
            for param in params:
                param.requires_grad_(i >= count)


@register("finetune", "full")
def full(model: nn.Module) -> FineTuning:
    """All weights, all at the same rate."""
    return _alike(model, 1.0)


@register("finetune", "low_lr")
def low_lr(model: nn.Module, lr_factor: LrFactor = 0.1) -> FineTuning:
    """All weights at `lr_factor` times the optimizer's rate."""
    return _alike(model, lr_factor)


@register("finetune", "freeze")
def freeze(model: nn.Module, num_frozen: Count = 1) -> FineTuning:
    """All but the first `num_frozen` groups of layers."""
    return _alike(model, 1.0, num_frozen)


@register("finetune", "partial")
def partial(model: nn.Module, num_trained: Annotated[int, Ge(1)] = 1) -> FineTuning:
    """The last `num_trained` groups of layers; all, where there are fewer."""
    return _alike(model, 1.0, max(0, len(layer_groups(model)) - num_trained))


@register("finetune", "feature_extract")
def feature_extract(model: nn.Module) -> FineTuning:
    """The head alone: all before it is a fixed map to features (Donahue et al., 2014)."""
    return _alike(model, 1.0, len(layer_groups(model)) - 1)


@register("finetune", "replace_head")
def replace_head(
    model: nn.Module, head_lr_factor: HeadFactor = 10.0, num_frozen: Count = 0
) -> FineTuning:
    """A new head, at `head_lr_factor` times the rate of the layers before it.

    The initializer draws it, as it does the layers of a model that is new.
    """
    groups = layer_groups(model)
    for module in groups[-1]:
        for part in module.modules():
            vars(part).pop("is_pretrained", None)
            reset: Callable[[], None] | None = getattr(part, "reset_parameters", None)
            if reset is not None:
                reset()
    factors = [1.0] * (len(groups) - 1) + [head_lr_factor]
    return FineTuning(model, groups, factors, num_frozen)


@register("finetune", "discriminative")
def discriminative(
    model: nn.Module, decay: Annotated[float, Gt(1), Recommended(1.5, 5.0)] = 2.6
) -> FineTuning:
    """Each group at the rate of the one after it over `decay` (Howard & Ruder, 2018)."""
    groups = layer_groups(model)
    factors = [decay ** -(len(groups) - 1 - i) for i in range(len(groups))]
    return FineTuning(model, groups, factors)


@register("finetune", "gradual_unfreeze")
def gradual_unfreeze(
    model: nn.Module,
    every: Annotated[int, Ge(1)] = 1,
    decay: Annotated[float, Ge(1)] = 1.0,
) -> FineTuning:
    """The head first, one group more every so many epochs (Howard & Ruder, 2018).

    `decay` is that of `discriminative`.
    """
    groups = layer_groups(model)
    factors = [decay ** -(len(groups) - 1 - i) for i in range(len(groups))]
    return FineTuning(model, groups, factors, len(groups) - 1, every)


@register("finetune", "subset", traits={LEAVES_REST: True})
def subset(
    model: nn.Module,
    fraction: Annotated[float, Interval(gt=0, le=1)] | None = None,
    classes: Sequence[str | int] = (),
    replay_fraction: Annotated[float, Interval(ge=0, lt=1), Recommended(0.0, 0.5)] = 0.0,
    metric: str | None = None,
    weights: FineTuneSection = "full",
) -> FineTuning:
    """A part of the training rows, and how much the model forgets of the rest meanwhile.

    The part is a `fraction` of the rows (by default half), or of those of the `classes` that are
    given (by default all), the same for all trials of a search. A `replay_fraction` of the rest
    is trained on as well; the remaining rest is scored each epoch as `rest_loss` and so on.
    `forgetting` is by how much its `metric` is worse than before the first step; by default the
    first of the task's that isn't a loss, such as accuracy. `weights` is another fine-tuning,
    which says what learns.
    """
    with placed("weights"):
        tuning: FineTuning = ComponentOf("finetune").build(weights, model=model)
    if fraction is None:
        fraction = 1.0 if classes else 0.5
    tuning.subset = Subset(fraction, classes, replay_fraction, metric)
    return tuning


def _alike(model: nn.Module, lr_factor: float, num_frozen: int = 0) -> FineTuning:
    groups = layer_groups(model)
    return FineTuning(model, groups, [lr_factor] * len(groups), num_frozen)


def _parameters_of(
    model: nn.Module, groups: Sequence[Sequence[nn.Module]]
) -> list[list[nn.Parameter]]:
    """Return each group's parameters that learn at all, each once.

    Parameters that are in no group, such as those of the model itself, go with the first.
    """
    seen: set[nn.Parameter] = set()
    found: list[list[nn.Parameter]] = []
    for group in groups:
        params = (param for module in group for param in module.parameters())
        found.append([param for param in params if param.requires_grad and param not in seen])
        seen.update(found[-1])
    rest = [param for param in model.parameters() if param.requires_grad and param not in seen]
    return [[*rest, *found[0]], *found[1:]]
