"""Ways around layers of an mlp, its depth, and other convolutions and readouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hpsearch import registry
from hpsearch.components import load_data
from hpsearch.components.layers.modules import Residual
from hpsearch.components.layers.skips import Concatenated, Gated
from hpsearch.components.models.building import build_model
from hpsearch.components.models.recurrent import Attention
from hpsearch.errors import BadConfigurationError
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer


def build(name: str, shape: tuple[int, ...], **keywords: Any) -> Any:
    torch.manual_seed(0)
    return build_model({"name": name, **keywords}, shape, 3, Path())


def linears(model: nn.Module) -> list[tuple[int, ...]]:
    modules = model.modules()
    return [tuple(m.weight.shape) for m in modules if type(m) is nn.Linear]


class TestSkips:
    def test_a_sum(self) -> None:
        net = build("mlp", (8,), hidden_sizes=[8, 8], skip="add")
        assert [type(module) for module in net][1:] == [Residual, Residual, nn.Linear]
        x = torch.randn(4, 8)
        first: Any = list(net)[1]
        assert torch.equal(first(x), x + first[0](x).relu())

    def test_beside_each_other(self) -> None:
        net = build("mlp", (5,), hidden_sizes=[4, 3], skip="concat")
        assert linears(net) == [(4, 5), (3, 9), (3, 12)]
        assert sum(isinstance(module, Concatenated) for module in net) == 2

    def test_by_a_gate(self) -> None:
        net = build("mlp", (5,), hidden_sizes=[8, 8], skip="gated")
        gates = [module for module in net if isinstance(module, Gated)]
        assert len(gates) == 1, "the first layer changes the width"
        assert (gates[0].gate.bias == -1).all()

    def test_what_is_refused(self) -> None:
        with pytest.raises(BadConfigurationError, match="skip: needs a layer as wide"):
            build("mlp", (5,), hidden_sizes=[8, 4], skip="add")
        residual = {"norm_position": "pre_norm_residual", "norm": "layer"}
        with pytest.raises(BadConfigurationError, match="skip: must be none"):
            build("mlp", (8,), hidden_sizes=[8, 8], skip="add", **residual)


class TestSkipsOfConvolutions:
    """The same around convolutions, with a projection where shapes differ."""

    def parts(self, skip: str, **keywords: Any) -> tuple[Any, torch.Tensor, torch.Tensor]:
        """A net's first way around, its inputs, and what its body makes of them."""
        net = build("cnn", (4, 8, 8), skip=skip, **keywords)
        around = next(each for each in net if hasattr(each, "way"))
        x = torch.randn(2, 4, 8, 8)
        return around, x, around.body(x)

    @pytest.mark.parametrize("stride", [1, 2])
    @pytest.mark.parametrize("channels", [4, 6])
    def test_what_they_give(self, channels: int, stride: int) -> None:
        for skip in ("add", "gated", "concat"):
            keywords = {"channels": [channels], "stride": stride}
            around, x, inner = self.parts(skip, **keywords)
            size = 4 if skip == "concat" else channels
            fits = stride == 1 and size == 4
            assert isinstance(around.way, nn.Identity if fits else nn.Conv2d)
            if not fits:
                assert around.way.weight.shape == (size, 4, 1, 1) and around.way.bias is None
            passed = around.way(x)
            assert passed.shape == (2, size, 8 // stride, 8 // stride)
            expected = passed + inner if skip == "add" else torch.cat([passed, inner], 1)
            if skip == "gated":
                share = around.gate(x).sigmoid()
                expected = share * inner + (1 - share) * passed
                assert (around.gate.bias == -1).all()
            torch.testing.assert_close(around(x), expected)

    @pytest.mark.parametrize("skip", ["add", "gated", "concat"])
    def test_pooling_comes_after_them(self, skip: str) -> None:
        net = build("cnn", (1, 8, 8), channels=[4, 6], convs_per_block=2, skip=skip, norm="batch")
        kinds = [type(module).__name__ for module in net]
        name = {"add": "Added", "gated": "Gated", "concat": "Concatenated"}[skip]
        assert [each for each in kinds if each in (name, "MaxPool2d")] == [
            *(name, name, "MaxPool2d"),
            *(name, name, "MaxPool2d"),
        ]
        assert net(torch.randn(2, 1, 8, 8)).shape == (2, 3)

    def test_channels_add_up_beside_each_other(self) -> None:
        net = build("cnn", (2, 8, 8), channels=[4, 3], skip="concat", hidden_sizes=[])
        convs = [each for each in net.modules() if isinstance(each, nn.Conv2d)]
        assert [(each.in_channels, each.out_channels) for each in convs] == [(2, 4), (6, 3)]
        assert linears(net) == [(3, (2 + 4 + 3) * 2 * 2)]

    def test_of_sequences(self) -> None:
        for skip in ("add", "gated", "concat"):
            net = build("cnn", (9, 5), channels=[4, 6], stride=2, pool=1, skip=skip)
            assert net(torch.randn(3, 9, 5)).shape == (3, 3)

    def test_a_gate_keeps_its_bias_when_weights_are_drawn(self) -> None:
        values = {
            "model": {"name": "cnn", "channels": [4], "skip": "gated"},
            "optimizer": {"name": "sgd"},
            "initializer": {"name": "he_normal"},
            "batch_size": 32,
        }
        trainer = Trainer(TrialConfig(0, 0, 1, values), load_data({"name": "digits"}, seed=0))
        gate = next(each for each in trainer.model.modules() if isinstance(each, Gated)).gate
        assert isinstance(gate, nn.Conv2d) and gate.bias is not None and (gate.bias == -1).all()

    @pytest.mark.parametrize(
        ("keywords", "match"),
        [
            ({"kernel_size": 2}, "skip: must be none unless .* kernel_size is 2 and the padding"),
            (
                {"padding": "valid"},
                "skip: must be none unless .* the padding valid, but got 'add'",
            ),
            ({"channels": []}, "skip: must be none without convolutions"),
            (
                {"norm_position": "pre_norm_residual", "norm": "batch"},
                "skip: must be none with pre_norm_residual",
            ),
        ],
    )
    def test_what_is_refused(self, keywords: Any, match: str) -> None:
        with pytest.raises(BadConfigurationError, match=match):
            build("cnn", (4, 8, 8), **{"channels": [4, 4], "skip": "add", **keywords})


class TestDepth:
    @pytest.mark.parametrize("depth", [1, 3])
    def test_of_one_size(self, depth: int) -> None:
        net = build("mlp", (5,), hidden_sizes=[8], depth=depth)
        assert linears(net) == [(8, 5), *[(8, 8)] * (depth - 1), (3, 8)]

    def test_of_several_sizes(self) -> None:
        with pytest.raises(BadConfigurationError, match="depth: must be left out"):
            build("mlp", (5,), hidden_sizes=[8, 4], depth=2)


class TestConvolutions:
    @pytest.mark.parametrize("padding", ["same", "valid"])
    @pytest.mark.parametrize("stride", [1, 2])
    @pytest.mark.parametrize("kernel_size", [2, 3])
    def test_the_size_is_known(self, padding: str, stride: int, kernel_size: int) -> None:
        keywords = {"padding": padding, "stride": stride, "kernel_size": kernel_size}
        net = build("cnn", (1, 19, 17), channels=[4, 5], pool=1, **keywords)
        assert net(torch.zeros(2, 1, 19, 17)).shape == (2, 3)

    @pytest.mark.parametrize("norm", [*sorted({*registry.names("norm")} - {"none"}), "none"])
    @pytest.mark.parametrize("kernel_size", [2, 3])
    def test_of_a_sequence_they_are_torchs_of_one_axis(self, norm: str, kernel_size: int) -> None:
        keywords = {"channels": [4], "hidden_sizes": [], "kernel_size": kernel_size, "norm": norm}
        net, x = build("cnn", (9, 5), **keywords), torch.randn(3, 9, 5)
        assert net(x).shape == (3, 3)
        if norm != "none":
            return
        conv = next(each for each in net.modules() if isinstance(each, nn.Conv2d))
        own = nn.functional.conv1d(
            x.transpose(1, 2), conv.weight[..., 0], conv.bias, padding=kernel_size // 2
        )
        read = nn.functional.max_pool1d(own.relu(), 2).flatten(1)
        torch.testing.assert_close(net(x), list(net)[-1](read))

    def test_several_before_each_pooling(self) -> None:
        net = build("cnn", (1, 16, 16), channels=[4, 6], convs_per_block=2, stride=2, pool=2)
        layers = [each for each in net if isinstance(each, nn.Conv2d | nn.MaxPool2d)]
        assert [type(each) for each in layers] == [nn.Conv2d, nn.Conv2d, nn.MaxPool2d] * 2
        convs = [each for each in layers if isinstance(each, nn.Conv2d)]
        assert [each.out_channels for each in convs] == [4, 4, 6, 6]
        assert [each.stride[0] for each in convs] == [2, 1, 2, 1]

    def test_too_short_a_sequence(self) -> None:
        rule = "pooling by 2 after each convolution must leave at least 1 of 3 steps, but convol"
        with pytest.raises(BadConfigurationError, match=rule):
            build("cnn", (3, 5), channels=[4, 4])

    def test_averages_are_of_what_is_activated(self) -> None:
        net = build("cnn", (1, 8, 8), channels=[4], pooling="average")
        kinds = [type(module) for module in net]
        assert kinds.index(nn.AvgPool2d) == kinds.index(nn.ReLU) + 1
        maximum = [type(module) for module in build("cnn", (1, 8, 8), channels=[4])]
        assert maximum.index(nn.MaxPool2d) == maximum.index(nn.ReLU) - 1

    def test_means_of_channels(self) -> None:
        net = build("cnn", (1, 8, 8), channels=[4], hidden_sizes=[], global_pool=True)
        assert linears(net) == [(3, 4)]

    def test_a_stride_leaves_no_residual(self) -> None:
        residual = {"norm_position": "pre_norm_residual", "norm": "batch"}
        with pytest.raises(BadConfigurationError, match="pre_norm_residual needs"):
            build("cnn", (4, 8, 8), channels=[4], stride=2, **residual)


class TestAttention:
    def test_weights_are_shares_of_time(self) -> None:
        torch.manual_seed(0)
        attention, x = Attention(6), torch.randn(4, 5, 6)
        assert torch.allclose(attention.weights(x).sum(1), torch.ones(4, 1))
        nn.init.zeros_(attention.score.weight)
        assert torch.allclose(attention(x), x.mean(1), atol=1e-6)

    def test_it_finds_the_step_that_matters(self) -> None:
        """The class is in one step at a random place, marked by another feature."""
        torch.manual_seed(0)
        y, place = torch.randint(3, (256,)), torch.randint(10, (256,))
        x = 0.3 * torch.randn(256, 10, 4)
        marked = nn.functional.one_hot(y, 3).float()
        x[torch.arange(256), place] = torch.cat([marked, torch.ones(256, 1)], 1)
        net = build("rnn", (10, 4), readout="attention", hidden_size=16, cell="gru")
        optimizer = torch.optim.Adam(net.parameters(), 0.02)
        for _ in range(60):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
        assert (net(x).argmax(1) == y).float().mean().item() > 0.9
