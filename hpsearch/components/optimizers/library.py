"""The optimizers of the library pytorch-optimizer, as `po:NAME`."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from torch.optim import Optimizer

from hpsearch.components.optimizers.building import Params
from hpsearch.registry import Component, register_library

#: need more of a training than its gradients: second derivatives, the model, its number of steps,
#: another optimizer, matrices only, or a package of their own; or, asgd, forget a part of their
#: state
UNSUITABLE = (
    *("a2grad", "adago", "adahessian", "adalomo", "adammini", "adamuon", "alig", "asgd", "bsam"),
    *("demo", "distributedmuon", "lbfgs", "lomo", "magma", "muon", "muonclip", "normuon"),
    *("ranger21", "sara", "sophiah", "spectralsphere"),
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


register_library("optimizer", "po", component, names)


def _factory(made: type[Optimizer]) -> Any:
    """Return a factory whose signature has the class's own keywords, and no others."""

    @functools.wraps(made, updated=())
    def build(params: Params, **keywords: Any) -> Optimizer:
        return made(params, **keywords)

    parameters = inspect.signature(made).parameters.values()
    keywords = [each for each in parameters if each.name not in _NOT_KEYWORDS]
    first = inspect.Parameter("params", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    build.__signature__ = inspect.Signature([first, *keywords])  # type: ignore[attr-defined]
    return build
