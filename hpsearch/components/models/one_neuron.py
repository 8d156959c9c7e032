"""Nets with one more neuron, around the net or in each layer, whose activation is exp (Liang et
al., 2018, arXiv 1805.08671)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from hpsearch.components.examples import num_features
from hpsearch.components.layers.activations import ActivationSection, make_activation, widening
from hpsearch.components.models.feedforward import mlp
from hpsearch.errors import BadConfigurationError
from hpsearch.registry import Recommended, register

Size = Annotated[int, Ge(1)]
#: what the exponent of a neuron is at most, above which float32 would overflow soon
MAX_EXPONENT = 20.0
#: the weights that lead on from such a neuron, at the begin
AMPLITUDE = 1e-2


@register("model", "one_neuron_skip")
def one_neuron_skip(
    input_shape: tuple[int, ...],
    output_size: int,
    hidden_sizes: Sequence[Size] = (128,),
    activation: ActivationSection = "relu",
    variant: Literal["output", "per_layer"] = "output",
) -> nn.Module:
    """Experimental: an mlp f(x), and a exp(w·x + b) added to its outputs (Liang et al., 2018).

    In the variant `per_layer` each hidden layer has such a neuron beside its others instead
    (their section 4.1): it sees the layer before, and leads on to the next one.

    For two classes the paper shows that each local minimum of a smooth hinge (`loss: poly_hinge`)
    with the penalty λ a² / 2 (`regularizers: [{name: skip_neuron}]`) is a global one, where the
    neuron is off: a = 0. It has no experiments, and later work shows that bad minima move to
    infinity, where weights grow without end. Exponents are at most 20.
    """
    if output_size > 2:
        rule = "one_neuron_skip needs one output or two, as its theorem is of two classes"
        raise BadConfigurationError(f"{rule}, but the data set needs {output_size}")
    size = num_features(input_shape)
    if variant == "output":
        net: nn.Module = mlp(input_shape, output_size, hidden_sizes, activation)
        return OneNeuronSkip(net, size, output_size)
    if not hidden_sizes:
        rule = "must have a layer at least with a neuron per layer"
        raise BadConfigurationError(rule, list(hidden_sizes), keyword="hidden_sizes")
    functions = [make_activation(activation) for _ in hidden_sizes]
    return NeuronPerLayer([size, *hidden_sizes], functions, output_size)


class SkipNeurons(nn.Module):
    """A net with neurons that are exp of what they see; `amplitudes` lead on from each."""

    def __init__(self, sizes: Iterable[int], power: int) -> None:
        super().__init__()
        self.amplitudes = nn.ParameterList(torch.full((size,), AMPLITUDE) for size in sizes)
        #: of amplitudes in the penalty
        self.power = power


class OneNeuronSkip(SkipNeurons):
    """Examples (B, ...) to outputs (B, outputs) of a net and a neuron."""

    def __init__(self, net: nn.Module, num_inputs: int, output_size: int) -> None:
        super().__init__([output_size], power=2)
        self.net = net
        self.exponent = nn.Linear(num_inputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of a batch."""
        more = self.amplitudes[0] * exponential(self.exponent(x.flatten(1)))
        outputs: Tensor = self.net(x) + more
        return outputs


class NeuronPerLayer(SkipNeurons):
    """Examples (B, ...) to outputs (B, outputs) of layers with a neuron more each.

    The weights of a layer of theirs, (M + 1, N + 1), are here in parts: from the layer's M units
    to the next one's N and to its neuron, and from its neuron to all of these, its amplitudes.
    """

    def __init__(
        self, sizes: Sequence[int], functions: Sequence[nn.Module], output_size: int
    ) -> None:
        wide = [size * widening(each) for size, each in zip(sizes[1:], functions, strict=True)]
        super().__init__([*(size + 1 for size in wide[1:]), output_size], power=2 * len(wide))
        pairs = list(zip(sizes, wide, strict=False))
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in pairs)
        self.exponents = nn.ModuleList(nn.Linear(size, 1) for size, _ in pairs)
        self.functions = nn.ModuleList(functions)
        self.output = nn.Linear(sizes[-1], output_size)

    def layer_groups(self) -> list[list[nn.Module]]:
        """Return the layers, each with its neuron, and the head with all amplitudes."""
        groups = zip(self.layers, self.exponents, self.functions, strict=True)
        return [*map(list, groups), [self.output, self.amplitudes]]

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of a batch."""
        x, more = x.flatten(1), None
        parts = zip(self.layers, self.exponents, self.functions, self.amplitudes, strict=True)
        for layer, exponent, function, amplitude in parts:
            inner, power = layer(x), exponent(x)
            if more is not None:  # of the neuron in the layer before
                inner, power = inner + more[:, :-1], power + more[:, -1:]
            x, more = function(inner), amplitude * exponential(power)
        outputs: Tensor = self.output(x) + more
        return outputs


def exponential(exponent: Tensor) -> Tensor:
    """Return exp of exponents, of MAX_EXPONENT at most."""
    return exponent.clamp_max(MAX_EXPONENT).exp()


class SkipNeuronPenalty:
    """strength / 2 times the sum of |a|^p over a model's amplitudes."""

    def __init__(self, model: SkipNeurons, strength: float) -> None:
        self._model, self._strength = model, strength

    def __call__(self) -> Tensor:
        """Return the penalty."""
        powers = [a.abs().pow(self._model.power).sum() for a in self._model.amplitudes]
        return self._strength / 2 * torch.stack(powers).sum()


@register("regularizer", "skip_neuron")
def skip_neuron(
    model: nn.Module,
    strength: Annotated[float, Gt(0), Recommended(1e-4, 1.0, log=True)] = 0.1,
) -> SkipNeuronPenalty:
    """strength / 2 a² of the neuron of the model one_neuron_skip: at a minimum it is off; of a
    neuron in each of L layers |a|^(2L), of all that leads on from it."""
    if not isinstance(model, SkipNeurons):
        raise BadConfigurationError("must act on weights of the model one_neuron_skip")
    return SkipNeuronPenalty(model, strength)
