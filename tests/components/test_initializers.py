"""Initializers: the variance that each formula promises."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hpsearch import registry
from hpsearch.components import Data, load_data
from hpsearch.components.initializers.by_name import TRUNCATED_STD, initialize
from hpsearch.components.initializers.from_data import initialize_from_data
from hpsearch.components.models.feedforward import mlp
from hpsearch.errors import BadConfigurationError, SpecError
from hpsearch.space import SearchSpace
from hpsearch.spec import draft_spec
from hpsearch.validation import check, load_checked_spec
from tests.support.specs import changed
from tests.support.trainers import make

FAN_IN, FAN_OUT = 400, 200
CONV_FAN_IN, CONV_FAN_OUT = 16 * 9, 64 * 9

#: variance as a function of fan_in and fan_out
VARIANCES: dict[str, Any] = {
    "xavier_uniform": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "xavier_normal": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "he_uniform": lambda fan_in, fan_out: 2 / fan_in,
    "he_normal": lambda fan_in, fan_out: 2 / fan_in,
    "lecun_uniform": lambda fan_in, fan_out: 1 / fan_in,
    "lecun_normal": lambda fan_in, fan_out: 1 / fan_in,
    "keras_default": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "small": lambda fan_in, fan_out: 1e-4 * 2 / (fan_in + fan_out),
    "large": lambda fan_in, fan_out: 100 * 2 / (fan_in + fan_out),
    "normal": lambda fan_in, fan_out: 1e-4,
    "uniform": lambda fan_in, fan_out: 0.05**2 / 3,
    "torch_default": lambda fan_in, fan_out: 1 / (3 * fan_in),
    "zeros": lambda fan_in, fan_out: 0.0,
}


def layers(name: str, seed: int = 0, **keywords: Any) -> tuple[nn.Linear, nn.Conv2d]:
    torch.manual_seed(seed)
    linear, conv = nn.Linear(FAN_IN, FAN_OUT), nn.Conv2d(16, 64, 3)
    initialize(nn.Sequential(conv, linear), {"name": name, **keywords}, Path())
    return linear, conv


@pytest.mark.parametrize("name", VARIANCES)
def test_variance(name: str) -> None:
    linear, conv = layers(name)
    variance = VARIANCES[name]
    assert linear.weight.var().item() == pytest.approx(variance(FAN_IN, FAN_OUT), rel=0.03)
    expected = variance(CONV_FAN_IN, CONV_FAN_OUT)
    assert conv.weight.var().item() == pytest.approx(expected, rel=0.06)
    assert abs(linear.weight.mean().item()) <= 0.02 * math.sqrt(variance(FAN_IN, FAN_OUT))


@pytest.mark.parametrize(
    ("name", "bound"),
    [
        ("xavier_uniform", math.sqrt(6 / (FAN_IN + FAN_OUT))),
        ("he_uniform", math.sqrt(6 / FAN_IN)),
        ("lecun_uniform", math.sqrt(3 / FAN_IN)),
    ],
)
def test_uniform_bounds(name: str, bound: float) -> None:
    linear, _ = layers(name)
    assert bound * 0.99 < linear.weight.abs().max().item() <= bound


@pytest.mark.parametrize("name", ["xavier_normal", "he_normal", "lecun_normal"])
def test_normal_tails(name: str) -> None:
    linear, _ = layers(name)
    beyond = (linear.weight.abs() > 2 * linear.weight.std()).float().mean().item()
    assert beyond == pytest.approx(0.0455, abs=0.004)


@pytest.mark.parametrize("gain", [1.0, 2.5])
def test_orthogonal(gain: float) -> None:
    linear, conv = layers("orthogonal", gain=gain)
    assert torch.allclose(linear.weight @ linear.weight.T, gain**2 * torch.eye(FAN_OUT), atol=1e-4)
    rows = conv.weight.flatten(1)
    assert torch.allclose(rows @ rows.T, gain**2 * torch.eye(64), atol=1e-4)


@pytest.mark.parametrize("name", ["xavier_uniform", "xavier_normal"])
def test_gain(name: str) -> None:
    plain, scaled = layers(name)[0].weight, layers(name, gain=3.0)[0].weight
    assert torch.allclose(3 * plain, scaled, rtol=1e-4)


@pytest.mark.parametrize("name", registry.names("initializer"))
def test_biases_and_draws(name: str) -> None:
    linear, conv = layers(name)
    is_default = name == "torch_default"
    assert bool(linear.bias.abs().sum() > 0) == is_default
    assert conv.bias is not None and bool(conv.bias.abs().sum() > 0) == is_default
    assert torch.equal(linear.weight, layers(name)[0].weight)
    if name != "zeros":
        assert not torch.equal(linear.weight, layers(name, seed=1)[0].weight)


def test_the_memory_format_changes_nothing() -> None:
    conv, other = nn.Conv2d(16, 64, 3), nn.Conv2d(16, 64, 3)
    other.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for module in (conv, other):
        torch.manual_seed(0)
        initialize(module, {"name": "orthogonal"}, Path())
    assert torch.equal(conv.weight, other.weight)
    assert other.weight.is_contiguous(memory_format=torch.channels_last)


def test_a_users_initializer(tmp_path: Path) -> None:
    (tmp_path / "user_initializers.py").write_text(
        "def constant(tensor, value):\n    tensor.fill_(value)\n"
    )
    linear = nn.Linear(3, 2)
    section = {"name": "user_initializers.py:constant", "value": 0.5}
    initialize(linear, section, tmp_path)
    assert (linear.weight == 0.5).all() and (linear.bias == 0).all()


def test_every_initializer_is_tested_here() -> None:
    assert {*VARIANCES, "orthogonal", "lsuv"} == set(registry.names("initializer"))


@pytest.mark.parametrize("name", ["xavier_normal", "he_normal", "lecun_normal"])
def test_truncated_as_keras_has_it(name: str) -> None:
    """Cut off at two of the normal's deviations, with the variance of the one that isn't."""
    plain, cut = layers(name)[0].weight, layers(name, truncated=True)[0].weight
    assert cut.std().item() == pytest.approx(plain.std().item(), rel=0.02)
    bound = 2 * math.sqrt(VARIANCES[name](FAN_IN, FAN_OUT)) / TRUNCATED_STD
    assert 0.97 * bound < cut.abs().max().item() <= bound


@pytest.mark.parametrize("name", ["he_normal", "he_uniform"])
def test_he_knows_the_slope_and_the_fan(name: str) -> None:
    for keywords, variance in [
        ({"negative_slope": 2.0}, 2 / 5 / FAN_IN),
        ({"mode": "fan_out"}, 2 / FAN_OUT),
    ]:
        weight = layers(name, **keywords)[0].weight
        assert weight.var().item() == pytest.approx(variance, rel=0.03)


@pytest.mark.parametrize("groups", [1, 4])
def test_fan_in_of_a_grouped_convolution(groups: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(16, 64, 3, groups=groups)
    initialize(conv, {"name": "lecun_normal"}, Path())
    assert conv.weight.var().item() == pytest.approx(groups / CONV_FAN_IN, rel=0.08)


class TestTransposed:
    """A unit is an output channel, on the second axis of a transposed convolution's weight."""

    @pytest.mark.parametrize("groups", [1, 4])
    def test_fan_in(self, groups: int) -> None:
        torch.manual_seed(0)
        conv = nn.ConvTranspose2d(64, 16, 3, groups=groups)
        initialize(conv, {"name": "lecun_normal"}, Path())
        assert conv.weight.var().item() == pytest.approx(groups / (64 * 9), rel=0.08)

    def test_units_are_orthonormal(self) -> None:
        conv = nn.ConvTranspose2d(8, 4, 3, groups=2)
        initialize(conv, {"name": "orthogonal"}, Path())
        # the first group's two units, each of 4 inputs
        units = conv.weight[:4].transpose(0, 1).flatten(1)
        assert torch.allclose(units @ units.T, torch.eye(2), atol=1e-5)

    def test_signals_keep_their_size(self) -> None:
        """Of stride 1, away from the borders."""
        torch.manual_seed(0)
        conv = nn.ConvTranspose2d(32, 8, 3, padding=1, bias=False)
        initialize(conv, {"name": "lecun_normal"}, Path())
        inner = conv(torch.randn(64, 32, 12, 12))[:, :, 1:-1, 1:-1]
        assert inner.var().item() == pytest.approx(1.0, rel=0.1)


class TestEmbeddings:
    def test_they_keep_what_their_model_drew(self) -> None:
        embedding = nn.Embedding(50, 8)
        before = embedding.weight.detach().clone()
        initialize(nn.Sequential(embedding, nn.Linear(8, 2)), {"name": "normal"}, Path())
        assert torch.equal(embedding.weight, before)

    def test_their_own_initializer(self) -> None:
        torch.manual_seed(0)
        embedding, linear = nn.Embedding(500, 64, padding_idx=3), nn.Linear(64, 2)
        section = {"name": "zeros", "embedding": "lecun_normal", "first": "uniform"}
        initialize(nn.Sequential(embedding, linear), section, Path())
        assert not embedding.weight[3].any()
        vectors = torch.cat([embedding.weight[:3], embedding.weight[4:]])
        assert vectors.var().item() == pytest.approx(1 / 64, rel=0.05)
        assert linear.weight.any(), "the first layer isn't an embedding"

    def test_by_pattern(self) -> None:
        embedding = nn.Embedding(5, 4)
        section = {"name": "normal", "layers": {"0.weight": "zeros"}}
        initialize(nn.Sequential(embedding, nn.Linear(4, 2)), section, Path())
        assert not embedding.weight.any()

    def test_lsuv(self) -> None:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Embedding(50, 8), nn.Linear(8, 4))
        initialize(model, {"name": "normal", "embedding": "lsuv"}, Path())
        ids = torch.arange(40)
        initialize_from_data(model, lambda: ids)
        assert model[0](ids).var(correction=0).item() == pytest.approx(1.0, abs=1e-4)

    def test_models_without_embeddings(self) -> None:
        with pytest.raises(BadConfigurationError, match="without embeddings"):
            initialize(nn.Linear(4, 2), {"name": "normal", "embedding": "zeros"}, Path())


class TestSignals:
    """30 layers of 512 units, normal inputs: the deviation of the outputs."""

    @pytest.mark.parametrize(
        ("initializer", "activation", "expected"),
        [
            ("he_normal", nn.ReLU(), 0.83),
            ("xavier_normal", nn.ReLU(), 2.0e-5),
            ("torch_default", nn.ReLU(), 1.3e-12),
            ("xavier_normal", nn.Tanh(), 0.13),
            ("lecun_normal", nn.SELU(), 0.997),
        ],
    )
    def test_deviation(self, initializer: str, activation: nn.Module, expected: float) -> None:
        torch.manual_seed(0)
        deviation = self.passed({"name": initializer}, activation).std().item()
        # torch's own draw shrinks by a factor of 6 in variance a layer: chance adds up
        assert math.log(deviation) == pytest.approx(math.log(expected), abs=0.5)

    def test_selu_needs_a_gain_of_1(self) -> None:
        """Not `nn.init.calculate_gain("selu")`, 3/4, by which signals shrink."""
        gain = nn.init.calculate_gain("selu")
        shrunk = self.passed({"name": "orthogonal", "gain": gain}, nn.SELU()).std().item()
        kept = self.passed({"name": "orthogonal"}, nn.SELU())
        assert shrunk == pytest.approx(0.23, abs=0.03)
        assert kept.std().item() == pytest.approx(1, abs=0.05)
        assert kept.mean().item() == pytest.approx(0, abs=0.05)

    @staticmethod
    def passed(section: dict[str, Any], activation: nn.Module) -> torch.Tensor:
        torch.manual_seed(0)
        parts = [[nn.Linear(512, 512, bias=False), activation] for _ in range(30)]
        net = nn.Sequential(*(module for part in parts for module in part))
        initialize(net, section, Path())
        with torch.no_grad():
            outputs: torch.Tensor = net(torch.randn(256, 512))
        return outputs


class TestLsuv:
    @pytest.mark.parametrize(
        ("model", "num_layers"),
        [
            ({"name": "mlp", "hidden_sizes": [16] * 10, "activation": "relu"}, 11),
            ({"name": "mlp", "hidden_sizes": [8, 8], "norm": "weight", "dropout": 0.5}, 3),
            ({"name": "cnn", "channels": [4, 4], "hidden_sizes": [8]}, 4),
        ],
        ids=["deep", "weight norm", "cnn"],
    )
    def test_every_layers_outputs_have_unit_variance(
        self, model: dict[str, Any], num_layers: int
    ) -> None:
        data = load_data({"name": "digits", "train_rows": 64}, seed=0)
        trainer = make(data, model=model, initializer={"name": "lsuv"}, batch_size="full")
        deviations: list[float] = []
        layers = [each for each in trainer.model.modules() if hasattr(each, "begins_with_data")]
        for layer in layers:
            layer.register_forward_hook(
                lambda layer, inputs, outputs: deviations.append(outputs.std(correction=0).item())
            )
        trainer.model.eval()(torch.from_numpy(data.train.x))
        assert len(deviations) == num_layers
        assert deviations == pytest.approx([1.0] * len(deviations), abs=1e-3)

    def test_by_hand(self) -> None:
        """Outputs 4 w, 2 w and 0 have deviation w sqrt(8/3)."""
        layer = nn.Linear(1, 1)
        initialize(layer, {"name": "lsuv"}, Path())
        sign = layer.weight.sign().item()
        initialize_from_data(layer, lambda: torch.tensor([[4.0], [2.0], [0.0]]))
        assert layer.weight.item() == pytest.approx(sign / math.sqrt(8 / 3))
        assert layer.bias.item() == 0

    def test_outputs_that_never_vary_stay(self) -> None:
        layer = nn.Linear(1, 1)
        initialize(layer, {"name": "lsuv"}, Path())
        before = layer.weight.item()
        initialize_from_data(layer, lambda: torch.ones(4, 1))
        assert layer.weight.item() == before

    def test_another_layer_may_begin_otherwise(self) -> None:
        model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
        initialize(model, {"name": "lsuv", "output": {"name": "normal", "std": 0.5}}, Path())
        before = model[2].weight.clone()
        initialize_from_data(model, lambda: torch.randn(16, 3))
        assert torch.equal(model[2].weight, before)


class TestPlacement:
    @pytest.mark.parametrize("place", ["first", "output", "recurrent", "layers.0*"])
    def test_one_inside_another_is_told_of(self, place: str) -> None:
        inner: Any = {"name": "normal", "forget_bias": 1.0}
        key, dot, pattern = place.partition(".")
        section = {"name": "he_normal", key: {pattern: inner} if dot else inner}
        rule = rf"initializer\.{re.escape(place)}: must .* forget_bias applies to the whole model"
        with pytest.raises(SpecError, match=rule):
            check(draft_spec(changed(initializer=section)))

    def test_first_and_last_layers_have_their_own(self) -> None:
        net = nn.Sequential(*(nn.Linear(8, 8) for _ in range(3)))
        section = {"name": "zeros", "first": {"name": "uniform"}, "output": "orthogonal"}
        initialize(net, section, Path())
        assert 0 < net[0].weight.abs().max() <= 0.05
        assert (net[1].weight == 0).all()
        assert torch.allclose(net[2].weight @ net[2].weight.T, torch.eye(8), atol=1e-5)

    def test_layers_are_told_by_their_names(self) -> None:
        parts = {"body": nn.Linear(8, 8), "cell": nn.LSTM(8, 8), "head": nn.Linear(8, 8)}
        net = nn.ModuleDict(parts)
        layers = {"*.weight_hh*": {"name": "normal", "std": 3.0}, "[ch]e*": "orthogonal"}
        initialize(net, {"name": "zeros", "output": "large", "layers": layers}, Path())
        assert (net["body"].weight == 0).all()
        assert net["cell"].weight_hh_l0.std().item() == pytest.approx(
            3, rel=0.2
        )  # the first holds
        for weight in (net["head"].weight, *net["cell"].weight_ih_l0.split(8)):
            assert torch.allclose(weight @ weight.T, torch.eye(8), atol=1e-5)

    def test_a_parametrised_weight_has_its_own_name(self) -> None:
        net = mlp((4,), 2, [8], norm="weight")
        initialize(net, {"name": "zeros", "layers": {"1.weight": "large"}}, Path())
        assert net[1].weight.std() > 1

    def test_a_pattern_that_fits_nothing_is_told(self, wine: Data) -> None:
        section = {"name": "zeros", "layers": {"*.weight": "small", "*.haed*": "large"}}
        rule = r"initializer.layers: .* \(1.weight, 4.weight\), but '\*.haed\*' fits none"
        with pytest.raises(BadConfigurationError, match=rule):
            make(wine, initializer=section)

    def test_layers_may_be_searched_over(self, tmp_path: Path) -> None:
        def written(layers: str) -> Path:
            (tmp_path / "a.yaml").write_text(
                "name: a\nobjective: {metric: val_loss, direction: minimize}\n"
                "dataset: {name: wine}\nmodel: mlp\noptimizer: {name: sgd, lr: 0.1}\n"
                f"initializer: {{name: he_normal, layers: {layers}}}\nsearch: {{trials: 2}}\n"
            )
            return tmp_path / "a.yaml"

        spec = load_checked_spec(
            written('{"1.*": {name: orthogonal, gain: auto}, "4.*": {choices: [small, zeros]}}')
        )
        found = SearchSpace.of(spec).distributions
        assert list(found) == ["initializer.layers.1.*.gain", "initializer.layers.4.*"]
        for layers, problem in [
            ('{"1.*": ortogonal}', "initializer.layers.1.*: must be one of .* mean 'orthogonal'"),
            ("[zeros]", "initializer.layers: must be a mapping from names to components"),
            ('{"1.*": {name: zeros, gain: 2}}', "initializer.layers.1.*.gain: must be a keyword"),
            ('{"9.*": zeros}', "initializer.layers: each pattern must fit"),
        ]:
            with pytest.raises(SpecError, match=problem):
                load_checked_spec(written(layers))

    def test_recurrent_weights_are_drawn_gate_by_gate(self) -> None:
        lstm = nn.LSTM(5, 6)
        initialize(lstm, {"name": "xavier_uniform", "recurrent": "orthogonal"}, Path())
        for gate in lstm.weight_hh_l0.detach().split(6):
            assert torch.allclose(gate @ gate.T, torch.eye(6), atol=1e-5)
        bound = math.sqrt(6 / (5 + 6))
        assert 0.8 * bound < lstm.weight_ih_l0.abs().max() <= bound

    @pytest.mark.parametrize("inputs", [2, 3, 6, 8])
    def test_gates_are_told_from_the_inputs(self, inputs: int) -> None:
        """Gates of 2 units over as many inputs as 1, 3 or 4 of them have too."""
        lstm = nn.LSTM(inputs, 2)
        initialize(lstm, {"name": "orthogonal"}, Path())
        for gate in lstm.weight_ih_l0.detach().split(2):
            assert torch.allclose(gate @ gate.T, torch.eye(2), atol=1e-5)

    @pytest.mark.parametrize("layer", [nn.LSTM(3, 4, num_layers=2), nn.LSTMCell(3, 4)])
    def test_forget_bias(self, layer: nn.Module) -> None:
        initialize(layer, {"name": "orthogonal", "forget_bias": 1.5}, Path())
        biases = {name: each for name, each in layer.named_parameters() if "bias" in name}
        for name, bias in biases.items():
            fill = 1.5 if "bias_ih" in name else 0.0
            assert bias.tolist() == [0.0] * 4 + [fill] * 4 + [0.0] * 8

    def test_the_output_begins_with_the_frequencies(self, wine: Data) -> None:
        trainer = make(wine, initializer={"name": "zeros", "output_bias": "log_prior"})
        prior = np.bincount(wine.train.y) / len(wine.train.y)
        entropy = -(prior * np.log(prior)).sum()
        assert trainer.evaluate("train")["train_loss"] == pytest.approx(entropy, abs=1e-3)

    def test_frequencies_need_classes(self) -> None:
        data = load_data({"name": "diabetes"}, seed=0)
        with pytest.raises(BadConfigurationError, match="log_prior needs classes or labels"):
            make(data, initializer={"name": "zeros", "output_bias": "log_prior"})
