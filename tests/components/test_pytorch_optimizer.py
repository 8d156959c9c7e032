"""What a spec says of an optimizer of the library pytorch-optimizer reaches it as it is.

What its keywords do there is the library's; 800 of them can't all be seen in a few steps.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from hpsearch import registry
from hpsearch.components.optimizers import pytorch_optimizer


def params() -> list[nn.Parameter]:
    return [nn.Parameter(torch.ones(4, 3)), nn.Parameter(torch.ones(4))]


def settings(optimizer: torch.optim.Optimizer) -> tuple[Any, ...]:
    """Return all that an optimizer was made with, but for its parameters."""
    held = {
        key: value
        for key, value in vars(optimizer).items()
        if isinstance(value, int | float | str | tuple | None)
    }
    return optimizer.defaults, held


def other(default: Any) -> Any:
    """Return another value of the kind of a default; None where that isn't known."""
    if isinstance(default, bool):
        return not default
    if isinstance(default, float):
        return default / 2 if 0 < default < math.inf else 0.5
    if isinstance(default, tuple):
        return tuple(map(other, default))
    return default + 3 if isinstance(default, int) else None


@pytest.mark.parametrize("name", pytorch_optimizer.names())
def test_keywords_are_passed_on(name: str) -> None:
    component = registry.get("optimizer", f"po:{name}")
    made: Any = component.factory.__wrapped__  # type: ignore[attr-defined]
    plain = made(params()).defaults
    for keyword, parameter in component.own_keywords.items():
        if (value := other(parameter.default)) is None:
            continue
        try:
            theirs = settings(made(params(), **{keyword: value}))
        except (ValueError, RuntimeError, NotImplementedError):
            continue  # the library refuses it
        assert settings(component.build({keyword: value}, params=params())) == theirs, keyword
        assert keyword not in plain or theirs[0] != plain, keyword
