"""Every technique that torch has too is torch's, with its defaults and with other values."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from hpsearch.components.layers.activations import make_activation
from hpsearch.components.layers.cells import make_cell
from hpsearch.components.layers.dropouts import RecurrentDropout
from hpsearch.components.layers.normalizations import make_norm
from hpsearch.components.losses import make_loss
from hpsearch.components.optimizers import build_optimizer
from hpsearch.registry import ComponentOf
from tests.support.schedules import progress
from tests.support.torch_counterparts import TORCH, Counterpart, component, defaults_of, others_of

Values = Mapping[str, Any]
CHANNELS = 16


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def section(name: str, values: Values) -> dict[str, Any]:
    return {"name": component(name)[1], **values}


def same_function(ours: nn.Module, theirs: nn.Module, x: Tensor) -> None:
    """Outputs, and gradients of inputs and parameters."""
    weights = normal(*ours(x).shape, seed=1)
    results = []
    for module in (ours, theirs):
        inputs = x.clone().requires_grad_()
        outputs = module(inputs)
        (outputs * weights).sum().backward()
        grads = [param.grad for param in module.parameters()]
        results.append([outputs, inputs.grad, *grads])
    assert_close(*results)


def activation(name: str, torchs: Counterpart, values: Values) -> None:
    ours, theirs = make_activation(section(name, values)), torchs.build(values)
    same_function(ours, theirs, normal(5, 6, 4, 4))


def norm(name: str, torchs: Counterpart, values: Values) -> None:
    ours: Any
    num_dims = int(name.partition("@")[2] or 0)
    shape = (6, CHANNELS, *[3] * num_dims)
    if name == "norm.weight":
        layer = nn.Linear(CHANNELS, 5)
        weight_norm: Any = make_norm(section(name, values), 5, 0)
        ours = weight_norm(copy.deepcopy(layer))
        return same_function(ours, torchs.build(values, layer), normal(*shape))
    ours = make_norm(section(name, values), CHANNELS, num_dims)
    if torchs.made is nn.GroupNorm:
        theirs = torchs.build(values, num_channels=CHANNELS)
    else:
        is_whole = torchs.made in (nn.LayerNorm, nn.RMSNorm)
        theirs = torchs.build(values, shape[1:] if is_whole else CHANNELS)
    for seed in range(2):  # running statistics move
        x = 3 * normal(*shape, seed=seed) + 1
        assert_close(ours(x), theirs(x))
        assert_close(copy.deepcopy(ours).eval()(x), copy.deepcopy(theirs).eval()(x))


def dropout(name: str, torchs: Counterpart, values: Values) -> None:
    """The same values where something is dropped, in as many places; the masks are others."""
    values = {"rate": values["rate"] or 0.4}
    ours, theirs = ComponentOf("dropout").build(section(name, values)), torchs.build(values)
    x = torch.ones(400, 50, 3, 3)
    assert_close(ours.eval()(x), theirs.eval()(x))
    one, other = ours.train()(x), theirs.train()(x)
    assert_close(one.unique(), other.unique())
    dropped, rate = one == one.min(), values["rate"]
    per_channel = dropped.float().mean((2, 3))
    by_channel = (other == other.min()).float().mean((2, 3))
    assert bool((per_channel % 1 == 0).all()) == bool((by_channel % 1 == 0).all())
    deviation = (rate * (1 - rate) / per_channel.numel()) ** 0.5  # of channels, at most
    assert abs(dropped.float().mean().item() - rate) < 5 * deviation


def cell(name: str, torchs: Counterpart, values: Values) -> None:
    """Unrolled by torch, and step by step as with a dropout, which here drops nothing."""
    ours: Any = make_cell(section(name, values), 4, 3)
    theirs = torchs.build(values, 4, 3)
    theirs.batch_first = True
    theirs.load_state_dict(ours.weights.state_dict())
    x = normal(5, 6, 4)
    assert_close(ours(x), theirs(x)[0])
    assert_close(ours.train()(x, RecurrentDropout(weights=1e-12)), theirs(x)[0])


def initializer(name: str, torchs: Counterpart, values: Values) -> None:
    for shape in ((6, 4), (6, 4, 3, 3)):
        ours, theirs = torch.empty(shape), torch.empty(shape)
        torch.manual_seed(0)
        ComponentOf("initializer").build(section(name, values), tensor=ours)
        torch.manual_seed(0)
        torchs.build(values, theirs)
        assert_close(ours, theirs)


def loss(name: str, torchs: Counterpart, values: Values) -> None:
    ours = make_loss(section(name, values), output_size=3, class_counts=(3, 3, 2))
    is_regression, is_binary = "regression" in ours.kinds, "sigmoid" in ours.heads
    targets = [normal(8, 3, seed=2)] if is_regression else [normal(8, 3, seed=2).softmax(-1)]
    if not is_regression and not is_binary:
        targets.append(torch.arange(8) % 3)
    for each in targets:
        results = []
        for function in (ours, torchs.build(values)):
            outputs = normal(8, 3).requires_grad_()
            value = function(outputs, each)
            value.backward()
            results.append([value, outputs.grad])
        assert_close(*results)


def head(name: str, torchs: Counterpart, values: Values) -> None:
    ours = ComponentOf("head").build(section(name, values), kind="multilabel")
    assert_close(ours(normal(6, 3)), torchs.build(values)(normal(6, 3)))


def optimizer(name: str, torchs: Counterpart, values: Values) -> None:
    ours, theirs = ([nn.Parameter(normal(*shape)) for shape in ((5, 4), (5,))] for _ in range(2))
    made = build_optimizer(section(name, values), [{"params": ours}], Path())
    more = {"line_search_fn": "strong_wolfe"} if name == "optimizer.lbfgs" else {}
    for params, each in ((ours, made), (theirs, torchs.build(values, theirs, **more))):
        for step in range(8):
            each.step(_closure(each, params, step))
    assert_close(ours, theirs)


def _closure(made: Any, params: list[nn.Parameter], step: int) -> Callable[[], Any]:
    def closure() -> Tensor:
        made.zero_grad()
        x = normal(7, 4, seed=step)
        value = (x @ params[0].T + params[1]).square().mean() + x.mean() * params[0].sum()
        value.backward()
        return value

    return closure


def gradient_clip(name: str, torchs: Counterpart, values: Values) -> None:
    ours, theirs = ([nn.Parameter(normal(*shape)) for shape in ((5, 4), (5,))] for _ in range(2))
    for param in (*ours, *theirs):
        param.grad = param.detach().clone()
    total = nn.utils.get_total_norm([param.grad for param in ours if param.grad is not None])
    ComponentOf("gradient_clip").build(section(name, values))(ours, total)
    torchs.build(values, theirs)
    assert_close([param.grad for param in ours], [param.grad for param in theirs])


def constraint(name: str, torchs: Counterpart, values: Values) -> None:
    model: Any = nn.Sequential(nn.Linear(4, 3), nn.Conv2d(2, 3, 3))
    before = [layer.weight.detach().clone().mul_(9) for layer in model]
    for layer, weight in zip(model, before, strict=True):
        layer.weight.data.copy_(weight)
    ComponentOf("constraint").build(section(name, values), model=model)()
    for layer, weight in zip(model, before, strict=True):
        assert_close(layer.weight.detach(), torchs.build(values, weight))


def callback(name: str, torchs: Counterpart, values: Values) -> None:
    ours, theirs = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    batches = [(normal(8, 3, seed=seed), None) for seed in range(4)]
    made = ComponentOf("callback").build(section(name, values))
    made.before_evaluation(ours, lambda: iter(batches))
    torchs.build(values, iter(batches), theirs)
    assert_close(ours.state_dict(), theirs.state_dict())


#: keywords in epochs, which are steps to torch
IN_EPOCHS = ("first_cycle", "half_cycle", "epochs")
#: what torch must be told of the whole training
LENGTHS: dict[str, Callable[[int], dict[str, int]]] = {
    "lr_schedule.one_cycle": lambda steps: {"total_steps": steps},
    "momentum_schedule.cyclical": lambda steps: {"total_steps": steps},
    "lr_schedule.polynomial": lambda steps: {"total_iters": steps - 1},
    "lr_schedule.cosine": lambda steps: {"T_max": steps - 1},
}
STEPWISE = {"cosine_restarts", "cyclical", "warmup", "one_cycle", "cosine", "polynomial"}


def schedule(name: str, torchs: Counterpart, values: Values) -> None:
    family, short = component(name)
    if short == "plateau":
        return plateau(name, torchs, values)
    epochs, steps = (8, 5) if short in STEPWISE else (40, 1)
    if values.get("start_factor") == 0:  # torch takes none
        values = {**values, "start_factor": 0.1}
    made = ComponentOf(family).build(section(name, values))
    ours = [made(each) for each in progress(epochs, steps)]
    scaled = {key: v * steps if key in IN_EPOCHS else v for key, v in values.items()}
    params = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)
    theirs = torchs.build(scaled, params, **LENGTHS.get(name, lambda _: {})(epochs * steps))
    key = "lr" if family == "lr_schedule" else "momentum"
    for step, value in enumerate(ours):
        assert value == pytest.approx(params.param_groups[0][key], abs=1e-9), step
        params.step()
        if step + 1 < len(ours):
            theirs.step()


def plateau(name: str, torchs: Counterpart, values: Values) -> None:
    values = {**values, "patience": 2, "threshold": min(values["threshold"], 0.1)}
    params = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    ours, theirs = (
        ComponentOf("lr_schedule").build(section(name, values)),
        torchs.build(values, params),
    )
    losses = [1.0] * 6 + [0.5, 0.49999, 0.49, 0.6, 0.6, 0.6, 0.6, 0.4] + [0.3] * 9
    for value in losses:
        theirs.step(value)
        ours.observe({"val_loss": value})
        rate = params.param_groups[0]["lr"]
        assert ours(next(iter(progress(1, 1)))) == pytest.approx(rate)


COMPARE: dict[str, Callable[[str, Counterpart, Values], None]] = {
    **{each.__name__: each for each in (activation, norm, dropout, cell, initializer, loss)},
    **{each.__name__: each for each in (head, optimizer, gradient_clip, constraint, callback)},
    "lr_schedule": schedule,
    "momentum_schedule": schedule,
}


@pytest.mark.parametrize("values_of", [defaults_of, others_of], ids=["defaults", "others"])
@pytest.mark.parametrize("name", TORCH)
def test_it_is_torchs(name: str, values_of: Any) -> None:
    torchs, (family, _) = TORCH[name], component(name)
    values = values_of(name, torchs)
    torch.manual_seed(0)
    COMPARE[family](name, torchs, values)
