"""A net and one more neuron that leads around it (Liang et al., 2018, arXiv 1805.08671)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from hpsearch.components.examples import num_features
from hpsearch.components.layers.activations import ActivationSection
from hpsearch.components.models.feedforward import mlp
from hpsearch.errors import BadConfigurationError
from hpsearch.registry import Recommended, register

Size = Annotated[int, Ge(1)]
#: what the exponent of the neuron is at most, above which float32 would overflow soon
MAX_EXPONENT = 20.0


@register("model", "one_neuron_skip")
def one_neuron_skip(
    input_shape: tuple[int, ...],
    output_size: int,
    hidden_sizes: Sequence[Size] = (128,),
    activation: ActivationSection = "relu",
) -> nn.Module:
    """Experimental: an mlp f(x), and a exp(w·x + b) added to its outputs (Liang et al., 2018).

    For two classes the paper shows that each local minimum of a smooth hinge (`loss: poly_hinge`)
    with the penalty λ a² / 2 (`regularizers: [{name: skip_neuron}]`) is a global one, where the
    neuron is off: a = 0. It has no experiments, and later work shows that bad minima move to
    infinity, where weights grow without end. The exponent is at most 20.
    """
    if output_size > 2:
        rule = "one_neuron_skip needs one output or two, as its theorem is of two classes"
        raise BadConfigurationError(f"{rule}, but the data set needs {output_size}")
    net: nn.Module = mlp(input_shape, output_size, hidden_sizes, activation)
    return OneNeuronSkip(net, num_features(input_shape), output_size)


class OneNeuronSkip(nn.Module):
    """Examples (B, ...) to outputs (B, outputs) of a net and a neuron."""

    def __init__(self, net: nn.Module, num_inputs: int, output_size: int) -> None:
        super().__init__()
        self.net = net
        self.exponent = nn.Linear(num_inputs, 1)
        self.amplitude = nn.Parameter(torch.full((output_size,), 1e-2))

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of a batch."""
        exponent = self.exponent(x.flatten(1)).clamp_max(MAX_EXPONENT)
        outputs: Tensor = self.net(x) + self.amplitude * exponent.exp()
        return outputs


class SkipNeuronPenalty:
    """strength |a|² / 2 of a model's neuron."""

    def __init__(self, model: OneNeuronSkip, strength: float) -> None:
        self._model, self._strength = model, strength

    def __call__(self) -> Tensor:
        """Return the penalty."""
        return self._strength / 2 * self._model.amplitude.square().sum()


@register("regularizer", "skip_neuron")
def skip_neuron(
    model: nn.Module,
    strength: Annotated[float, Gt(0), Recommended(1e-4, 1.0, log=True)] = 0.1,
) -> SkipNeuronPenalty:
    """strength a² / 2 of the neuron of the model one_neuron_skip: at a minimum it is off."""
    if not isinstance(model, OneNeuronSkip):
        raise BadConfigurationError("must act on weights of the model one_neuron_skip")
    return SkipNeuronPenalty(model, strength)
