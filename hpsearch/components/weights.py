"""The weights of a model: what its layers multiply by, whatever they are made of.

A weight has two axes or more, units first. Biases and what norms learn are none; of a weight that
a parametrisation computes, as weight norm does, the computed one counts, not its parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList, is_parametrized

from hpsearch.errors import BadConfigurationError

#: norms whose scale may have several axes
_NORMS = nn.LayerNorm | nn.RMSNorm
#: in place of 0 where a whole unit is: weight norm has no direction for that
_NEARLY_0 = 1e-12


@dataclass(frozen=True)
class Weight:
    """A weight, by its module and its name there."""

    module: nn.Module
    name: str

    @property
    def value(self) -> Tensor:
        """The weight as the module uses it; gradients pass to what it is computed of."""
        value: Tensor = getattr(self.module, self.name)
        return value

    @property
    def is_trained(self) -> bool:
        """Whether it learns now: fine-tuning may freeze it for a time."""
        if not is_parametrized(self.module, self.name):
            return self.value.requires_grad
        parts: Any = self.module.parametrizations
        return any(param.requires_grad for param in parts[self.name].parameters())

    @torch.no_grad()
    def set(self, value: Tensor) -> None:
        """Replace it, or the parts that it is computed of."""
        if is_parametrized(self.module, self.name):
            is_0 = value.flatten(1).abs().amax(1) == 0
            value = torch.where(is_0.view(-1, *[1] * (value.ndim - 1)), _NEARLY_0, value)
            setattr(self.module, self.name, value)
        else:
            self.value.copy_(value)


def weights_of(model: nn.Module) -> list[Weight]:
    """Return the weights of a model; one that layers share is there once."""
    lists = [module for module in model.modules() if isinstance(module, ParametrizationList)]
    parts = {part for each in lists for part in each.modules()}
    shared: set[Tensor] = set()
    found = []
    for module in model.modules():
        if module not in parts and not isinstance(module, _NORMS):
            own = dict(module.named_parameters(recurse=False))
            plain = [name for name, param in own.items() if param not in shared]
            shared.update(own.values())
            found += [Weight(module, name) for name in (*_computed(module), *plain)]
    return [weight for weight in found if weight.value.ndim > 1]


def required_weights(model: nn.Module) -> list[Weight]:
    """Return the weights of a model; BadConfigurationError where there are none to act on."""
    if not (weights := weights_of(model)):
        raise BadConfigurationError(
            "must act on weights, but the model has none: no parameter with two or more axes, "
            "other than those of norms"
        )
    return weights


def _computed(module: nn.Module) -> list[str]:
    """Return the names of a module's parameters that are parametrised."""
    parts: Any = module.parametrizations if is_parametrized(module) else ()
    return list(parts)
