"""Optimizers: each does the steps that its equations say."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from hpsearch import registry
from hpsearch.components import Data, load_data
from hpsearch.components.optimizers import build_optimizer, pytorch_optimizer
from hpsearch.errors import BadConfigurationError, UserCodeError
from hpsearch.validation.signatures import check_value
from tests.support.optimizers import Net, descend, step, steps
from tests.support.trainers import make

#: rates at which each gets near the minimum in 500 steps; the others do at 0.05
RATES = {
    "adadelta": {"lr": 3.0},
    "adagrad": {"lr": 0.5},
    "adamod": {"lr": 0.05, "beta3": 0.9},
    "lars": {"lr": 0.05},
    "lbfgs": {"lr": 1.0},
}


@pytest.mark.parametrize("name", registry.names("optimizer"))
class TestEveryOptimizer:
    def test_finds_the_minimum(self, name: str) -> None:
        assert steps(name, 500, **{"lr": 0.05, **RATES.get(name, {})}).norm() < 0.06

    def test_goes_down_the_valley_of_rosenbrock(self, name: str) -> None:
        def rosenbrock(p: Tensor) -> Tensor:
            return (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2

        quick = (
            {"lr": 1e-2} if registry.get("optimizer", name).keywords["lr"].default < 0.01 else {}
        )
        slow = {"lr": 2e-4} if name in GRADIENT_SIZED else quick
        last = descend(name, 300, rosenbrock, **{**slow, **VALLEY.get(name, {})})
        assert rosenbrock(last) < 0.05 * rosenbrock(torch.tensor([1.0, -1.0]))

    def test_goes_on_exactly_from_its_state(self, name: str) -> None:
        whole, first, second = (Net(name) for _ in range(3))
        whole.train(6)
        first.train(3)
        second.load(first)
        second.train(3, start=3)
        for one, other in zip(whole.weights, second.weights, strict=True):
            assert torch.equal(one, other)

    def test_groups_have_rates_of_their_own(self, name: str) -> None:
        """A tenth of the rate moves a plain gradient a tenth as far, and none farther."""
        if name == "lbfgs":
            with pytest.raises(BadConfigurationError, match="lbfgs has one learning rate"):
                Net(name, [{"lr_factor": 0.1}, {}])
            return
        net = Net(name, [{"lr_factor": 0.1}, {}])
        rates = [group["lr"] for group in net.optimizer.param_groups]
        assert rates[0] == pytest.approx(0.1 * rates[1])

    def test_takes_what_its_annotations_allow(self, name: str) -> None:
        params = [{"params": [nn.Parameter(torch.ones(2, 2))]}]
        for keyword, parameter in registry.get("optimizer", name).own_keywords.items():
            for value in (-1.0, -0.5, 0, 1e-12, 0.5, 1 - 1e-6, 1, 1 + 1e-6, 2, 1e6):
                if not check_value(value, parameter.annotation, keyword):
                    build_optimizer({"name": name, keyword: value}, params, Path())

    def test_the_rate_has_a_recommended_range_that_holds_the_default(self, name: str) -> None:
        component = registry.get("optimizer", name)
        recommended = component.recommended["lr"]
        assert recommended.low <= component.keywords["lr"].default <= recommended.high


#: steps as long as the gradient (at the start: radam), which is up to 400 in the valley
GRADIENT_SIZED = {
    "sgd",
    "momentum",
    "nesterov",
    "asgd",
    "backstitch",
    "perceptron_rule",
    "lars",
    "radam",
}
VALLEY: dict[str, dict[str, float]] = {
    "adadelta": {"lr": 10.0},
    "radam": {"lr": 1e-3},  # as long as the gradient in its first steps
    "adagrad": {"lr": 0.5},
    "adamod": {"lr": 0.02, "beta3": 0.9},
    "lbfgs": {"lr": 1.0},
}


#: constant gradient 2 from 0, the first three positions
@pytest.mark.parametrize(
    ("name", "keywords", "expected"),
    [
        ("sgd", {"lr": 0.1}, [-0.2, -0.4, -0.6]),
        ("momentum", {"lr": 0.1}, [-0.2, -0.58, -1.122]),
        ("nesterov", {"lr": 0.1}, [-0.38, -0.922, -1.6098]),
        ("adagrad", {"lr": 0.1}, [-0.1, -0.17071068, -0.22844571]),
        ("adadelta", {"lr": 1.0}, [-0.00316227, -0.0064067, -0.0097075]),
        ("rmsprop", {"lr": 0.1, "alpha": 0.9}, [-0.31622776, -0.54564349, -0.73773818]),
        ("adam", {"lr": 0.1}, [-0.1, -0.2, -0.3]),
        ("adamax", {"lr": 0.1}, [-0.1, -0.2, -0.3]),
        ("amsgrad", {"lr": 0.1}, [-0.1, -0.2, -0.3]),
        ("nadam", {"lr": 0.1}, [-0.10564518, -0.18401361, -0.25723533]),
        ("radam", {"lr": 0.1}, [-0.2, -0.4, -0.6]),
        ("adamod", {"beta3": 0.0}, [-0.000999999984, -0.001999999973, -0.002999999964]),
        ("adamod", {"beta3": 0.999}, [-9.9999984e-07, -3.8980994e-06, -9.0275709e-06]),
    ],
)
def test_steps_of_a_constant_gradient(
    name: str, keywords: dict[str, float], expected: list[float]
) -> None:
    assert constant_gradient(name, 3, **keywords) == pytest.approx(expected, rel=2e-6)


@pytest.mark.parametrize(
    ("num_steps", "beta3", "expected"),
    [
        (1000, 0.999, -0.38514303),
        (5000, 0.999, -4.03434956),
        (5000, 0.9999, -1.07617242),
    ],
)
def test_adamod_warms_up(num_steps: int, beta3: float, expected: float) -> None:
    last = constant_gradient("adamod", num_steps, beta3=beta3)[-1]
    assert last == pytest.approx(expected, rel=1e-7)


def constant_gradient(name: str, num_steps: int, **keywords: float) -> list[float]:
    point = nn.Parameter(torch.zeros((), dtype=torch.float64))
    optimizer = build_optimizer({"name": name, **keywords}, [{"params": [point]}], Path())
    positions = []
    for _ in range(num_steps):
        step(optimizer, lambda: 2 * point)
        positions.append(point.item())
    return positions


def test_momentum_goes_ten_times_as_far_in_the_end() -> None:
    positions = constant_gradient("momentum", 400, lr=0.1)
    assert positions[-2] - positions[-1] == pytest.approx(0.1 * 2 / (1 - 0.9))


def test_adam_without_its_first_moment_is_rmsprop_without_its_start() -> None:
    """After many steps the correction of the start is gone."""
    adam = constant_gradient("adam", 3000, lr=0.01, beta1=0.0, beta2=0.99)
    rmsprop = constant_gradient("rmsprop", 3000, lr=0.01, alpha=0.99)
    assert adam[-2] - adam[-1] == pytest.approx(rmsprop[-2] - rmsprop[-1], rel=1e-9)


class TestBackstitch:
    def test_is_sgd_on_a_line_and_without_alpha(self) -> None:
        assert constant_gradient("backstitch", 3, lr=0.1) == pytest.approx([-0.2, -0.4, -0.6])
        plain = steps("sgd", 20, lr=0.05)
        assert torch.equal(steps("backstitch", 20, lr=0.05, alpha=0.0), plain)

    def test_shrinks_a_parabola_by_its_closed_form(self) -> None:
        """Curvature 1, alpha 0.3, rate 0.1: 1 - lr h - alpha (1 + alpha) lr² h² = 0.8961."""
        point = descend("backstitch", 1, lambda p: p.square().sum() / 2, lr=0.1, alpha=0.3)
        assert point.tolist() == pytest.approx([0.8961, -0.8961])

    def test_every_other_batch_is_plain(self) -> None:
        point = descend(
            "backstitch", 2, lambda p: p.square().sum() / 2, lr=0.1, alpha=0.3, interval=2
        )
        assert point[0].item() == pytest.approx(0.8961 * 0.9)

    def test_alpha_grows_over_the_first_steps(self) -> None:
        point = descend(
            "backstitch", 1, lambda p: p.square().sum() / 2, lr=0.1, alpha=0.3, warmup_steps=2
        )
        assert point[0].item() == pytest.approx(1 - 0.1 - 0.1 * 1.1 * 0.01)

    def test_has_no_momentum(self) -> None:
        assert "momentum" not in registry.get("optimizer", "backstitch").keywords


class TestLars:
    def test_scales_matrices_and_leaves_vectors(self) -> None:
        weight = nn.Parameter(torch.tensor([[3.0, 4.0]]))
        bias = nn.Parameter(torch.tensor([1.0]))
        groups = [{"params": [weight, bias]}]
        section = {"name": "lars", "lr": 1.0, "weight_decay": 0.1, "momentum": 0.0}
        optimizer = build_optimizer(section, groups, Path())
        step(optimizer, lambda: 2 * weight.sum() + 2 * bias.sum())
        gradient = torch.tensor([[2.3, 2.4]])
        moved = torch.tensor([[3.0, 4.0]]) - 1e-3 * 5 / gradient.norm() * gradient
        assert weight.detach().tolist()[0] == pytest.approx(moved.tolist()[0])
        assert bias.item() == pytest.approx(-1.0)

    def test_takes_a_zero_weight_as_it_is(self) -> None:
        weight = nn.Parameter(torch.zeros(1, 2))
        section = {"name": "lars", "lr": 1.0}
        optimizer = build_optimizer(section, [{"params": [weight]}], Path())
        step(optimizer, lambda: weight.sum())
        assert weight.detach().tolist() == [[-1.0, -1.0]]


def test_biases_and_norms_are_not_decayed_if_asked() -> None:
    layer = nn.Linear(2, 2)
    section = {"name": "sgd", "lr": 0.1, "weight_decay": 0.5, "decay_biases": False}
    optimizer = build_optimizer(section, [{"params": list(layer.parameters())}], Path())
    weight, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
    for param in layer.parameters():
        param.grad = torch.zeros_like(param)
    optimizer.step()
    assert torch.allclose(layer.weight, weight * (1 - 0.1 * 0.5))
    assert torch.equal(layer.bias, bias)


CNN = {"name": "cnn", "channels": [4, 4], "hidden_sizes": [4]}
RNN = {"name": "rnn", "hidden_size": 4}


@pytest.mark.parametrize("model", [CNN, RNN], ids=["cnn", "rnn"])
@pytest.mark.parametrize(
    "name", [*registry.names("optimizer"), *[f"po:{name}" for name in pytorch_optimizer.names()]]
)
def test_each_trains_convolutions_and_recurrent_layers(
    images: Data, name: str, model: dict[str, Any]
) -> None:
    """Some flatten gradients by views, or know matrices alone."""
    metrics = make(images, model=model, optimizer={"name": name, "lr": 1e-4}).train_epoch()
    assert metrics is not None and np.isfinite(metrics["val_loss"])


@pytest.fixture(scope="module")
def images() -> Data:
    return load_data({"name": "digits", "train_rows": 32, "val_rows": 16}, seed=0)


@pytest.mark.parametrize(
    ("name", "keyword", "bad"),
    [
        ("sgd", "lr", 0.0),
        ("sgd", "momentum", 1.0),
        ("nesterov", "momentum", 0.0),
        ("adam", "beta2", 1.0),
        ("adamw", "weight_decay", -0.1),
        ("rmsprop", "alpha", -0.5),
    ],
)
def test_keywords_are_bounded(name: str, keyword: str, bad: float) -> None:
    annotation: Any = registry.get("optimizer", name).keywords[keyword].annotation
    adapter = TypeAdapter(annotation)
    adapter.validate_python(0.5)
    with pytest.raises(ValidationError):
        adapter.validate_python(bad)


def test_a_users_optimizer(tmp_path: Path) -> None:
    (tmp_path / "user_optimizers.py").write_text(
        "import torch\n"
        "def adagrad(params, lr):\n    return torch.optim.Adagrad(params, lr=lr)\n"
        "def wrong(params):\n    return None\n"
    )
    params = [{"params": [nn.Parameter(torch.ones(2))]}]
    section = {"name": "user_optimizers.py:adagrad", "lr": 0.1}
    assert isinstance(build_optimizer(section, params, tmp_path), torch.optim.Adagrad)
    with pytest.raises(
        UserCodeError, match="wrong must return a torch.optim.Optimizer, but got None"
    ):
        build_optimizer({"name": "user_optimizers.py:wrong"}, params, tmp_path)


#: the class of torch's that each is
TORCHS: dict[str, Any] = {
    "sgd": torch.optim.SGD,
    "momentum": torch.optim.SGD,
    "nesterov": torch.optim.SGD,
    "adagrad": torch.optim.Adagrad,
    "adadelta": torch.optim.Adadelta,
    "rmsprop": torch.optim.RMSprop,
    "adam": torch.optim.Adam,
    "amsgrad": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "adamax": torch.optim.Adamax,
    "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
    "rprop": torch.optim.Rprop,
    "asgd": torch.optim.ASGD,
    "adafactor": torch.optim.Adafactor,
    "lbfgs": torch.optim.LBFGS,
}
#: what the module says is not torch's; and the momentum that makes momentum of SGD
NOT_TORCHS = {
    *(("asgd", "t0"), ("lbfgs", "line_search")),
    *(("momentum", "momentum"), ("nesterov", "momentum")),
}


@pytest.mark.parametrize("name", TORCHS)
def test_defaults_are_torchs(name: str) -> None:
    theirs = {
        key: parameter.default
        for key, parameter in inspect.signature(TORCHS[name]).parameters.items()
    }
    pairs = ("betas", ("beta1", "beta2")), ("etas", ("eta_minus", "eta_plus"))
    for whole, parts in pairs:
        theirs |= dict(zip(parts, theirs.get(whole, ()), strict=False))
    ours = registry.get("optimizer", name).own_keywords
    differing = {
        (name, key) for key, each in ours.items() if each.default != theirs.get(key, "unknown")
    }
    assert differing == {each for each in NOT_TORCHS if each[0] == name}
