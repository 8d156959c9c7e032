"""Recurrent cells by name, for the `cell` keyword of models.

A factory returns a module over sequences (rows, time, input_size) → (rows, time, hidden_size),
which begins with a state of zeros. The cells here keep their weights in torch's own modules, with
its names, its order of gates and its two bias vectors. Without normalisation and dropout torch
unrolls them; else time steps are taken one by one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Interval
from torch import nn

from hpsearch.components.layers.recurrence import GRU, LSTM, NoisyLSTM, SimpleRNN
from hpsearch.components.layers.step_norms import (
    EachStep,
    GateLayerNorm,
    SequenceBatchNorm,
    StepBatchNorm,
)
from hpsearch.errors import placed
from hpsearch.registry import ComponentOf, Recommended, register

CELL = ComponentOf("cell")
CellSection = Annotated[Any, CELL]
Epsilon = Annotated[float, Gt(0)]
NewWeight = Annotated[float, Interval(gt=0, le=1), Recommended(0.01, 0.3, log=True)]
Gamma = Annotated[float, Ge(0), Recommended(0.03, 1.0, log=True)]


def make_cell(
    section: Any, input_size: int, hidden_size: int, folder: Path | None = None
) -> nn.Module:
    """Build the cell that a model's keyword `cell` stands for."""
    sizes = {"input_size": input_size, "hidden_size": hidden_size}
    with placed("cell"):
        cell: nn.Module = CELL.build(section, folder, **sizes)
    return cell


@register("cell", "rnn")
def rnn(
    input_size: int, hidden_size: int, nonlinearity: Literal["tanh", "relu"] = "tanh"
) -> nn.Module:
    """h = tanh(W x + U h + b) (Elman, 1990)."""
    return SimpleRNN(input_size, hidden_size, nonlinearity=nonlinearity)


@register("cell", "lstm")
def lstm(input_size: int, hidden_size: int) -> nn.Module:
    """c = f c + i g, h = o tanh(c), gates of x and h (Hochreiter & Schmidhuber, 1997).

    Keras begins with a forget bias of 1: `initializer.forget_bias`.
    """
    return LSTM(input_size, hidden_size)


@register("cell", "gru")
def gru(input_size: int, hidden_size: int) -> nn.Module:
    """h = (1 - z) n + z h, n = tanh(W x + b + r (U h + b')) (Cho et al., 2014).

    As Keras with `reset_after=True`.
    """
    return GRU(input_size, hidden_size)


@register("cell", "ln_rnn")
def ln_rnn(input_size: int, hidden_size: int, eps: Epsilon = 1e-5) -> nn.Module:
    """rnn with layer norms of W x and of U h (Ba et al., 2016, 1607.06450)."""
    norm_x, norm_h = (GateLayerNorm([hidden_size], eps) for _ in range(2))
    return SimpleRNN(input_size, hidden_size, norm_x, norm_h)


@register("cell", "ln_lstm")
def ln_lstm(input_size: int, hidden_size: int, eps: Epsilon = 1e-5) -> nn.Module:
    """lstm with layer norms of W x, of U h and of c before its tanh (Ba et al., 2016)."""
    norm_x, norm_h = (GateLayerNorm([4 * hidden_size], eps) for _ in range(2))
    norm_c = GateLayerNorm([hidden_size], eps, bias=True)
    return LSTM(input_size, hidden_size, norm_x, norm_h, norm_c)


@register("cell", "ln_gru")
def ln_gru(input_size: int, hidden_size: int, eps: Epsilon = 1e-5) -> nn.Module:
    """gru with layer norms of W x and U h, of both gates together and of n (Ba et al., 2016)."""
    norm_x, norm_h = (GateLayerNorm([2 * hidden_size, hidden_size], eps) for _ in range(2))
    return GRU(input_size, hidden_size, norm_x, norm_h)


@register("cell", "bn_lstm", fusible=["gamma_init"])
def bn_lstm(
    input_size: int,
    hidden_size: int,
    t_max: Annotated[int, Ge(1)] = 32,
    gamma_init: Gamma = 0.1,
    momentum: NewWeight = 0.1,
    h0_noise: Annotated[float, Ge(0)] = 0.1,
    eps: Epsilon = 1e-5,
) -> nn.Module:
    """lstm with batch norms of W x, U h and c (Cooijmans et al., 2017, 1603.09025).

    Each time step has statistics of its own up to `t_max`, whose are used for all later ones;
    scale and shift are shared. `gamma_init` is small because unit variance saturates tanh. The
    first state is learned; normal noise on it, with the standard deviation `h0_noise`, keeps its
    variance over a batch from being 0. The paper has momentum 0.01, forget bias 1 and orthogonal
    recurrent weights: see `initializer`.
    """

    def norm(size: int, bias: bool = False) -> StepBatchNorm:
        return StepBatchNorm(size, t_max, gamma_init, momentum, eps, bias)

    gates = 4 * hidden_size
    norms = EachStep(norm(gates)), norm(gates), norm(hidden_size, bias=True)
    return NoisyLSTM(input_size, hidden_size, *norms, noise=h0_noise)


@register("cell", "laurent_bn_lstm", fusible=["gamma_init"])
def laurent_bn_lstm(
    input_size: int,
    hidden_size: int,
    gamma_init: Annotated[float, Ge(0), Recommended(0.1, 1.0, log=True)] = 1.0,
    momentum: NewWeight = 0.1,
    eps: Epsilon = 1e-5,
) -> nn.Module:
    """lstm with a batch norm of W x over rows and time, none of U h (Laurent et al., 2016)."""
    norm = SequenceBatchNorm(4 * hidden_size, gamma_init, momentum, eps)
    return LSTM(input_size, hidden_size, norm)
