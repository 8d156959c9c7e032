"""Models that few use: echo-state nets, recurrent convolutions, one neuron more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hpsearch.components import load_data
from hpsearch.components.models.building import build_model
from hpsearch.components.models.echo_state import EchoState, Reservoir
from hpsearch.components.models.one_neuron import (
    NeuronPerLayer,
    OneNeuronSkip,
    SkipNeuronPenalty,
)
from hpsearch.components.models.recurrent_cnn import RecurrentConvolution
from hpsearch.errors import BadConfigurationError
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer


def build(shape: tuple[int, ...], output_size: int = 2, **section: Any) -> Any:
    torch.manual_seed(0)
    return build_model(section, shape, output_size, Path()).eval()


def trained(data: dict[str, Any], epochs: int, **sections: Any) -> tuple[Any, dict[str, float]]:
    values = {"optimizer": {"name": "adam", "lr": 0.01}, "batch_size": 32, **sections}
    trainer = Trainer(TrialConfig(0, 0, epochs, values), load_data(data, seed=0))
    return trainer, [trainer.train_epoch() or {} for _ in range(epochs)][-1]


class TestEchoState:
    def test_the_spectral_radius_is_as_asked_for(self) -> None:
        net: EchoState = build((9, 2), name="echo_state", spectral_radius=0.7)
        radius = np.abs(np.linalg.eigvals(net.reservoir.recurrent.numpy())).max()
        assert radius == pytest.approx(0.7, rel=1e-3)

    def test_what_was_long_ago_fades(self) -> None:
        reservoir: Reservoir = build((200, 1), name="echo_state", reservoir_size=40).reservoir
        x = torch.randn(1, 200, 1)
        changed = x.clone()
        changed[:, 0] += 5
        distances = (reservoir(x) - reservoir(changed)).norm(dim=-1)[0]
        assert distances[0] > 0.5 and distances[-1] < 1e-3 * distances[0]

    def test_the_readout_alone_is_trained(self) -> None:
        data = {"name": "seasonal_series", "steps": 800, "period": 6, "lookback": 24, "horizon": 2}
        trainer, metrics = trained(data, 8, model={"name": "echo_state", "reservoir_size": 100})
        names = [name for name, _ in trainer.model.named_parameters()]
        assert names == ["readout.weight", "readout.bias"]
        assert metrics["val_skill"] > 0.2


class TestRecurrentConvolution:
    def test_it_sees_its_own_outputs_again(self) -> None:
        torch.manual_seed(0)
        layer, u = RecurrentConvolution(2, 3, 3, 2, "none"), torch.randn(1, 2, 5, 5)
        driven, own = layer.inputs(u), layer.own
        assert own is not None
        x = driven.relu()
        for _ in range(2):
            x = (driven + own(x)).relu()
        torch.testing.assert_close(layer(u), x)

    def test_steps_share_weights_and_have_norms_of_their_own(self) -> None:
        counts = [
            sum(p.numel() for p in RecurrentConvolution(2, 3, 3, each, norm).parameters())
            for norm in ("none", "batch")
            for each in (1, 2)
        ]
        assert counts[0] == counts[1] and counts[3] - counts[2] == 2 * 3

    def test_an_even_kernel(self) -> None:
        with pytest.raises(BadConfigurationError, match="kernel_size: must be odd"):
            build((1, 8, 8), name="recurrent_cnn", kernel_size=2)


class TestOneNeuron:
    def test_it_adds_an_exponential_of_the_inputs(self) -> None:
        net: OneNeuronSkip = build((4,), 1, name="one_neuron_skip", hidden_sizes=[3])
        x = torch.randn(5, 4)
        more = net.amplitudes[0] * net.exponent(x).exp()
        torch.testing.assert_close(net(x), net.net(x) + more)
        nn.init.constant_(net.exponent.bias, 1e4)
        assert net(x).isfinite().all()

    def test_what_its_gradients_have_to_do_with_each_other(self) -> None:
        """a dL/da - dL/db = λ a² of any weights: 0 where all gradients are (their proof)."""
        net: OneNeuronSkip = build((4,), 1, name="one_neuron_skip", hidden_sizes=[3]).double()
        nn.init.constant_(net.amplitudes[0], 0.7)
        x, signs = torch.randn(9, 4).double(), torch.randn(9, 1).double().sign()
        loss = (1 - signs * net(x)).clamp_min(0).pow(3).mean()  # the polynomial hinge
        (loss + SkipNeuronPenalty(net, 0.3)()).backward()
        a, of_b = net.amplitudes[0], net.exponent.bias.grad
        of_a = a.grad
        assert of_a is not None and of_b is not None and of_b.abs() > 0.01
        assert (a * of_a - of_b).item() == pytest.approx(0.3 * 0.7**2, abs=1e-9)

    @pytest.mark.parametrize("variant", ["output", "per_layer"])
    def test_its_penalty_turns_it_off(self, variant: str) -> None:
        def greatest(trainer: Any) -> float:
            return max(each.abs().max().item() for each in trainer.model.amplitudes)

        model = {"name": "one_neuron_skip", "hidden_sizes": [16], "variant": variant}
        sections = {"model": model}
        data = {"name": "breast_cancer"}
        strong = [{"name": "skip_neuron", "strength": 10.0}]
        without, _ = trained(data, 10, **sections)
        off, metrics = trained(data, 10, **sections, regularizers=strong)
        assert greatest(off) < 0.1 * greatest(without)
        assert metrics["val_accuracy"] > 0.9

    def test_a_neuron_in_each_layer_is_one_unit_more_of_it(self) -> None:
        """Layers of M + 1 units, the last of which are exp of what they see."""
        net: NeuronPerLayer = build(
            (4,), 1, name="one_neuron_skip", hidden_sizes=[3, 2], variant="per_layer"
        )
        for amplitude in net.amplitudes:
            nn.init.normal_(amplitude)
        x = torch.randn(5, 4)
        seen = torch.cat([x, torch.zeros(5, 1)], 1)
        before = [torch.zeros(4), *net.amplitudes]
        layers: Any = zip(net.layers, net.exponents, before, strict=False)
        for layer, exponent, amplitude in layers:
            weight = torch.cat([layer.weight, exponent.weight])
            weight = torch.cat([weight, amplitude[:, None]], 1)
            z = seen @ weight.T + torch.cat([layer.bias, exponent.bias])
            seen = torch.cat([z[:, :-1].relu(), z[:, -1:].exp()], 1)
        weight = torch.cat([net.output.weight, net.amplitudes[-1][:, None]], 1)
        torch.testing.assert_close(net(x), seen @ weight.T + net.output.bias)

    def test_its_last_neuron_is_off_where_all_gradients_are(self) -> None:
        """a dL/da - dL/db = λ L a^(2L) of any weights, of L layers."""
        net: NeuronPerLayer = build(
            (4,), 1, name="one_neuron_skip", hidden_sizes=[3, 2], variant="per_layer"
        ).double()
        a, b = net.amplitudes[-1], net.exponents[-1].bias
        nn.init.constant_(a, 0.7)
        x, signs = torch.randn(9, 4).double(), torch.randn(9, 1).double().sign()
        loss = (1 - signs * net(x)).clamp_min(0).pow(3).mean()
        (loss + SkipNeuronPenalty(net, 0.3)()).backward()
        assert a.grad is not None and b.grad is not None and b.grad.abs() > 0.01
        assert (a * a.grad - b.grad).item() == pytest.approx(0.3 * 2 * 0.7**4, abs=1e-9)

    def test_no_layer_for_a_neuron(self) -> None:
        with pytest.raises(BadConfigurationError, match="hidden_sizes: must have a layer"):
            build((4,), 1, name="one_neuron_skip", hidden_sizes=[], variant="per_layer")

    def test_more_than_two_classes(self) -> None:
        with pytest.raises(BadConfigurationError, match="needs one output or two"):
            build((4,), 3, name="one_neuron_skip")

    def test_its_penalty_without_it(self) -> None:
        with pytest.raises(BadConfigurationError, match=r"regularizers.0: must act on weights of"):
            trained(
                {"name": "wine"},
                1,
                model={"name": "mlp"},
                regularizers=[{"name": "skip_neuron"}],
            )
