"""The update steps of Keras 3's optimizers in numpy, from its documentation.

Each takes a weight, its gradient, a state to keep and the step from 1, and returns the new weight.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tests.support.keras_formulas import Array, State

Step = Callable[[Array, Array, State, int], Array]
BETA1, BETA2, LR, EPSILON = 0.8, 0.9, 0.02, 1e-12
INITIAL_ACCUMULATOR = 0.1


def kept(state: State, name: str, like: Array, start: float = 0.0) -> Array:
    value: Array = state.setdefault(name, np.full_like(like, start))
    return value


def averaged(state: State, name: str, value: Array, rate: float) -> Array:
    state[name] = rate * kept(state, name, value) + (1 - rate) * value
    return kept(state, name, value)


def sgd(momentum: float, nesterov: bool = False) -> Step:
    def step(w: Array, g: Array, state: State, t: int) -> Array:
        m = state["m"] = momentum * kept(state, "m", w) - LR * g
        return w + momentum * m - LR * g if nesterov else w + m

    return step


def rmsprop(w: Array, g: Array, state: State, t: int) -> Array:
    v = averaged(state, "v", g**2, BETA2)
    m = state["m"] = 0.5 * kept(state, "m", w) + LR * g / np.sqrt(v + EPSILON)
    return w - m


def adagrad(w: Array, g: Array, state: State, t: int) -> Array:
    a = state["a"] = kept(state, "a", w, INITIAL_ACCUMULATOR) + g**2
    return w - LR * g / np.sqrt(a + EPSILON)


def adadelta(w: Array, g: Array, state: State, t: int) -> Array:
    a = averaged(state, "a", g**2, BETA2)
    delta = np.sqrt(kept(state, "d", w) + EPSILON) / np.sqrt(a + EPSILON) * g
    averaged(state, "d", delta**2, BETA2)
    return w - LR * delta


def _adam(w: Array, g: Array, state: State, t: int, amsgrad: bool = False) -> Array:
    m, v = averaged(state, "m", g, BETA1), averaged(state, "v", g**2, BETA2)
    if amsgrad:
        v = state["max"] = np.maximum(kept(state, "max", w), v)
    alpha = LR * math.sqrt(1 - BETA2**t) / (1 - BETA1**t)
    return w - alpha * m / (np.sqrt(v) + EPSILON)


def adam(w: Array, g: Array, state: State, t: int) -> Array:
    return _adam(w, g, state, t)


def amsgrad(w: Array, g: Array, state: State, t: int) -> Array:
    return _adam(w, g, state, t, amsgrad=True)


def adamw(w: Array, g: Array, state: State, t: int) -> Array:
    return _adam(w * (1 - LR * 0.1), g, state, t)  # weight_decay=0.1


def adamax(w: Array, g: Array, state: State, t: int) -> Array:
    m = averaged(state, "m", g, BETA1)
    u = state["u"] = np.maximum(BETA2 * kept(state, "u", w), np.abs(g))
    return w - LR * m / ((1 - BETA1**t) * (u + EPSILON))


def nadam(w: Array, g: Array, state: State, t: int) -> Array:
    u, after = (BETA1 * (1 - 0.5 * 0.96**each) for each in (t, t + 1))
    product = state["product"] = state.get("product", 1.0) * u
    m, v = averaged(state, "m", g, BETA1), averaged(state, "v", g**2, BETA2)
    m_hat = after * m / (1 - product * after) + (1 - u) * g / (1 - product)
    return w - LR * m_hat / (np.sqrt(v / (1 - BETA2**t)) + EPSILON)


def adafactor(w: Array, g: Array, state: State, t: int) -> Array:
    def rms(x: Array) -> float:
        return float(np.sqrt((x**2).mean()))

    rho = min(LR, 1 / math.sqrt(t))
    alpha, beta = max(1e-3, rms(w)) * rho, 1 - t**-0.8
    square = g**2 + 1e-30
    if w.ndim < 2:
        v = averaged(state, "v", square, beta)
    else:
        r = averaged(state, "r", square.mean(-1), beta)
        c = averaged(state, "c", square.mean(-2), beta)
        v = (r / r.mean(-1, keepdims=True))[:, None] * c
    u = g / np.sqrt(v)
    return w - alpha * u / max(1.0, rms(u) / 1.0)


_ADAM = {"lr": LR, "beta1": BETA1, "beta2": BETA2, "eps": EPSILON}
#: ours → Keras's step, and the keywords that make ours the same; epsilon is too small to matter,
#: as Keras has it in other places (within the root, or outside of what corrects the bias)
OPTIMIZERS: dict[str, tuple[Step, dict[str, float]]] = {
    "sgd": (sgd(0.0), {"lr": LR}),
    "momentum": (sgd(0.9), {"lr": LR, "momentum": 0.9}),
    "nesterov": (sgd(0.9, nesterov=True), {"lr": LR, "momentum": 0.9}),
    "rmsprop": (rmsprop, {"lr": LR, "momentum": 0.5, "alpha": BETA2, "eps": EPSILON}),
    "adagrad": (
        adagrad,
        {"lr": LR, "eps": EPSILON, "initial_accumulator_value": INITIAL_ACCUMULATOR},
    ),
    "adadelta": (adadelta, {"lr": LR, "rho": BETA2, "eps": EPSILON}),
    "adam": (adam, _ADAM),
    "amsgrad": (amsgrad, _ADAM),
    "adamw": (adamw, {**_ADAM, "weight_decay": 0.1}),
    "adamax": (adamax, _ADAM),
    "nadam": (nadam, {**_ADAM, "momentum_decay": 1.0}),
    "adafactor": (adafactor, {"lr": LR}),
}
