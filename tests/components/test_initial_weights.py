"""Which initializer draws which weight: as Keras draws recurrent layers, by layer, by head."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hpsearch.components import Arrays, Data
from hpsearch.components.initializers.by_name import initialize
from hpsearch.components.models.building import build_model
from hpsearch.components.models.pretrained import mark_pretrained
from hpsearch.errors import BadConfigurationError
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer
from hpsearch.training.checkpoints import CheckpointStore
from tests.support.trainers import make

INPUTS, HIDDEN = 10, 20
KINDS = [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)]


def drawn(layer: nn.Module, name: str = "keras_default", **keywords: Any) -> Any:
    torch.manual_seed(0)
    initialize(layer, {"name": name, **keywords}, Path())
    return layer


def columns_are_orthonormal(weight: Tensor) -> bool:
    return torch.allclose(weight.T @ weight, torch.eye(weight.shape[1]), atol=1e-5)


def is_orthogonal_by_gate(weight: Tensor) -> bool:
    return all(map(columns_are_orthonormal, weight.split(weight.shape[1])))


class TestAsKeras:
    """Keras keeps a layer's gates in one kernel (inputs, gates x units), and draws it at once.

    kernel: GlorotUniform, bound sqrt(6 / (fan_in + fan_out)) of the kernel's two axes;
    recurrent_kernel: Orthogonal, whose rows are orthonormal: R Rᵀ = 1, here UᵀU = 1 with U = Rᵀ;
    bias: 0, but 1 for an LSTM's forget gate.
    """

    @pytest.mark.parametrize(("kind", "gates"), KINDS)
    def test_the_kernel_is_glorot_uniform(self, kind: Any, gates: int) -> None:
        weight = drawn(kind(INPUTS, HIDDEN)).weight_ih_l0
        bound = math.sqrt(6 / (INPUTS + gates * HIDDEN))
        assert 0.97 * bound < weight.abs().max() <= bound
        if kind is nn.LSTM:
            assert bound == pytest.approx(0.258, abs=1e-3)

    @pytest.mark.parametrize(("kind", "gates"), KINDS)
    def test_the_recurrent_kernel_is_orthogonal(self, kind: Any, gates: int) -> None:
        weight = drawn(kind(INPUTS, HIDDEN)).weight_hh_l0
        assert weight.shape == (gates * HIDDEN, HIDDEN)
        assert columns_are_orthonormal(weight)

    @pytest.mark.parametrize(("kind", "gates"), KINDS)
    def test_biases(self, kind: Any, gates: int) -> None:
        layer = drawn(kind(INPUTS, HIDDEN))
        bias = (layer.bias_ih_l0 + layer.bias_hh_l0).tolist()
        forget = [0.0] * HIDDEN + [1.0] * HIDDEN + [0.0] * (2 * HIDDEN)
        assert bias == (forget if kind is nn.LSTM else [0.0] * (gates * HIDDEN))

    @pytest.mark.parametrize("cell", ["lstm", "gru", "rnn", "ln_lstm", "bn_lstm"])
    def test_in_a_model(self, cell: str) -> None:
        section = {"name": "rnn", "cell": cell, "hidden_size": HIDDEN, "bidirectional": True}
        model = drawn(build_model(section, (5, INPUTS), 3, Path()))
        for each in model.layers[0].cells:
            assert columns_are_orthonormal(each.weights.weight_hh_l0)
        bound = math.sqrt(6 / (2 * HIDDEN + 3))
        assert 0.9 * bound < model.output.weight.abs().max() <= bound

    def test_its_keywords_can_be_others(self) -> None:
        layer = drawn(nn.LSTM(INPUTS, HIDDEN), by_gate=True, forget_bias=0.0)
        assert is_orthogonal_by_gate(layer.weight_hh_l0)
        assert layer.weight_ih_l0.abs().max() > math.sqrt(6 / (INPUTS + 4 * HIDDEN))
        assert (layer.bias_ih_l0 == 0).all()

    @pytest.mark.parametrize(
        "keywords", [{"recurrent": "keras_default"}, {"first": "keras_default"}]
    )
    def test_as_another_initializer(self, keywords: dict[str, Any]) -> None:
        layer = drawn(nn.LSTM(INPUTS, HIDDEN), "zeros", **keywords)
        assert columns_are_orthonormal(layer.weight_hh_l0)

    def test_its_forget_bias_goes_where_it_draws(self) -> None:
        layer = drawn(nn.LSTM(INPUTS, HIDDEN, num_layers=2), "zeros", first="keras_default")
        forget = [0.0] * HIDDEN + [1.0] * HIDDEN + [0.0] * (2 * HIDDEN)
        assert (layer.bias_ih_l0 + layer.bias_hh_l0).tolist() == forget
        assert (layer.bias_ih_l1 == 0).all() and (layer.bias_hh_l1 == 0).all()
        other = drawn(nn.LSTM(INPUTS, HIDDEN), "zeros", first="keras_default", forget_bias=0.5)
        assert (other.bias_ih_l0[HIDDEN : 2 * HIDDEN] == 0.5).all()


class TestGates:
    @pytest.mark.parametrize(("kind", "gates"), KINDS)
    def test_are_layers_of_their_own_unless_drawn_together(self, kind: Any, gates: int) -> None:
        apart, together = (drawn(kind(INPUTS, HIDDEN), "orthogonal", **k) for k in ({}, WHOLE))
        assert is_orthogonal_by_gate(apart.weight_hh_l0)
        assert columns_are_orthonormal(together.weight_hh_l0)
        squares = [layer.weight_hh_l0.square().sum().item() for layer in (apart, together)]
        assert squares == pytest.approx([gates * HIDDEN, HIDDEN], rel=1e-4)


WHOLE = {"by_gate": False}


class TestFirstAndLast:
    """`first` and `output` draw zeros here, all else normal ones."""

    def zeros(self, model: nn.Module, **keywords: Any) -> set[str]:
        """The names of the weights that are zero."""
        torch.manual_seed(0)
        initialize(model, {"name": "normal", **keywords}, Path())
        return {
            name
            for name, param in model.named_parameters()
            if param.ndim > 1 and bool((param == 0).all())
        }

    def test_the_first_layer_of_a_recurrent_net_is_recurrent(self) -> None:
        section = {"name": "rnn", "layers": 2, "bidirectional": True, "hidden_size": 4}
        model = build_model(section, (5, 3), 2, Path())
        place = "layers.0.cells.{}.weights.weight_{}_l0"
        weights = {place.format(cell, kind) for cell in (0, 1) for kind in ("ih", "hh")}
        assert self.zeros(model, first="zeros") == weights
        assert self.zeros(model, output="zeros") == {"output.weight"}

    def test_recurrent_weights_may_have_their_own(self) -> None:
        model = build_model({"name": "rnn", "hidden_size": 4}, (5, 3), 2, Path())
        zeros = self.zeros(model, first="zeros", recurrent="orthogonal")
        assert zeros == {"layers.0.cells.0.weights.weight_ih_l0"}

    def test_layers_of_torchs_own_stack_are_told_apart(self) -> None:
        model = nn.LSTM(3, 4, num_layers=3, bidirectional=True)
        for keyword, number in (("first", 0), ("output", 2)):
            names = (f"weight_{kind}_l{number}" for kind in ("ih", "hh"))
            expected = {f"{name}{end}" for name in names for end in ("", "_reverse")}
            assert self.zeros(model, **{keyword: "zeros"}) == expected

    def test_of_other_nets(self) -> None:
        section = {"name": "cnn", "channels": [2, 2], "hidden_sizes": [4], "norm": "batch"}
        model = build_model(section, (1, 8, 8), 2, Path())
        names = [name for name, param in model.named_parameters() if param.ndim > 1]
        assert self.zeros(model, first="zeros") == {names[0]}
        assert self.zeros(model, output="zeros") == {names[-1]}

    def test_a_first_layer_that_is_pretrained_stays(self) -> None:
        model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
        mark_pretrained([model[0]])
        assert self.zeros(model, first="zeros") == set()

    @pytest.mark.parametrize("keywords", [{"first": "torch_default"}, {}])
    def test_biases_stay_where_torch_draws_the_weights(self, keywords: dict[str, Any]) -> None:
        layer = drawn(nn.GRU(3, 4), "orthogonal", **keywords)
        assert bool((layer.bias_ih_l0 == 0).all()) != bool(keywords)


def labelled(kind: Any, y: Any, num_outputs: int) -> Data:
    rows = Arrays(np.zeros((len(y), 2), np.float32), y)
    return Data(kind, (2,), num_outputs, train=rows, val=rows)


def first_predictions(data: Data, **task: Any) -> Tensor:
    """What a net whose weights are 0 predicts before it has learned anything."""
    values = {
        "model": {"name": "mlp", "hidden_sizes": []},
        "optimizer": {"name": "sgd"},
        "initializer": {"name": "zeros", "output_bias": "log_prior"},
        "batch_size": 16,
        **({"task": {"name": data.kind, **task}} if task else {}),
    }
    trainer = Trainer(TrialConfig(0, 0, 1, values), data)
    outputs, _ = trainer.predict("val")
    predictions: Tensor = trainer.task.head(outputs)[0]
    return predictions


class TestLogPrior:
    """A head begins with the base rates: a tenth of the rows, as half a row more of each says."""

    CLASSES = np.repeat([0, 1], [1800, 200])

    @pytest.mark.parametrize("head", ["softmax", "sigmoid"])
    def test_of_classes(self, head: str) -> None:
        loss = {"softmax": "cross_entropy", "sigmoid": "soft_bce"}[head]
        data = labelled("classification", self.CLASSES, 2)
        rates = first_predictions(data, loss=loss, head=head)
        assert rates[1].item() == pytest.approx(0.1, abs=1e-3)

    def test_the_outputs_of_a_sigmoid_are_the_log_odds(self) -> None:
        data = labelled("classification", self.CLASSES, 2)
        values = {
            "model": {"name": "mlp", "hidden_sizes": []},
            "optimizer": {"name": "sgd"},
            "initializer": {"name": "zeros", "output_bias": "log_prior"},
            "task": {"name": "classification", "loss": "soft_bce"},
            "batch_size": 16,
        }
        bias = Trainer(TrialConfig(0, 0, 1, values), data).model[-1].bias
        assert bias.sigmoid().tolist() == pytest.approx([0.9, 0.1], abs=1e-3)

    def test_of_labels(self) -> None:
        rates = np.array([0.1, 0.5, 0.75])
        y = (np.arange(2000)[:, None] < 2000 * rates).astype(np.float32)
        found = first_predictions(labelled("multilabel", y, 3))
        assert found.tolist() == pytest.approx(rates.tolist(), abs=1e-3)

    def test_of_shares(self) -> None:
        y = np.tile(np.array([[0.7, 0.2, 0.1]], np.float32), (1000, 1))
        found = first_predictions(labelled("classification", y, 3))
        assert found.tolist() == pytest.approx([0.7, 0.2, 0.1], abs=2e-3)

    def test_needs_rates(self) -> None:
        y = np.random.default_rng(0).normal(size=(40, 1)).astype(np.float32)
        with pytest.raises(BadConfigurationError, match="log_prior needs classes or labels"):
            first_predictions(labelled("regression", y, 1))


class TestReplacedHead:
    @pytest.fixture
    def trained(self, tmp_path: Path, wine: Data) -> Path:
        trainer = make(wine, model={"name": "mlp", "hidden_sizes": [8]})
        trainer.train_epoch()
        CheckpointStore(tmp_path, 7).save(1, {"trainer": trainer.state_dict()})
        return tmp_path

    def tuned(self, folder: Path, data: Data, initializer: Any = None, **finetune: Any) -> Trainer:
        values = {
            "model": {
                "name": "from_checkpoint",
                "architecture": {"name": "mlp", "hidden_sizes": [8]},
                "checkpoint": "trial-0007/epoch-0001.pt",
            },
            "optimizer": {"name": "sgd"},
            "finetune": {"name": "replace_head", **finetune},
            "batch_size": 16,
            **({"initializer": initializer} if initializer else {}),
        }
        return Trainer(TrialConfig(0, 0, 1, values, folder=str(folder)), data)

    def test_is_drawn_by_the_initializer(self, trained: Path, wine: Data) -> None:
        initializer = {"name": "normal", "output": "orthogonal", "output_bias": "log_prior"}
        trainer = self.tuned(trained, wine, initializer, num_frozen=1)
        head = trainer.model[-1]
        assert torch.allclose(head.weight @ head.weight.T, torch.eye(3), atol=1e-5)
        assert head.bias.softmax(0).tolist() == pytest.approx(wine.base_rates)

    def test_leaves_the_body(self, trained: Path, wine: Data) -> None:
        by_torch = self.tuned(trained, wine)
        weights = torch.load(trained / "trial-0007" / "epoch-0001.pt")["trainer"]["model"]
        for trainer in (by_torch, self.tuned(trained, wine, {"name": "zeros"})):
            assert torch.equal(trainer.model[1].weight, weights["1.weight"])
        assert not torch.equal(by_torch.model[-1].weight, weights["4.weight"])
