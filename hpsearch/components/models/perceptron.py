"""Rosenblatt's perceptron, and the functions of logic that it can and cannot learn.

With the optimizer `perceptron_rule` and `batch_size: 1` it learns as its inventor had it: from
mistakes only, so that training is over when there are none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from hpsearch.components.examples import num_features
from hpsearch.errors import BadConfigurationError
from hpsearch.registry import register

Gate = Literal["and", "or", "nand", "nor", "not", "xor"]

#: logit of a decision: so large that the softmax of it is 0 or 1 exactly
CERTAIN = 200.0
_GATES: Mapping[str, Callable[..., bool]] = {
    "and": lambda a, b: a and b,
    "or": lambda a, b: a or b,
    "nand": lambda a, b: not (a and b),
    "nor": lambda a, b: not (a or b),
    "not": lambda a: not a,
    "xor": lambda a, b: a != b,
}


class Perceptron(nn.Module):
    """ŷ = 1 where w·x + b > 0, as the logits of two classes that leave no doubt.

    Backwards the step is a line of slope 1, so that cross entropy gives w the gradient
    (ŷ - y) x: nothing for a right answer. Its value is 200 times the share of mistakes.
    """

    def __init__(self, num_inputs: int) -> None:
        super().__init__()
        self.unit = nn.Linear(num_inputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Decide for each row; returns (rows, 2)."""
        z = self.unit(x.flatten(1))
        decision = torch.where(z > 0, CERTAIN, -CERTAIN)
        return torch.cat([torch.zeros_like(z), z + (decision - z).detach()], 1)


@register("model", "perceptron")
def perceptron(input_shape: tuple[int, ...], output_size: int) -> nn.Module:
    """One unit with a step, for two classes (Rosenblatt, 1958); see `perceptron_rule`.

    It learns what a line can separate: of `logic_gate` all but xor.
    """
    if output_size != 2:
        raise BadConfigurationError(
            f"perceptron needs two classes, but the data set has {output_size}", keyword="name"
        )
    return Perceptron(num_features(input_shape))


@register("dataset", "logic_gate")
def logic_gate(gate: Gate = "and") -> Mapping[str, Any]:
    """All 4 inputs of a logic function (2 of `not`), for training, validation and testing."""
    function = _GATES[gate]
    num_inputs = 1 if gate == "not" else 2
    inputs = list(np.ndindex((2,) * num_inputs))
    rows = np.array(inputs, np.float32), np.array([int(function(*each)) for each in inputs])
    return {"train": rows, "val": rows, "test": rows, "classes": ("false", "true")}
