"""Ways around layers of an mlp, its depth, and other convolutions and readouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hpsearch import registry
from hpsearch.components.layers.modules import Residual
from hpsearch.components.layers.skips import Concatenated, Gated
from hpsearch.components.models.building import build_model
from hpsearch.components.models.recurrent import Attention
from hpsearch.errors import BadConfigurationError


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
