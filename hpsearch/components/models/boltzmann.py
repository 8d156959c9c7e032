"""Restricted Boltzmann machines, and deep belief nets, which are several of them.

Shapes: B rows, V visible units, H hidden units, C chains.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from annotated_types import Ge
from torch import Tensor, nn

from hpsearch.components.data import Kind
from hpsearch.components.examples import Float, num_features
from hpsearch.components.models.building import VECTOR_TASKS
from hpsearch.errors import BadConfigurationError, DataError
from hpsearch.registry import Recommended, register

Size = Annotated[int, Ge(1)]
Visible = Literal["bernoulli", "gaussian"]
#: units whose states are counted at most: a million
MOST_COUNTED = 20

_TASKS = {"tasks": (*VECTOR_TASKS, "contrastive_divergence")}


@register("model", "rbm", traits=_TASKS)
def rbm(
    task_kind: Kind,
    input_shape: tuple[int, ...],
    output_size: int,
    hidden_size: Annotated[int, Ge(1), Recommended(16, 512, log=True)] = 128,
    visible: Visible = "bernoulli",
    steps: Annotated[int, Ge(1), Recommended(1, 15, log=True)] = 1,
    persistent: bool = False,
    chains: Size = 64,
) -> nn.Module:
    """A restricted Boltzmann machine, a `dbn` of one layer (Hinton, 2002)."""
    sizes = (hidden_size,)
    made: nn.Module = dbn(
        task_kind, input_shape, output_size, sizes, visible, steps, persistent, chains
    )
    return made


@register("model", "dbn", traits=_TASKS)
def dbn(
    task_kind: Kind,
    input_shape: tuple[int, ...],
    output_size: int,
    hidden_sizes: Sequence[Size] = (128, 128),
    visible: Visible = "bernoulli",
    steps: Annotated[int, Ge(1), Recommended(1, 15, log=True)] = 1,
    persistent: bool = False,
    chains: Size = 64,
) -> nn.Module:
    """A deep belief net (Hinton et al., 2006): sigmoid layers, each of which can be trained before
    as a restricted Boltzmann machine of the one below, by stages of the task
    contrastive_divergence.

    For other tasks it is these layers and a linear one. Values of `bernoulli` visible units are
    from 0 to 1 (`dataset.standardize: false`), those of `gaussian` ones have unit variance, and
    want a ten times smaller learning rate. Chains of Gibbs sampling take so many `steps` from each
    row (CD-k), or from where the step before left its `chains` (PCD: Tieleman, 2008).
    """
    sizes = [num_features(input_shape), *hidden_sizes]
    layers = [nn.Linear(*each) for each in itertools.pairwise(sizes)]
    if task_kind != "contrastive_divergence":
        return BeliefNet(layers, nn.Linear(sizes[-1], output_size), visible)
    if output_size > len(layers):
        rule = f"the task trains layer {output_size}, but the model has {len(layers)}"
        raise BadConfigurationError(rule)
    num_chains = chains if persistent else 0
    return Boltzmann(layers[:output_size], visible, steps, num_chains)


class BeliefNet(nn.Module):
    """Examples (B, ...) to outputs, through sigmoid layers."""

    def __init__(self, layers: Sequence[nn.Linear], output: nn.Linear, visible: Visible) -> None:
        super().__init__()
        self.layers, self.output = nn.ModuleList(layers), output
        self._visible = visible

    def check_examples(self, x: Float) -> None:
        """Refuse values that aren't those of units."""
        check_units(x, self._visible)

    def layer_groups(self) -> list[list[nn.Module]]:
        """Return each layer, and the head."""
        return [*([each] for each in self.layers), [self.output]]

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of a batch."""
        x = x.flatten(1)
        for layer in self.layers:
            x = layer(x).sigmoid()
        outputs: Tensor = self.output(x)
        return outputs


class Boltzmann(nn.Module):
    """Sigmoid layers, whose last is trained as a restricted Boltzmann machine of its inputs.

    The energy is E(v, h) = -b·v - c·h - h·W v, with |v - b|² / 2 in place of the first term where
    the visible units are Gaussian. What the layers below give are Bernoulli units.
    """

    chain: Tensor | None

    def __init__(
        self, layers: Sequence[nn.Linear], visible: Visible, steps: int, num_chains: int = 0
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.biases = nn.ParameterList(
            nn.Parameter(torch.zeros(layer.in_features)) for layer in layers
        )
        self._visible, self._steps = visible, steps
        self.is_gaussian = visible == "gaussian" and len(layers) == 1
        chain = torch.full((num_chains, layers[-1].in_features), 0.5) if num_chains else None
        self.register_buffer("chain", chain)

    def check_examples(self, x: Float) -> None:
        """Refuse values that aren't those of units."""
        check_units(x, self._visible)

    def layer_groups(self) -> list[list[nn.Module]]:
        """Return each layer; there is no head."""
        return [*([each] for each in self.layers), [self.biases]]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the free energies of examples (B, layers), 0 for the layers below, and of the
        chains (B,), the errors of reconstructions (B,), and pseudo log-likelihoods (B,)."""
        v = x.flatten(1).float()
        with torch.no_grad():
            for layer in self.layers[:-1]:
                v = layer(v).sigmoid()
            ends = self._chained(v)
        energies = self.free_energy(v)
        shown = F.pad(energies[:, None], (len(self.layers) - 1, 0))
        of_chains = self.free_energy(ends)
        of_chains = of_chains if self.chain is None else of_chains.mean().expand(len(v))
        with torch.no_grad():
            return shown, of_chains, self._errors(v), self._pseudo_likelihood(v, energies)

    def free_energy(self, v: Tensor) -> Tensor:
        """Return -log sum_h exp(-E(v, h)) of each row (B,)."""
        bias: Tensor = self.biases[-1]
        own = (v - bias).square().sum(-1) / 2 if self.is_gaussian else -(v @ bias)
        hidden: Tensor = self.layers[-1](v)
        return own - F.softplus(hidden).sum(-1)

    @property
    def num_counted(self) -> int | None:
        """The units whose states tell the likelihood of data; None for a layer of features."""
        layer: Any = self.layers[-1]
        hidden, visible = layer.out_features, layer.in_features
        fewer = hidden if self.is_gaussian else min(hidden, visible)
        return fewer if len(self.layers) == 1 else None

    def log_partition(self) -> Tensor:
        """Return log Z, Z = sum_v exp(-F(v)), an integral over Gaussian v; float64, a number.

        It is summed over the states of the units that are fewer, of which those of the other side
        are independent. Takes 2^units steps: see `num_counted`.
        """
        layer: Any = self.layers[-1]
        weight, c, b = (each.double() for each in (layer.weight, layer.bias, self.biases[-1]))
        if not self.is_gaussian and weight.shape[1] < weight.shape[0]:
            weight, b, c = weight.t(), c, b
        found = []
        for h in _all_states(len(c), weight.device):
            below = h @ weight
            if self.is_gaussian:
                logs = below @ b + below.square().sum(1) / 2 + len(b) / 2 * math.log(2 * math.pi)
            else:
                logs = F.softplus(below + b).sum(1)
            found.append(torch.logsumexp(logs + h @ c, 0))
        return torch.logsumexp(torch.stack(found), 0)

    def _chained(self, v: Tensor) -> Tensor:
        """Return where chains end that begin at the rows or, of persistent ones, go on."""
        if self.chain is None:
            return self._gibbs(v)
        if self.training:
            self.chain = self._gibbs(self.chain)
        return self.chain

    def _gibbs(self, v: Tensor) -> Tensor:
        """Return v after so many steps: drawn while training, the means otherwise."""
        for _ in range(self._steps):
            h = self.layers[-1](v).sigmoid()
            h = _drawn(h) if self.training else h
            v = self._given(h)
            if self.training:
                v = v + torch.randn_like(v) if self.is_gaussian else _drawn(v)
        return v

    def _given(self, h: Tensor) -> Tensor:
        """Return the means of the visible units (B, V)."""
        logits = self._logits(h)
        return logits if self.is_gaussian else logits.sigmoid()

    def _logits(self, h: Tensor) -> Tensor:
        layer: Any = self.layers[-1]
        return F.linear(h, layer.weight.t(), self.biases[-1])

    def _errors(self, v: Tensor) -> Tensor:
        """Return -log p(v | mean h), of Gaussian units up to a constant."""
        logits = self._logits(self.layers[-1](v).sigmoid())
        if self.is_gaussian:
            return (v - logits).square().sum(-1) / 2
        return F.binary_cross_entropy_with_logits(logits, v, reduction="none").sum(-1)

    def _pseudo_likelihood(self, v: Tensor, energies: Tensor) -> Tensor:
        """Return V log p(v_i | the other units) of one unit of each row.

        Which one depends on the row's own values, so that a row's score is always the same.
        """
        if self.is_gaussian:
            return torch.zeros_like(energies)
        places = torch.arange(v.shape[1], device=v.device)
        unit = (v * (1 + places)).sum(-1).long() % v.shape[1]
        flipped = torch.where(places == unit[:, None], 1 - v, v)
        return v.shape[1] * F.logsigmoid(self.free_energy(flipped) - energies)


def _all_states(num_units: int, device: torch.device) -> Iterator[Tensor]:
    """Yield all states of units, float64 (states, units), some at a time."""
    units = torch.arange(num_units, device=device)
    for numbers in torch.split(torch.arange(2**num_units, device=device), 2**14):
        yield ((numbers[:, None] >> units) & 1).double()


def check_units(x: Float, visible: Visible) -> None:
    """Raise DataError for values that Bernoulli units don't have."""
    least, greatest = float(x.min()), float(x.max())
    if visible == "bernoulli" and not 0 <= least <= greatest <= 1:
        raise DataError(
            "values of bernoulli visible units must be from 0 to 1, but the data set's are from "
            f"{least:g} to {greatest:g}: its `standardize: false` leaves them as they are, and "
            "gaussian units take standardised ones",
            keyword="visible",
        )


def _drawn(p: Tensor) -> Tensor:
    return (torch.rand_like(p) < p).to(p)
