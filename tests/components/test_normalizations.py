"""Normalisations: each against numpy, and what each leaves unchanged."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hpsearch import registry
from hpsearch.components import Arrays, Data, load_data
from hpsearch.components.initializers.from_data import initialize_from_data
from hpsearch.components.layers.norm_modules import CosineConv2d, CosineLinear
from hpsearch.components.layers.normalizations import make_norm
from hpsearch.components.models.feedforward import mlp
from hpsearch.components.models.pretrained import mark_pretrained
from hpsearch.errors import BadConfigurationError
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer, export_model
from tests.support.trainers import goes_on_bit_for_bit, make

MODULES = ["batch", "layer", "rms", "group", "instance", "ghost_batch", "streaming"]
LAYERS = ["weight", "cosine"]


def norm(name: str, num_features: int, num_dims: int, **keywords: Any) -> Any:
    return make_norm({"name": name, **keywords}, num_features, num_dims)


def images(rows: int = 6, channels: int = 4) -> Tensor:
    torch.manual_seed(0)
    return 3 + 2 * torch.randn(rows, channels, 5, 5, dtype=torch.float64)


def scaled(x: np.ndarray[Any, Any], axes: tuple[int, ...], *, center: bool = True) -> Any:
    mean = x.mean(axes, keepdims=True) if center else 0.0
    square = ((x - mean) ** 2).mean(axes, keepdims=True)
    return (x - mean) / np.sqrt(square + (1e-5 if center else 1e-6))


def grouped(x: np.ndarray[Any, Any], groups: int) -> Any:
    parts = x.reshape(len(x), groups, -1)
    return scaled(parts, (2,)).reshape(x.shape)


#: the axes over which each normalizes
ORACLES: dict[str, Any] = {
    "batch": lambda x: scaled(x, (0, 2, 3)),
    "ghost_batch": lambda x: scaled(x, (0, 2, 3)),
    "layer": lambda x: scaled(x, (1, 2, 3)),
    "rms": lambda x: scaled(x, (1, 2, 3), center=False),
    "instance": lambda x: scaled(x, (2, 3)),
    "group": lambda x: grouped(x, 2),
}


@pytest.mark.parametrize("name", ORACLES)
def test_agrees_with_numpy(name: str) -> None:
    x = images()
    module = norm(name, 4, 2, **({"groups": 3} if name == "group" else {})).double()
    assert module(x).detach().numpy() == pytest.approx(ORACLES[name](x.numpy()), abs=1e-9)


def test_every_norm_is_tested_here() -> None:
    assert {*MODULES, *LAYERS, "none"} == set(registry.names("norm"))


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("num_dims", [0, 2])
def test_gradients_are_right(name: str, num_dims: int) -> None:
    if name == "instance" and num_dims == 0:
        with pytest.raises(BadConfigurationError, match="instance needs images"):
            norm(name, 4, 0)
        return
    torch.manual_seed(0)
    shape = (6, 4) if num_dims == 0 else (6, 4, 2, 2)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    keywords = {"streaming": {"p": 2.0, "long_weight": 0.0}}.get(name, {})
    module = norm(name, 4, num_dims, **keywords).double()
    for param in module.parameters():
        nn.init.uniform_(param, 0.5, 1.5)

    def fresh(x: Tensor) -> Tensor:
        if name == "streaming":
            module._is_updated = True
        return module(x)

    assert torch.autograd.gradcheck(fresh, (x,))


def test_layer_norm_of_four_numbers() -> None:
    values = norm("layer", 4, 0, eps=1e-12)(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
    assert values[0].tolist() == pytest.approx([-1.3416, -0.4472, 0.4472, 1.3416], abs=1e-4)


@pytest.mark.parametrize(("channels", "groups"), [(12, 6), (7, 7), (11, 1), (16, 8)])
def test_groups_divide_the_channels(channels: int, groups: int) -> None:
    assert norm("group", channels, 2, groups=8).num_groups == groups


@pytest.mark.parametrize("name", [name for name in (*MODULES, *LAYERS) if name != "instance"])
def test_an_untrained_net_guesses_about_evenly(wine: Any, name: str) -> None:
    """In evaluation, before the norm has seen a batch: within a nat of ln 3."""
    trainer = make(wine, model={"name": "mlp", "hidden_sizes": [16, 16], "norm": name})
    assert trainer.evaluate("val")["val_loss"] < math.log(3) + 1


@pytest.mark.parametrize(("features", "groups"), [(12, 6), (8, 4), (7, 1), (1, 1)])
def test_a_group_of_a_vector_has_two_features_at_least(features: int, groups: int) -> None:
    """One alone is its own mean."""
    module = norm("group", features, 0, groups=64)
    assert module.num_groups == groups
    if features > 1:
        assert module(torch.randn(1, features)).abs().sum() > 0


@pytest.mark.parametrize("name", ["layer", "group"])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_that_need_no_gradient_are_normalised_too(name: str, channels: int) -> None:
    """The first layer's, or those of frozen layers; torch's own module ends the process there."""
    module, plain = norm(name, channels, 2), norm(name, channels, 2)
    x = torch.randn(4, channels, 6, 6).to(memory_format=torch.channels_last)
    weights = torch.randn_like(x)
    (module(x) * weights).sum().backward()
    (plain(x.contiguous().requires_grad_()) * weights).sum().backward()
    for one, other in zip(module.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


class TestGhostBatch:
    def test_parts_are_normalised_by_themselves(self) -> None:
        x = torch.randn(11, 3) * torch.arange(1, 12)[:, None]
        out = norm("ghost_batch", 3, 0, virtual_batch=4)(x)
        for part in (out[:4], out[4:8], out[8:]):
            assert part.mean(0).abs().max() < 1e-6
            assert part.var(0, unbiased=False).tolist() == pytest.approx([1, 1, 1], abs=1e-4)

    def test_of_one_part_it_is_batch_norm(self) -> None:
        torch.manual_seed(0)
        x = torch.randn(8, 3)
        ghost, batch = norm("ghost_batch", 3, 0, virtual_batch=8), norm("batch", 3, 0)
        assert torch.equal(ghost(x), batch(x))
        assert torch.equal(ghost.running_var, batch.running_var)

    def test_a_last_row_joins_its_neighbour(self) -> None:
        out = norm("ghost_batch", 3, 0, virtual_batch=4)(torch.randn(9, 3))
        assert out[4:].mean(0).abs().max() < 1e-6

    def test_running_statistics_move_as_far_as_batch_norms(self) -> None:
        same = torch.randn(4, 3).repeat(5, 1)  # so that all parts are alike
        ghost, batch = norm("ghost_batch", 3, 0, virtual_batch=4), norm("batch", 3, 0)
        ghost(same)
        batch(same[:4])
        assert torch.allclose(ghost.running_mean, batch.running_mean, atol=1e-6)


class TestStreaming:
    def test_without_long_term_part_it_is_batch_norm(self) -> None:
        x = images(8).float()
        module = norm("streaming", 4, 2, long_weight=0.0, p=2.0, eps=1e-12)
        assert torch.allclose(module(x), norm("batch", 4, 2, eps=1e-12)(x), atol=1e-5)

    def test_with_the_long_term_part_alone_no_gradient_passes_through_statistics(self) -> None:
        module = norm("streaming", 3, 0, long_weight=1.0)
        x = torch.randn(8, 3, requires_grad=True)
        module(x).sum().backward()
        module(x).sum().backward()
        expected = 2 / (module.long_spread + module.eps)
        assert torch.allclose(x.grad, expected.expand(8, 3))

    def test_spread_by_absolute_values(self) -> None:
        torch.manual_seed(0)
        module = norm("streaming", 1, 0, long_weight=0.0)
        out = module(torch.randn(200_000, 1))
        assert module.short_spread.item() == pytest.approx(math.sqrt(2 / math.pi), rel=0.01)
        assert out.std().item() == pytest.approx(1.2533141373, rel=0.01)

    @pytest.mark.parametrize("p", [1.0, 2.0])
    def test_units_that_never_vary_have_a_gradient(self, p: float) -> None:
        """As dead ones after a relu."""
        x = torch.cat([torch.randn(8, 2), torch.zeros(8, 1)], 1).requires_grad_()
        norm("streaming", 3, 0, p=p)(x).pow(2).sum().backward()
        assert torch.isfinite(x.grad).all()

    def test_untrained_it_changes_nothing_in_evaluation(self) -> None:
        x = torch.randn(8, 3)
        assert torch.allclose(norm("streaming", 3, 0).eval()(x), x, atol=1e-4)

    def test_single_images_train(self) -> None:
        data = load_data({"name": "digits", "train_rows": 40}, seed=0)
        model = {"name": "cnn", "channels": [4], "hidden_sizes": [], "norm": "streaming"}
        metrics = make(data, model=model, batch_size=1).train_epoch()
        assert metrics is not None and math.isfinite(metrics["train_loss"])

    def test_streams_of_one_converge_to_the_batchs_answer(self) -> None:
        torch.manual_seed(0)
        module = norm("streaming", 2, 0, kappa=0.05, p=2.0)
        for _ in range(300):
            batch = 5 + 2 * torch.randn(64, 2)
            module(batch.requires_grad_()).sum().backward()
        module.eval()
        out = torch.cat([module(row[None]) for row in 5 + 2 * torch.randn(2000, 2)])
        assert out.mean().item() == pytest.approx(0, abs=0.1)
        assert out.std().item() == pytest.approx(1, abs=0.1)


class TestMixedGradient:
    """Of streaming norm: what flows to the statistics is mixed with what flowed before."""

    def test_the_gradient_of_now_alone_is_the_plain_one(self) -> None:
        gradients = []
        for keywords in ({}, {"gradient": "mixed", "gradient_long": 0.0, "gradient_short": 0.0}):
            torch.manual_seed(0)
            module = norm("streaming", 3, 0, **keywords)
            for _ in range(3):
                x = torch.randn(8, 3, requires_grad=True)
                module(x).pow(3).sum().backward()
            gradients.append(x.grad)
        assert torch.allclose(*gradients, atol=1e-6)

    @staticmethod
    def statistics(x: Tensor) -> Tensor:
        return torch.stack([x.mean(0), (x - x.mean(0)).abs().mean(0)])

    def test_is_mixed_by_hand(self) -> None:
        """Three updates, of two backward passes each, with short-term statistics alone."""
        torch.manual_seed(0)
        mixing = {"gradient_long": 0.5, "gradient_short": 0.3, "kappa": 0.1}
        module = norm("streaming", 2, 0, long_weight=0.0, gradient="mixed", eps=1e-12, **mixing)
        flowed: list[Tensor] = []
        for _ in range(3):
            x = [torch.randn(8, 2, requires_grad=True) for _ in range(2)]
            statistics = [self.statistics(each.detach()) for each in x]
            used = [statistics[0], (statistics[0] + statistics[1]) / 2]
            outputs = [module(each) for each in x]  # two time steps, then back through both
            (outputs[0].pow(3).sum() + outputs[1].pow(3).sum()).backward()
            for each in used:
                each.requires_grad_()
            for each, mean_and_spread in zip(x, used, strict=True):
                mean, spread = mean_and_spread
                ((each.detach() - mean) / spread).pow(3).sum().backward()
            flowed += [each.grad for each in reversed(used)]  # the last step goes back first
        means = [(flowed[i] + flowed[i + 1]) / 2 for i in (0, 2, 4)]
        short = flowed[4], means[2]
        long = means[0].lerp(means[1], 0.1)  # it began as the first, and moved once
        assert torch.allclose(module.streamed.long, long, atol=1e-5)
        assert torch.allclose(module.streamed.short, short[1], atol=1e-5)
        mixed = [0.5 * long + 0.3 * short[i] + 0.2 * flowed[4 + i] for i in (0, 1)]
        again = [each.detach().requires_grad_() for each in x]
        first, second = (self.statistics(each) for each in again)
        mean, spread = used[0].detach()
        direct = ((again[0] - mean) / spread).pow(3).sum()
        mean, spread = used[1].detach()
        direct = direct + ((again[1] - mean) / spread).pow(3).sum()
        (direct + (mixed[1] * first).sum() + (mixed[0] * second / 2).sum()).backward()
        assert torch.allclose(x[1].grad, again[1].grad, atol=1e-5)

    def test_a_mixture_is_at_most_whole(self) -> None:
        with pytest.raises(BadConfigurationError, match="at most 1 together, but got 0.8 and 0.3"):
            norm("streaming", 3, 0, gradient="mixed", gradient_long=0.8)

    def test_goes_on_bit_for_bit(self, wine: Any) -> None:
        section = {"name": "mlp", "norm": {"name": "streaming", "gradient": "mixed"}}
        *_, last = goes_on_bit_for_bit(*(make(wine, model=section) for _ in range(3)))
        assert last["val_accuracy"] > 0.8


class TestCosine:
    def test_is_the_cosine(self) -> None:
        layer = CosineLinear(2, 1)
        with torch.no_grad():
            layer.weight.copy_(torch.tensor([[3.0, 4.0]]))
        assert layer(torch.tensor([[4.0, 3.0]])).item() == pytest.approx(0.96)

    @pytest.mark.parametrize("centered", [False, True])
    @pytest.mark.parametrize("kind", ["linear", "conv"])
    def test_scale_changes_nothing(self, kind: str, centered: bool) -> None:
        torch.manual_seed(0)
        layer: Any = CosineLinear(5, 3, centered)
        x = torch.randn(4, 5)
        if kind == "conv":
            layer, x = CosineConv2d(2, 3, 3, 1, centered), torch.randn(4, 2, 6, 6)
        before = layer(x)
        assert before.abs().max() <= 1 + 1e-5
        assert torch.allclose(layer(7 * x), before, atol=1e-5)
        with torch.no_grad():
            layer.weight.mul_(7)
        assert torch.allclose(layer(x), before, atol=1e-5)

    def test_without_a_scale_softmax_leaves_a_loss(self) -> None:
        """ln(1 + 9 e^-2) of ten classes, where the right cosine is 1 and all others -1."""
        layer, x = CosineLinear(3, 10), torch.tensor([[1.0, 2.0, 3.0]])
        with torch.no_grad():
            layer.weight.copy_(torch.cat([x, (-x).expand(9, -1)]))
        loss = nn.functional.cross_entropy(layer(x), torch.tensor([0]))
        assert loss.item() == pytest.approx(0.7966, abs=1e-4)

    def test_centered_is_the_correlation(self) -> None:
        torch.manual_seed(0)
        layer, x = CosineLinear(6, 1, centered=True), torch.randn(1, 6)
        expected = np.corrcoef(x[0].numpy(), layer.weight[0].detach().numpy())[0, 1]
        assert layer(x).item() == pytest.approx(expected, abs=1e-5)

    def test_a_convolution_is_the_linear_layer_of_each_place(self) -> None:
        torch.manual_seed(0)
        for centered in (False, True):
            conv, linear = CosineConv2d(2, 3, 3, 0, centered), CosineLinear(18, 3, centered)
            with torch.no_grad():
                linear.weight.copy_(conv.weight.flatten(1))
            x = torch.randn(1, 2, 3, 3)
            assert torch.allclose(conv(x).flatten(1), linear(x.flatten(1)), atol=1e-5)

    def test_the_gradient_leaves_the_norm_of_the_weights(self) -> None:
        layer = CosineLinear(5, 3)
        layer(torch.randn(8, 5)).square().sum().backward()
        dots = (layer.weight.grad * layer.weight).sum(1)
        assert dots.abs().max() < 1e-5


class TestWeight:
    def test_without_g_units_have_norm_1(self, wine: Any) -> None:
        norm = {"name": "weight", "learn_g": False}
        section = {"name": "mlp", "hidden_sizes": [8], "norm": norm}
        trainer = make(wine, model=section, initializer={"name": "he_normal"})
        trainer.train_epoch()
        assert trainer.model[1].weight.norm(dim=1).tolist() == pytest.approx([1.0] * 8, abs=1e-5)

    def test_steps_of_gradient_descent_never_shrink_v(self) -> None:
        """Its gradient is orthogonal to it (their section 2.1)."""
        torch.manual_seed(0)
        layer: Any = make_norm("weight", 3, 0)(nn.Linear(4, 3))  # type: ignore[operator, misc]
        layer(torch.randn(8, 4)).square().sum().backward()
        v = layer.parametrizations.weight.original1
        assert (v * v.grad).sum(1).abs().max() < 1e-4 * v.grad.norm()
        assert ((v - 0.1 * v.grad).norm(dim=1) >= v.norm(dim=1)).all()

    def test_with_g_the_layer_is_as_initialized(self, wine: Any) -> None:
        section = {"name": "mlp", "hidden_sizes": [8]}
        plain = make(wine, model=section, initializer={"name": "he_normal"})
        normed = make(wine, model={**section, "norm": "weight"}, initializer={"name": "he_normal"})
        assert torch.allclose(plain.model[1].weight, normed.model[1].weight, atol=1e-6)

    def test_the_exported_model_is_plain(self, wine: Any) -> None:
        trainer = make(wine, model={"name": "mlp", "hidden_sizes": [8], "norm": "weight"})
        trainer.train_epoch()
        exported = pickle.loads(pickle.dumps(export_model(trainer)))
        assert all(not hasattr(module, "parametrizations") for module in exported.modules())
        x = torch.from_numpy(wine.val.x)
        raw = x * torch.from_numpy(wine.x_scale.std) + torch.from_numpy(wine.x_scale.mean)
        assert torch.allclose(exported(raw), trainer.model.eval()(x), atol=1e-4)


class TestDataInit:
    """Of weight norm."""

    NORM: ClassVar[dict[str, Any]] = {"name": "weight", "data_init": True}

    @pytest.mark.parametrize(
        "model",
        [
            {"name": "mlp", "hidden_sizes": [8, 8], "dropout": 0.5},
            {"name": "cnn", "channels": [4, 4], "hidden_sizes": []},
        ],
        ids=["mlp", "cnn"],
    )
    def test_the_first_batch_is_standardised(self, model: dict[str, Any]) -> None:
        data = load_data({"name": "digits", "train_rows": 64}, seed=0)
        trainer = make(
            data,
            model={**model, "norm": self.NORM},
            initializer={"name": "he_normal"},
            batch_size="full",
        )
        seen: list[Tensor] = []
        layers = [each for each in trainer.model.modules() if hasattr(each, "begins_with_data")]
        for layer in layers:
            layer.register_forward_hook(lambda layer, inputs, outputs: seen.append(outputs))
        trainer.model.eval()(torch.from_numpy(data.train.x))
        assert len(seen) == 2
        for outputs in seen:
            axes = [axis for axis in range(outputs.ndim) if axis != 1]
            assert outputs.mean(axes).abs().max() < 1e-4
            std = outputs.std(axes, correction=0)
            assert torch.allclose(std, torch.ones_like(std), atol=1e-3)

    def test_g_and_b_by_hand(self) -> None:
        """t = v x / |v| has mean 3 and deviation 1: g = 1, b = -3."""
        layer = make_norm(self.NORM, 1, 0)(nn.Linear(1, 1))
        with torch.no_grad():
            layer.weight = torch.tensor([[5.0]])
            layer.bias.fill_(7.0)
        initialize_from_data(layer, lambda: torch.tensor([[2.0], [4.0]]))
        assert layer.parametrizations.weight.original0.item() == pytest.approx(1.0)
        assert layer.bias.item() == pytest.approx(-3.0)

    def test_units_that_never_vary_are_only_shifted(self) -> None:
        layer = make_norm(self.NORM, 1, 0)(nn.Linear(1, 1))
        before = layer.weight.item()
        initialize_from_data(layer, lambda: torch.ones(4, 1))
        assert layer.weight.item() == pytest.approx(before)
        assert layer(torch.ones(1, 1)).item() == pytest.approx(0, abs=1e-6)

    def test_pretrained_layers_stay(self) -> None:
        layer = make_norm(self.NORM, 1, 0)(nn.Linear(1, 1))
        before = layer.weight.item()
        mark_pretrained([layer])
        initialize_from_data(layer, lambda: torch.randn(4, 1))
        assert layer.weight.item() == before

    def test_needs_g(self) -> None:
        with pytest.raises(BadConfigurationError, match="data_init of weight sets g"):
            make_norm({**self.NORM, "learn_g": False}, 1, 0)

    def test_trains_and_goes_on(self, wine: Any) -> None:
        section = {"name": "mlp", "hidden_sizes": [16], "norm": self.NORM}
        whole, resumed = (make(wine, model=section) for _ in range(2))
        for _ in range(2):
            whole.train_epoch()
        resumed.load_state_dict(whole.state_dict())
        one, other = whole.train_epoch(), resumed.train_epoch()
        assert one is not None and other is not None
        assert {**one, "seconds": 0} == {**other, "seconds": 0}
        assert one["val_accuracy"] > 0.8


@pytest.mark.parametrize("name", [name for name in (*MODULES, *LAYERS) if name != "instance"])
@pytest.mark.parametrize("position", ["pre_activation", "post_activation", "pre_norm_residual"])
def test_a_model_learns_with_each(wine: Any, name: str, position: str) -> None:
    norm = {"name": name, **({"groups": 2} if name == "group" else {})}
    model = {"name": "mlp", "hidden_sizes": [16, 16], "norm": norm, "norm_position": position}
    trainer = make(wine, model=model)
    for _ in range(4):
        metrics = trainer.train_epoch()
    assert metrics is not None and metrics["val_accuracy"] > 0.8


def test_positions() -> None:
    def kinds(position: Any, sizes: list[int]) -> list[str]:
        net = mlp((4,), 2, sizes, norm="batch", norm_position=position)
        return [type(module).__name__ for module in net][1:-1]

    assert kinds("pre_activation", [8]) == ["Linear", "BatchNorm", "ReLU", "Dropout"]
    assert kinds("post_activation", [8]) == ["Linear", "ReLU", "BatchNorm", "Dropout"]
    assert kinds("pre_norm_residual", [8, 8])[-1] == "Residual"


@pytest.mark.parametrize("name", ["batch", "ghost_batch", "streaming"])
def test_single_examples_are_refused(wine: Any, name: str) -> None:
    model = {"name": "mlp", "hidden_sizes": [4], "norm": name}
    config = TrialConfig(0, 0, 1, {"model": model, "optimizer": {"name": "sgd"}, "batch_size": 1})
    with pytest.raises(BadConfigurationError, match="batch_size: must be at least 2 for a model"):
        Trainer(config, wine)


class TestSingleRow:
    """Statistics of each batch are none of a single row."""

    BY_BATCH: ClassVar[dict[str, Any]] = {"name": "batch", "evaluation": "batch"}

    def test_in_a_split_it_is_refused_before_training(self, wine: Data) -> None:
        assert isinstance(wine.val, Arrays)
        one = replace(wine, val=wine.val.rows(np.arange(1)))
        net = {"name": "mlp", "hidden_sizes": [4], "norm": self.BY_BATCH}
        rule = r"model\.norm\.evaluation: must not evaluate by each batch.* in the val split"
        with pytest.raises(BadConfigurationError, match=rule):
            make(one, model=net)
        make(wine, model=net).train_epoch()
        make(one, model={**net, "norm": "batch"}).train_epoch()

    def test_an_image_has_pixels_enough(self) -> None:
        digits = load_data({"name": "digits", "train_rows": 40, "val_rows": 1}, seed=0)
        make(digits, model={"name": "cnn", "channels": [4], "norm": self.BY_BATCH}).train_epoch()
