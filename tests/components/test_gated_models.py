"""Highway nets, gMLP and self-normalising nets, against what their papers say of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hpsearch.components import load_data
from hpsearch.components.initializers.by_name import initialize
from hpsearch.components.layers.skips import Gated, as_gate
from hpsearch.components.models.building import build_model
from hpsearch.components.models.gmlp import GatedBlock, SpatialGate
from hpsearch.errors import BadConfigurationError
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer


def build(name: str, shape: tuple[int, ...], outputs: int = 10, **keywords: Any) -> nn.Module:
    torch.manual_seed(0)
    return build_model({"name": name, **keywords}, shape, outputs, Path())


class TestHighway:
    def test_limits(self) -> None:
        torch.manual_seed(0)
        x = torch.randn(4, 6)
        closed, open_ = (
            Gated([nn.Linear(6, 6), nn.ReLU()], as_gate(nn.Linear(6, 6), bias))
            for bias in (-50.0, 0.0)
        )
        assert torch.allclose(closed(x), x)
        nn.init.constant_(open_.gate.bias, 50.0)
        assert torch.allclose(open_(x), open_.body(x), atol=1e-6)

    @pytest.mark.parametrize(
        ("bias", "gate"), [(-1, 0.269), (-2, 0.119), (-3, 0.047), (-4, 0.018)]
    )
    def test_gates_at_the_begin(self, bias: float, gate: float) -> None:
        layer = Gated([nn.Linear(3, 3)], as_gate(nn.Linear(3, 3), bias))
        assert layer.gate(torch.zeros(1, 3)).sigmoid()[0, 0].item() == pytest.approx(
            gate, abs=1e-3
        )

    def test_initializers_keep_the_biases_of_gates(self) -> None:
        net = build("highway", (4,), gate_bias=-2.0)
        initialize(net, {"name": "he_normal"}, Path())
        layers = [module for module in net.modules() if isinstance(module, Gated)]
        assert all((layer.gate.bias == -2.0).all() for layer in layers)
        assert not any(layer.body[0].bias.any() for layer in layers)

    def test_gradients_reach_the_first_of_fifty_layers(self) -> None:
        net = build("highway", (20,), depth=50, width=20, gate_bias=-4.0, activation="tanh")
        net(torch.randn(8, 20)).square().sum().backward()
        norms = [
            float(p.grad.norm()) for p in net.parameters() if p.grad is not None and p.ndim > 1
        ]
        assert norms[0] > 0.05 * norms[-1]

    def test_fifty_layers_learn_where_plain_ones_stall(self) -> None:
        """Srivastava et al. (2015, arXiv 1505.00387): the gates let a net of 50 layers train."""
        digits = load_data({"name": "digits"}, seed=0)
        highway = {"name": "highway", "width": 50, "depth": 50, "gate_bias": -4.0}
        models: list[dict[str, Any]] = [highway, {"name": "mlp", "hidden_sizes": [50] * 50}]
        found = []
        for model in models:
            values = {
                "model": {**model, "activation": "tanh"},
                "initializer": {"name": "xavier_uniform"},
                "optimizer": {"name": "momentum", "lr": 0.1},
                "batch_size": 50,
            }
            trainer = Trainer(TrialConfig(0, 0, 5, values), digits)
            found.append([trainer.train_epoch() or {} for _ in range(5)][-1])
        assert found[0]["val_accuracy"] > 0.93 and found[0]["train_loss"] < 0.2
        assert found[1]["val_accuracy"] < 0.25 and found[1]["train_loss"] > 2.2


class TestGmlp:
    @pytest.mark.parametrize(
        ("width", "count"), [(128, 5_867_328), (256, 19_422_656), (512, 73_075_392)]
    )
    def test_the_sizes_of_the_paper(self, width: int, count: int) -> None:
        """gMLP-Ti, -S and -B at 224x224 in patches of 16."""
        sizes = {"patch_size": 16, "layers": 30, "width": width, "hidden_size": 6 * width}
        with torch.device("meta"):
            net = build("gmlp", (3, 224, 224), 1000, **sizes)
        assert sum(param.numel() for param in net.parameters()) == count

    def test_a_gate_passes_half_of_its_channels_at_the_begin(self) -> None:
        torch.manual_seed(0)
        x = torch.randn(2, 5, 8)
        assert torch.allclose(SpatialGate(4, 5)(x), x[..., :4], atol=1e-3)

    def test_tokens_meet_in_the_gate_alone(self) -> None:
        torch.manual_seed(0)
        block, x = GatedBlock(4, 8, 5, 0.0), torch.randn(1, 5, 4)
        other = x.clone()
        other[:, 3] = torch.randn(4)
        near = (block(x) - block(other)).abs().amax((0, 2))
        assert near[3] > 0.1 and near[[0, 1, 2, 4]].max() < 1e-3
        nn.init.normal_(block.gate.weight)
        far = (block(x) - block(other)).abs().amax((0, 2))
        assert (far[[0, 1, 2, 4]] > 1e-3).all()

    def test_a_head_of_attention_adds_to_the_gates(self) -> None:
        torch.manual_seed(0)
        block, x = GatedBlock(4, 8, 5, 0.0, attention_size=6), torch.randn(2, 5, 4)
        normed = block.norm(x)
        q, k, v = block.attention.gates(normed).chunk(3, -1)
        more = block.attention.output((q @ k.mT / 6**0.5).softmax(-1) @ v)
        kept, gating = block.activation(block.inward(normed)).chunk(2, -1)
        gates = block.gate.weight @ block.gate.norm(gating) + block.gate.bias + more
        torch.testing.assert_close(block(x), x + block.outward(kept * gates))

    def test_stochastic_depth_leaves_a_block_out_for_a_row(self) -> None:
        torch.manual_seed(0)
        block, x = GatedBlock(4, 8, 5, 0.5), torch.randn(200, 5, 4)
        changes = block.train()(x) - x
        is_out = (changes == 0).all(-1).all(-1)
        assert 0.35 < is_out.float().mean().item() < 0.65
        whole = block.eval()(x) - x
        assert torch.allclose(changes[~is_out], 2 * whole[~is_out], atol=1e-5)

    @pytest.mark.parametrize("shape", [(13,), (12, 3), (1, 8, 8)])
    def test_tables_sequences_and_images(self, shape: tuple[int, ...]) -> None:
        assert build("gmlp", shape)(torch.randn(2, *shape)).shape == (2, 10)

    def test_what_is_refused(self) -> None:
        with pytest.raises(BadConfigurationError, match="patch_size: must divide"):
            build("gmlp", (1, 8, 8), patch_size=3)
        with pytest.raises(BadConfigurationError, match="hidden_size: must be even"):
            build("gmlp", (4,), hidden_size=5)


class TestSelfNormalising:
    def test_signals_keep_mean_0_and_variance_1(self) -> None:
        """Of 30 layers: deviation 0.997, where torch's default with ReLU leaves 1e-12."""
        net = build("snn", (512,), 512, width=512, depth=30, dropout=0.0)
        with torch.no_grad():
            signals = nn.Sequential(*list(net)[:-1])(torch.randn(256, 512))  # type: ignore[call-overload]
        assert signals.std().item() == pytest.approx(1.0, abs=0.1)
        assert abs(signals.mean().item()) < 0.05

    def test_alpha_dropout_keeps_them(self) -> None:
        net = build("snn", (512,), 512, width=512, depth=8, dropout=0.1).train()
        with torch.no_grad():
            signals = nn.Sequential(*list(net)[:-1])(torch.randn(256, 512))  # type: ignore[call-overload]
        assert signals.std().item() == pytest.approx(1.0, abs=0.1)
