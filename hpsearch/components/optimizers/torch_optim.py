"""The optimizers of `torch.optim`.

On a CPU torch's fused step is the fastest of its implementations for small nets, where there is
one. Learning rate, momentum, weight decay and the like change numbers only. Defaults are torch's,
but for the momentum of `momentum` and `nesterov`, the `t0` of asgd and the line search of lbfgs,
without which they would hardly do what they are for. The state of sgd and rmsprop is counted with
momentum, since a schedule may set it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt, Interval
from torch.optim import Optimizer

from hpsearch.components.optimizers.averaging import AveragedSGD
from hpsearch.components.optimizers.base import (
    ONE_RATE,
    AdaptiveLearningRate,
    Decay,
    Epsilon,
    LearningRate,
    Momentum,
    Params,
    WeightDecay,
)
from hpsearch.errors import BadConfigurationError
from hpsearch.registry import KerasDefault, Recommended, register

PositiveMomentum = Annotated[float, Interval(gt=0, lt=1), Recommended(0.5, 0.99)]
KerasLearningRate = Annotated[AdaptiveLearningRate, KerasDefault(0.001)]
KerasEpsilon = Annotated[Epsilon, KerasDefault(1e-7)]


@register("optimizer", "sgd", weight_copies=1, traits={ONE_RATE: True})
def sgd(
    params: Params,
    lr: Annotated[LearningRate, KerasDefault(0.01)] = 1e-3,
    momentum: Momentum = 0.0,
    dampening: Annotated[float, Interval(ge=0, le=1)] = 0.0,
    weight_decay: WeightDecay = 0.0,
) -> Optimizer:
    """Stochastic gradient descent, with momentum where it is not 0."""
    return torch.optim.SGD(params, lr, momentum, dampening, weight_decay, fused=True)


@register("optimizer", "momentum", weight_copies=1, traits={ONE_RATE: True})
def momentum(
    params: Params,
    lr: Annotated[LearningRate, KerasDefault(0.01)] = 1e-3,
    momentum: PositiveMomentum = 0.9,
    weight_decay: WeightDecay = 0.0,
) -> Optimizer:
    """Stochastic gradient descent with heavy-ball momentum: v = m v + g, w -= lr v.

    Keras has the rate inside, v = m v - lr g: the same until the rate changes.
    """
    return torch.optim.SGD(params, lr, momentum, weight_decay=weight_decay, fused=True)


@register("optimizer", "nesterov", weight_copies=1, traits={ONE_RATE: True})
def nesterov(
    params: Params,
    lr: Annotated[LearningRate, KerasDefault(0.01)] = 1e-3,
    momentum: PositiveMomentum = 0.9,
    weight_decay: WeightDecay = 0.0,
) -> Optimizer:
    """Stochastic gradient descent with Nesterov's momentum (Sutskever et al., 2013)."""
    return torch.optim.SGD(
        params, lr, momentum, weight_decay=weight_decay, nesterov=True, fused=True
    )


@register("optimizer", "adagrad", weight_copies=1)
def adagrad(
    params: Params,
    lr: Annotated[LearningRate, KerasDefault(0.001)] = 0.01,
    eps: KerasEpsilon = 1e-10,
    initial_accumulator_value: Annotated[float, Ge(0), KerasDefault(0.1)] = 0.0,
    weight_decay: WeightDecay = 0.0,
) -> Optimizer:
    """Gradients divided by the root of the sum of their squares (Duchi et al., 2011).

    The sum begins with `initial_accumulator_value`.
    """
    return torch.optim.Adagrad(
        params,
        lr,
        eps=eps,
        weight_decay=weight_decay,
        initial_accumulator_value=initial_accumulator_value,
    )


@register("optimizer", "adadelta", weight_copies=2)
def adadelta(
    params: Params,
    lr: Annotated[float, Gt(0), Recommended(1e-2, 10.0, log=True), KerasDefault(0.001)] = 1.0,
    rho: Annotated[Decay, KerasDefault(0.95)] = 0.9,
    eps: KerasEpsilon = 1e-6,
    weight_decay: WeightDecay = 0.0,
) -> Optimizer:
    """RMSprop times the running root mean square of past updates (Zeiler, 2012)."""
    return torch.optim.Adadelta(params, lr, rho, eps, weight_decay)


@register(
    "optimizer",
    "rmsprop",
    weight_copies=2,
)
def rmsprop(
    params: Params,
    lr: KerasLearningRate = 1e-2,
    momentum: Momentum = 0.0,
    alpha: Annotated[Decay, KerasDefault(0.9)] = 0.99,
    eps: KerasEpsilon = 1e-8,
    weight_decay: WeightDecay = 0.0,
) -> Optimizer:
    """Gradients divided by the root of their running mean square (Hinton, 2012)."""
    return torch.optim.RMSprop(
        params, lr=lr, momentum=momentum, alpha=alpha, eps=eps, weight_decay=weight_decay
    )


@register("optimizer", "adam", weight_copies=2)
def adam(
    params: Params,
    lr: AdaptiveLearningRate = 1e-3,
    beta1: Decay = 0.9,
    beta2: Decay = 0.999,
    eps: KerasEpsilon = 1e-8,
    weight_decay: WeightDecay = 0.0,
) -> Optimizer:
    """Adam, weight decay added to the gradient (Kingma & Ba, 2015)."""
    return torch.optim.Adam(params, lr, (beta1, beta2), eps, weight_decay, fused=True)


@register("optimizer", "amsgrad", weight_copies=3)
def amsgrad(
    params: Params,
    lr: AdaptiveLearningRate = 1e-3,
    beta1: Decay = 0.9,
    beta2: Decay = 0.999,
    eps: KerasEpsilon = 1e-8,
    weight_decay: WeightDecay = 0.0,
) -> Optimizer:
    """Adam divided by the greatest running mean square so far (Reddi et al., 2018)."""
    return torch.optim.Adam(
        params, lr, (beta1, beta2), eps, weight_decay, amsgrad=True, fused=True
    )


@register("optimizer", "adamw", weight_copies=2)
def adamw(
    params: Params,
    lr: AdaptiveLearningRate = 1e-3,
    beta1: Decay = 0.9,
    beta2: Decay = 0.999,
    eps: KerasEpsilon = 1e-8,
    weight_decay: Annotated[WeightDecay, KerasDefault(0.004)] = 0.01,
) -> Optimizer:
    """Adam with decoupled weight decay (Loshchilov & Hutter, 2019)."""
    return torch.optim.AdamW(params, lr, (beta1, beta2), eps, weight_decay, fused=True)


@register("optimizer", "adamax", weight_copies=2)
def adamax(
    params: Params,
    lr: KerasLearningRate = 2e-3,
    beta1: Decay = 0.9,
    beta2: Decay = 0.999,
    eps: KerasEpsilon = 1e-8,
    weight_decay: WeightDecay = 0.0,
) -> Optimizer:
    """Adam with the greatest decayed gradient in place of the mean square (Kingma & Ba, 2015)."""
    return torch.optim.Adamax(params, lr, (beta1, beta2), eps, weight_decay)


@register("optimizer", "nadam", weight_copies=2)
def nadam(
    params: Params,
    lr: KerasLearningRate = 2e-3,
    beta1: Decay = 0.9,
    beta2: Decay = 0.999,
    eps: KerasEpsilon = 1e-8,
    weight_decay: WeightDecay = 0.0,
    momentum_decay: Annotated[float, Ge(0), KerasDefault(1.0)] = 4e-3,
) -> Optimizer:
    """Adam with Nesterov's momentum (Dozat, 2016).

    Keras's is that of `momentum_decay` 1.
    """
    return torch.optim.NAdam(params, lr, (beta1, beta2), eps, weight_decay, momentum_decay)


@register("optimizer", "radam", weight_copies=2)
def radam(
    params: Params,
    lr: AdaptiveLearningRate = 1e-3,
    beta1: Decay = 0.9,
    beta2: Decay = 0.999,
    eps: Epsilon = 1e-8,
    weight_decay: WeightDecay = 0.0,
) -> Optimizer:
    """Adam that begins without dividing, while the variance is unknown (Liu et al., 2020)."""
    return torch.optim.RAdam(params, lr, (beta1, beta2), eps, weight_decay)


@register("optimizer", "rprop", weight_copies=2)
def rprop(
    params: Params,
    lr: AdaptiveLearningRate = 1e-2,
    eta_minus: Annotated[float, Interval(gt=0, lt=1)] = 0.5,
    eta_plus: Annotated[float, Gt(1)] = 1.2,
) -> Optimizer:
    """Steps by the gradient's sign, each with a size of its own (Riedmiller & Braun, 1993).

    Made for full batches: the signs of small ones change by chance.
    """
    return torch.optim.Rprop(params, lr, (eta_minus, eta_plus))


@register("optimizer", "asgd", weight_copies=1, traits={ONE_RATE: True})
def asgd(
    params: Params,
    lr: LearningRate = 0.01,
    lambd: Annotated[float, Ge(0)] = 1e-4,
    alpha: Annotated[float, Interval(gt=0, le=10)] = 0.75,
    t0: Annotated[float, Ge(0), Recommended(10.0, 10_000.0, log=True, prior=100.0)] = 0.0,
    weight_decay: WeightDecay = 0.0,
) -> Optimizer:
    """Stochastic gradient descent whose iterates are averaged (Polyak & Juditsky, 1992).

    The average of the weights after step `t0` (torch: a million) is what is evaluated and
    exported; batch norms know it only by `recalibrate_bn`.
    """
    return AveragedSGD(params, lr, lambd, alpha, t0, weight_decay)


@register("optimizer", "adafactor", weight_copies=1)
def adafactor(
    params: Params,
    lr: KerasLearningRate = 1e-2,
    beta2_decay: Annotated[float, Interval(ge=-1, lt=0)] = -0.8,
    d: Annotated[float, Ge(1)] = 1.0,
    weight_decay: WeightDecay = 0.0,
) -> Optimizer:
    """Adam whose mean squares are kept as row and column means (Shazeer & Stern, 2018)."""
    return torch.optim.Adafactor(params, lr, beta2_decay, d=d, weight_decay=weight_decay)


@register("optimizer", "lbfgs", weight_copies=lambda history_size, **_: 2 * history_size + 2)
def lbfgs(
    params: Params,
    lr: LearningRate = 1.0,
    max_iter: Annotated[int, Ge(1)] = 20,
    history_size: Annotated[int, Interval(ge=1, le=10_000)] = 100,
    line_search: bool = True,
) -> Optimizer:
    """L-BFGS with a strong-Wolfe line search; for full batches (Nocedal & Wright, 2006, ch. 7).

    One step takes up to 1.25 `max_iter` gradients of its batch.
    """
    search = "strong_wolfe" if line_search else None
    return _LBFGS(params, lr, max_iter, history_size=history_size, line_search_fn=search)


class _LBFGS(torch.optim.LBFGS):
    needs_closure = True

    def __init__(self, params: Params, *args: Any, **keywords: Any) -> None:
        groups = [each if isinstance(each, dict) else {"params": [each]} for each in params]
        if any("lr_factor" in group for group in groups):
            raise BadConfigurationError(
                "lbfgs has one learning rate for all parameters, but a part of the model has "
                "its own",
                keyword="name",
            )
        flat = itertools.chain.from_iterable(group["params"] for group in groups)
        super().__init__(list(flat), *args, **keywords)

    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        """Take a step; at the rate 0, where schedules end, its line search would divide by it."""
        if not self.param_groups[0]["lr"]:
            return closure()
        return super().step(closure)  # type: ignore[no-untyped-call]
