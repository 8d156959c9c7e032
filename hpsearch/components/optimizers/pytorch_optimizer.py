"""The optimizers of the library pytorch-optimizer, as `po:NAME`.

They recommend no ranges; `lr: auto` is a decade to each side of the library's default, which is
1.0 for those that find the rate themselves.
"""

from __future__ import annotations

import functools
import inspect
from types import GenericAlias, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import torch
from annotated_types import Gt
from torch import Tensor
from torch.optim import Optimizer

from hpsearch.components.optimizers.base import Params
from hpsearch.registry import Component, Recommended, register_library

#: need more of a training than its gradients: second derivatives, the model, its number of steps,
#: another optimizer, matrices or low-rank factors only, or a package of their own; or, asgd,
#: forget a part of their state
UNSUITABLE = (
    *("a2grad", "adago", "adahessian", "adalomo", "adammini", "adamuon", "alig", "asgd", "bsam"),
    *("demo", "distributedmuon", "lbfgs", "lomo", "lorarite", "magma", "muon", "muonclip"),
    *("normuon", "ranger21", "sara", "sophiah", "spectralsphere"),
)
_NOT_KEYWORDS = ("params", "foreach", "maximize", "kwargs")


def names() -> list[str]:
    """Return the names of the library's optimizers that can train a trial."""
    import pytorch_optimizer  # 10 s on a slow machine, and few specs name it

    known = pytorch_optimizer.get_supported_optimizers()
    return sorted(set(known).difference(UNSUITABLE))


def component(name: str) -> Component:
    """Return an optimizer of the library as a component; KeyError if it has none of that name."""
    import pytorch_optimizer

    if name not in names():
        raise KeyError(name)
    made: type[Optimizer] = pytorch_optimizer.load_optimizer(name)
    return Component("optimizer", f"po:{name}", _factory(made))


register_library("optimizer", "po:", component, names)


def _factory(made: type[Optimizer]) -> Any:
    """Return a factory whose signature has those of the class's keywords that a spec can give."""

    @functools.wraps(made, updated=())
    def build(params: Params, **keywords: Any) -> Optimizer:
        return made(params, **keywords)

    parameters = inspect.signature(made, eval_str=True).parameters.values()
    keywords = [
        each.replace(annotation=_rate(each) if each.name == "lr" else _written(each.annotation))
        for each in parameters
        if each.name not in _NOT_KEYWORDS and not _is_dtype(each.annotation)
    ]
    first = inspect.Parameter("params", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    build.__signature__ = inspect.Signature([first, *keywords])  # type: ignore[attr-defined]
    return build


def _rate(parameter: inspect.Parameter) -> Any:
    """Return the annotation of a learning rate, with its range."""
    recommended = Recommended(parameter.default / 10, parameter.default * 10, log=True)
    rate = Annotated[float, Gt(0), recommended]
    return rate | None if type(None) in get_args(parameter.annotation) else rate


def _written(annotation: Any) -> Any:
    """Return an annotation without the tensors that may stand for numbers."""
    parts = tuple(_written(part) for part in get_args(annotation) if part is not Tensor)
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        return Union[parts]  # noqa: UP007  # of as many as there are
    return GenericAlias(tuple, parts) if origin is tuple else annotation


def _is_dtype(annotation: Any) -> bool:
    return torch.dtype in (annotation, *get_args(annotation))
