"""What Keras 3 defines of the techniques that can be named, in numpy, from its documentation.

Arrays are laid out as Keras has them: rows first, channels last.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from scipy.special import erf, expit
from torch import Tensor

#: of numpy's, float64
Array = Any
State = dict[str, Any]

#: deviation of a standard normal that is cut off at ±2
TRUNCATED = 0.87962566103423978
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


def of(array: Array) -> Tensor:
    """The same as a tensor."""
    return torch.from_numpy(np.ascontiguousarray(array))


def softplus(x: Array) -> Array:
    return np.logaddexp(x, 0.0)


def gelu(x: Array, approximate: bool = False) -> Array:
    if approximate:
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + erf(x / math.sqrt(2)))


def elu(x: Array, alpha: float = 1.0) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def leaky_relu(x: Array, negative_slope: float = 0.2) -> Array:
    return np.where(x > 0, x, negative_slope * x)


def celu(x: Array, alpha: float = 1.0) -> Array:
    return np.maximum(x, 0) + np.minimum(alpha * np.expm1(x / alpha), 0)


def glu(x: Array) -> Array:
    a, b = np.split(x, 2, axis=-1)
    return a * expit(b)


ACTIVATIONS: dict[str, Callable[..., Array]] = {
    "celu": celu,
    "elu": elu,
    "gelu": gelu,
    "glu": glu,
    "hardswish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),  # hard_silu
    "identity": lambda x: x,  # linear
    "leaky_relu": leaky_relu,
    "mish": lambda x: x * np.tanh(softplus(x)),
    "prelu": leaky_relu,
    "relu": lambda x: np.maximum(x, 0),
    "selu": lambda x: SELU_SCALE * elu(x, SELU_ALPHA),
    "sigmoid": expit,
    "silu": lambda x: x * expit(x),
    "softplus": softplus,
    "softsign": lambda x: x / (np.abs(x) + 1),
    "swish": lambda x: x * expit(x),
    "tanh": np.tanh,
}


def softmax(x: Array) -> Array:
    e: Array = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def normalized(x: Array, axes: Any, epsilon: float) -> Array:
    """(x - mean) / sqrt(variance + epsilon), over these axes."""
    variance = x.var(axes, keepdims=True)
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(variance + epsilon)


def batch_normalization(
    x: Array, state: State, momentum: float, epsilon: float, training: bool
) -> Array:
    """BatchNormalization(axis=-1); `state` has the moving statistics."""
    axes = tuple(range(x.ndim - 1))
    if not training:
        return (x - state["mean"]) / np.sqrt(state["variance"] + epsilon)
    for name, now in (("mean", x.mean(axes)), ("variance", x.var(axes))):
        state[name] = state[name] * momentum + now * (1 - momentum)
    return normalized(x, axes, epsilon)


def group_normalization(x: Array, groups: int, epsilon: float) -> Array:
    """GroupNormalization(axis=-1) of images; as many groups as channels is instance norm."""
    grouped = x.reshape(*x.shape[:-1], groups, -1)
    return normalized(grouped, (1, 2, 4), epsilon).reshape(x.shape)


def rms_normalization(x: Array, epsilon: float) -> Array:
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon)


def fans(shape: Sequence[int]) -> tuple[int, int]:
    """fan_in and fan_out of a kernel (*places, inputs, units)."""
    places = math.prod(shape[:-2])
    return shape[-2] * places, shape[-1] * places


def variance_scaling(shape: Sequence[int], scale: float, mode: str) -> float:
    """The variance that VarianceScaling draws with, whatever the distribution."""
    fan_in, fan_out = fans(shape)
    fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[mode]
    return scale / max(1.0, fan)


#: name → scale, mode and distribution of VarianceScaling
VARIANCE_SCALING: dict[str, tuple[float, str, str]] = {
    "xavier_uniform": (1.0, "fan_avg", "uniform"),  # GlorotUniform
    "xavier_normal": (1.0, "fan_avg", "truncated_normal"),  # GlorotNormal
    "he_uniform": (2.0, "fan_in", "uniform"),
    "he_normal": (2.0, "fan_in", "truncated_normal"),
    "lecun_uniform": (1.0, "fan_in", "uniform"),
    "lecun_normal": (1.0, "fan_in", "truncated_normal"),
}


def categorical_crossentropy(y: Array, z: Array, label_smoothing: float = 0.0) -> Array:
    """Of logits, one a row."""
    smoothed = y * (1 - label_smoothing) + label_smoothing / y.shape[-1]
    return -(smoothed * np.log(softmax(z))).sum(-1)


def binary_crossentropy(y: Array, z: Array) -> Array:
    """Of logits; the mean over outputs."""
    return (y * softplus(-z) + (1 - y) * softplus(z)).mean(-1)


def hinge(y: Array, z: Array) -> Array:
    """Of labels 0 and 1; the mean over outputs."""
    return np.maximum(1 - (2 * y - 1) * z, 0).mean(-1)


def squared_hinge(y: Array, z: Array) -> Array:
    return (np.maximum(1 - (2 * y - 1) * z, 0) ** 2).mean(-1)


def huber(y: Array, z: Array, delta: float = 1.0) -> Array:
    error = np.abs(z - y)
    near = 0.5 * error**2
    return np.where(error <= delta, near, delta * error - 0.5 * delta**2).mean(-1)


def lstm(x: Array, kernel: Array, recurrent: Array, bias: Array) -> Iterator[Array]:
    """LSTM(return_sequences=True); gates in, forget, candidate, out. Yields h of each step."""
    h = c = np.zeros((len(x), len(recurrent)))
    for step in range(x.shape[1]):
        i, f, g, o = np.split(x[:, step] @ kernel + h @ recurrent + bias, 4, axis=1)
        c = expit(f) * c + expit(i) * np.tanh(g)
        h = expit(o) * np.tanh(c)
        yield h


def gru(x: Array, kernel: Array, recurrent: Array, biases: tuple[Array, Array]) -> Iterator[Array]:
    """GRU(reset_after=True, return_sequences=True); gates update, reset, candidate."""
    h = np.zeros((len(x), len(recurrent)))
    for step in range(x.shape[1]):
        xz, xr, xh = np.split(x[:, step] @ kernel + biases[0], 3, axis=1)
        hz, hr, hh = np.split(h @ recurrent + biases[1], 3, axis=1)
        z, r = expit(xz + hz), expit(xr + hr)
        h = z * h + (1 - z) * np.tanh(xh + r * hh)
        yield h


def simple_rnn(
    x: Array, kernel: Array, recurrent: Array, bias: Array, activation: str
) -> Iterator[Array]:
    """SimpleRNN(return_sequences=True)."""
    h = np.zeros((len(x), len(recurrent)))
    for step in range(x.shape[1]):
        h = ACTIVATIONS[activation](x[:, step] @ kernel + h @ recurrent + bias)
        yield h
