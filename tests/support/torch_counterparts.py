"""What torch has of the techniques that can be named, and under which names."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn, optim
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.nn.utils.parametrizations import weight_norm
from torch.optim import lr_scheduler
from torch.optim.swa_utils import update_bn

from hpsearch import registry
from tests.support.effect_values import other_values


@dataclass(frozen=True)
class Counterpart:
    """A class or function of torch's; `keywords` names its arguments by keywords of ours.

    `betas.1` is the second of a tuple. `own` are keywords that it has no argument for, `fixed`
    arguments that make it the technique.
    """

    made: Callable[..., Any]
    keywords: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    own: tuple[str, ...] = ()

    def build(self, values: Mapping[str, Any], *args: Any, **more: Any) -> Any:
        """Call it with these values of our keywords."""
        return self.made(*args, **more, **self.fixed, **self._arguments(values))

    def default(self, keyword: str) -> Any:
        """Return torch's default of a keyword of ours; `empty` where it has none."""
        name, _, place = self.keywords[keyword].partition(".")
        parameter = inspect.signature(self.made).parameters.get(name)
        value: Any = inspect.Parameter.empty if parameter is None else parameter.default
        return value[int(place)] if place else value

    def _arguments(self, values: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for keyword, value in values.items():
            name, _, place = self.keywords[keyword].partition(".")
            found[name] = (*found.get(name, ()), value) if place else value
        return found


#: keywords without a default
NEEDED: Mapping[str, Any] = {"milestones": [3, 5]}


def defaults_of(name: str, counterpart: Counterpart) -> dict[str, Any]:
    """Return our defaults of the keywords that torch has too."""
    keywords = registry.get(*component(name)).keywords
    return {key: NEEDED.get(key, keywords[key].default) for key in counterpart.keywords}


def others_of(name: str, counterpart: Counterpart) -> dict[str, Any]:
    """Return another value for each of them."""
    family, short = component(name)
    keywords = registry.get(family, short).keywords
    defaults = defaults_of(name, counterpart)
    return {key: next(other_values(keywords[key], defaults[key], short)) for key in defaults}


def component(name: str) -> tuple[str, str]:
    """Return the family and the name of `norm.layer@2`."""
    family, _, rest = name.partition(".")
    return family, rest.partition("@")[0]


_LR = {"lr": "lr", "weight_decay": "weight_decay"}
_SGD = {"lr": "lr", "momentum": "momentum", "weight_decay": "weight_decay"}
_ADAM = {**_LR, "beta1": "betas.0", "beta2": "betas.1", "eps": "eps"}
_NORM = {"eps": "eps", "affine": "affine"}
_ELEMENTWISE = {"eps": "eps", "affine": "elementwise_affine"}
_BATCH = {**_NORM, "momentum": "momentum"}
_BATCH_OWN = ("gamma_init", "evaluation")
_HE = {"negative_slope": "a", "mode": "mode"}
_CYCLE = ("pct_start", "anneal_strategy", "three_phase", "base_momentum", "max_momentum")
_LBFGS = ("lr", "max_iter", "history_size")
_PLATEAU = ("factor", "patience", "threshold")
_CYCLE_LR = ("div_factor", "final_div_factor", "cycle_momentum")


def _pos_weight(pos_weight: float) -> nn.Module:
    return nn.BCEWithLogitsLoss(pos_weight=torch.tensor(pos_weight))


def _symmetric(tensor: torch.Tensor, bound: float) -> torch.Tensor:
    return nn.init.uniform_(tensor, -bound, bound)


def _renorm(tensor: torch.Tensor, maxnorm: float) -> torch.Tensor:
    return torch.renorm(tensor, 2, 0, maxnorm)


#: `family.component` → its counterpart; `@2` of images, `@0` of vectors
TORCH: dict[str, Counterpart] = {
    "activation.celu": Counterpart(nn.CELU, {"alpha": "alpha"}),
    "activation.elu": Counterpart(nn.ELU, {"alpha": "alpha"}),
    "activation.gelu": Counterpart(nn.GELU, {"approximate": "approximate"}),
    "activation.glu": Counterpart(nn.GLU, fixed={"dim": 1}),
    "activation.hardswish": Counterpart(nn.Hardswish),
    "activation.identity": Counterpart(nn.Identity),
    "activation.leaky_relu": Counterpart(nn.LeakyReLU, {"negative_slope": "negative_slope"}),
    "activation.mish": Counterpart(nn.Mish),
    "activation.prelu": Counterpart(nn.PReLU, {"init": "init"}),
    "activation.relu": Counterpart(nn.ReLU),
    "activation.selu": Counterpart(nn.SELU),
    "activation.sigmoid": Counterpart(nn.Sigmoid),
    "activation.silu": Counterpart(nn.SiLU),
    "activation.softplus": Counterpart(nn.Softplus, {"beta": "beta"}),
    "activation.softsign": Counterpart(nn.Softsign),
    "activation.tanh": Counterpart(nn.Tanh),
    "norm.batch@0": Counterpart(nn.BatchNorm1d, _BATCH, own=_BATCH_OWN),
    "norm.batch@2": Counterpart(nn.BatchNorm2d, _BATCH, own=_BATCH_OWN),
    "norm.layer@0": Counterpart(nn.LayerNorm, _ELEMENTWISE),
    "norm.layer@2": Counterpart(nn.GroupNorm, _NORM, {"num_groups": 1}),
    "norm.rms@0": Counterpart(nn.RMSNorm, _ELEMENTWISE),
    "norm.rms@2": Counterpart(nn.RMSNorm, _ELEMENTWISE),
    "norm.instance@2": Counterpart(nn.InstanceNorm2d, _NORM),
    "norm.weight": Counterpart(weight_norm, own=("learn_g", "data_init")),
    "norm.group@2": Counterpart(nn.GroupNorm, {**_NORM, "groups": "num_groups"}),
    "dropout.standard": Counterpart(nn.Dropout, {"rate": "p"}, own=("scaling",)),
    "dropout.spatial": Counterpart(nn.Dropout2d, {"rate": "p"}),
    "dropout.alpha": Counterpart(nn.AlphaDropout, {"rate": "p"}),
    "cell.rnn": Counterpart(nn.RNN, {"nonlinearity": "nonlinearity"}),
    "cell.lstm": Counterpart(nn.LSTM),
    "cell.gru": Counterpart(nn.GRU),
    "initializer.xavier_uniform": Counterpart(nn.init.xavier_uniform_, {"gain": "gain"}),
    "initializer.xavier_normal": Counterpart(
        nn.init.xavier_normal_, {"gain": "gain"}, own=("truncated",)
    ),
    "initializer.small": Counterpart(nn.init.xavier_normal_, fixed={"gain": 0.01}),
    "initializer.large": Counterpart(nn.init.xavier_normal_, fixed={"gain": 10.0}),
    "initializer.he_uniform": Counterpart(nn.init.kaiming_uniform_, _HE),
    "initializer.he_normal": Counterpart(nn.init.kaiming_normal_, _HE, own=("truncated",)),
    "initializer.lecun_uniform": Counterpart(
        nn.init.kaiming_uniform_, fixed={"nonlinearity": "linear"}
    ),
    "initializer.lecun_normal": Counterpart(
        nn.init.kaiming_normal_, fixed={"nonlinearity": "linear"}, own=("truncated",)
    ),
    "initializer.orthogonal": Counterpart(nn.init.orthogonal_, {"gain": "gain"}),
    "initializer.normal": Counterpart(nn.init.normal_, {"std": "std"}),
    "initializer.uniform": Counterpart(_symmetric, {"bound": "bound"}),
    "initializer.zeros": Counterpart(nn.init.zeros_),
    "loss.cross_entropy": Counterpart(
        nn.CrossEntropyLoss, {"label_smoothing": "label_smoothing"}, own=("class_weights",)
    ),
    "loss.soft_ce": Counterpart(nn.CrossEntropyLoss, {"label_smoothing": "label_smoothing"}),
    "loss.soft_bce": Counterpart(_pos_weight, {"pos_weight": "pos_weight"}),
    "loss.mse": Counterpart(nn.MSELoss),
    "loss.l1": Counterpart(nn.L1Loss),
    "loss.huber": Counterpart(nn.HuberLoss, {"delta": "delta"}),
    "head.linear": Counterpart(nn.Identity),
    "head.softmax": Counterpart(nn.Softmax, fixed={"dim": -1}),
    "head.sigmoid": Counterpart(nn.Sigmoid),
    "optimizer.sgd": Counterpart(optim.SGD, {**_SGD, "dampening": "dampening"}),
    "optimizer.momentum": Counterpart(optim.SGD, _SGD),
    "optimizer.nesterov": Counterpart(optim.SGD, _SGD, {"nesterov": True}),
    "optimizer.perceptron_rule": Counterpart(optim.SGD, {"lr": "lr"}),
    "optimizer.adagrad": Counterpart(
        optim.Adagrad,
        {**_LR, "eps": "eps", "initial_accumulator_value": "initial_accumulator_value"},
    ),
    "optimizer.adadelta": Counterpart(optim.Adadelta, {**_LR, "rho": "rho", "eps": "eps"}),
    "optimizer.rmsprop": Counterpart(optim.RMSprop, {**_SGD, "alpha": "alpha", "eps": "eps"}),
    "optimizer.adam": Counterpart(optim.Adam, _ADAM),
    "optimizer.amsgrad": Counterpart(optim.Adam, _ADAM, {"amsgrad": True}),
    "optimizer.adamw": Counterpart(optim.AdamW, _ADAM),
    "optimizer.adamax": Counterpart(optim.Adamax, _ADAM),
    "optimizer.nadam": Counterpart(optim.NAdam, {**_ADAM, "momentum_decay": "momentum_decay"}),
    "optimizer.radam": Counterpart(optim.RAdam, _ADAM),
    "optimizer.rprop": Counterpart(
        optim.Rprop, {"lr": "lr", "eta_minus": "etas.0", "eta_plus": "etas.1"}
    ),
    "optimizer.asgd": Counterpart(
        optim.ASGD, {**_LR, "lambd": "lambd", "alpha": "alpha", "t0": "t0"}
    ),
    "optimizer.adafactor": Counterpart(
        optim.Adafactor, {**_LR, "beta2_decay": "beta2_decay", "d": "d"}
    ),
    "optimizer.lbfgs": Counterpart(
        optim.LBFGS, {each: each for each in _LBFGS}, own=("line_search",)
    ),
    "callback.recalibrate_bn": Counterpart(update_bn),
    "gradient_clip.norm": Counterpart(clip_grad_norm_, {"max_norm": "max_norm"}),
    "gradient_clip.value": Counterpart(clip_grad_value_, {"max_value": "clip_value"}),
    "constraint.max_norm": Counterpart(_renorm, {"c": "maxnorm"}),
    "lr_schedule.constant": Counterpart(lr_scheduler.ConstantLR, fixed={"factor": 1.0}),
    "lr_schedule.step": Counterpart(
        lr_scheduler.StepLR, {"step_size": "step_size", "gamma": "gamma"}
    ),
    "lr_schedule.multistep": Counterpart(
        lr_scheduler.MultiStepLR, {"milestones": "milestones", "gamma": "gamma"}
    ),
    "lr_schedule.exponential": Counterpart(lr_scheduler.ExponentialLR, {"gamma": "gamma"}),
    "lr_schedule.plateau": Counterpart(
        lr_scheduler.ReduceLROnPlateau,
        {**{each: each for each in _PLATEAU}, "min_factor": "min_lr"},
        own=("metric", "mode"),
    ),
    "lr_schedule.one_cycle": Counterpart(
        lr_scheduler.OneCycleLR, {each: each for each in (*_CYCLE, *_CYCLE_LR)}, {"max_lr": 1.0}
    ),
    "lr_schedule.polynomial": Counterpart(
        lr_scheduler.PolynomialLR, {"power": "power"}, own=("final_factor",)
    ),
    "lr_schedule.cosine": Counterpart(lr_scheduler.CosineAnnealingLR, {"final_factor": "eta_min"}),
    "lr_schedule.cosine_restarts": Counterpart(
        lr_scheduler.CosineAnnealingWarmRestarts,
        {"first_cycle": "T_0", "growth": "T_mult", "final_factor": "eta_min"},
    ),
    "lr_schedule.cyclical": Counterpart(
        lr_scheduler.CyclicLR,
        {"half_cycle": "step_size_up", "low_factor": "base_lr", "mode": "mode"},
        {"max_lr": 1.0, "cycle_momentum": False},
    ),
    "lr_schedule.warmup": Counterpart(
        lr_scheduler.LinearLR,
        {"epochs": "total_iters", "start_factor": "start_factor"},
        own=("then",),
    ),
    "momentum_schedule.cyclical": Counterpart(
        lr_scheduler.OneCycleLR, {each: each for each in _CYCLE}, {"max_lr": 1.0}
    ),
}
