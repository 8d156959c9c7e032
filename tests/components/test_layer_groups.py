"""Groups of layers: one for each layer, with its norm, its activation and its dropout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from hpsearch import registry
from hpsearch.components import Data, load_data
from hpsearch.components.layer_groups import layer_groups
from hpsearch.components.layers.dropouts import MonteCarlo
from hpsearch.components.models.building import build_model
from hpsearch.components.tasks.heads import Linear
from hpsearch.registry import ComponentOf
from hpsearch.training import Trainer
from tests.support.trainers import make

HIDDEN = {"name": "mlp", "hidden_sizes": [8, 8, 8]}


@pytest.fixture(scope="module")
def digits() -> Data:
    return load_data({"name": "digits", "train_rows": 64}, seed=0)


def build(shape: tuple[int, ...] = (4,), **section: Any) -> nn.Module:
    torch.manual_seed(0)
    return build_model(section, shape, 2, Path())


def rates(model: nn.Module, name: str = "discriminative", **keywords: Any) -> list[float]:
    tuning = ComponentOf("finetune").build({"name": name, **keywords}, model=model)
    return [group["lr_factor"] for group in tuning.groups()]


def kinds(model: nn.Module) -> list[list[str]]:
    return [[type(module).__name__ for module in group] for group in layer_groups(model)]


def frozen(data: Data, num_frozen: int = 1, **model: Any) -> Trainer:
    return make(data, model=model, finetune={"name": "freeze", "num_frozen": num_frozen})


@pytest.mark.parametrize("norm", [name for name in registry.names("norm") if name != "instance"])
@pytest.mark.parametrize("activation", ["relu", "prelu", "swish", "glu"])
def test_three_hidden_layers_and_a_head_are_four_groups(norm: str, activation: str) -> None:
    """2.6 ** -3, 2.6 ** -2, 2.6 ** -1 and 1, whatever stands between the layers."""
    model = build(**HIDDEN, norm=norm, activation=activation, dropout=0.1)
    assert rates(model) == pytest.approx([0.0569, 0.1479, 0.3846, 1], abs=1e-4)
    unfrozen = rates(model, "gradual_unfreeze", decay=2.6)
    assert unfrozen == pytest.approx([0.0569, 0.1479, 0.3846, 1], abs=1e-4)


@pytest.mark.parametrize("position", ["pre_activation", "post_activation", "pre_norm_residual"])
@pytest.mark.parametrize("norm", ["none", "batch", "weight"])
def test_a_cnn_has_a_group_for_each_convolution_and_linear_layer(norm: str, position: str) -> None:
    sizes = {"channels": [4, 4, 6], "hidden_sizes": [5]}
    model = build((1, 16, 16), name="cnn", norm=norm, norm_position=position, **sizes)
    assert len(rates(model)) == 5


def test_a_norm_goes_with_the_layer_that_it_is_put_before() -> None:
    model = build(**HIDDEN, norm="batch", norm_position="pre_norm_residual", dropout=0.1)
    first = ["Dropout", "BatchNorm", "Linear", "ReLU", "Dropout"]
    assert kinds(model) == [first, ["Residual"], ["Residual"], ["Linear"]]


def test_recurrent_layers_are_groups() -> None:
    model = build((5, 4), name="rnn", layers=3, bidirectional=True, hidden_size=6)
    assert rates(model) == pytest.approx([0.0569, 0.1479, 0.3846, 1], abs=1e-4)


def test_monte_carlo_dropout_has_the_groups_of_its_model() -> None:
    model = MonteCarlo(build(**HIDDEN, dropout=0.5), 2, Linear())
    assert len(layer_groups(model)) == 4


class TestFrozen:
    @pytest.mark.parametrize("affine", [True, False])
    @pytest.mark.parametrize("position", ["pre_activation", "post_activation"])
    def test_a_convolution_and_its_batch_norm(
        self, digits: Data, affine: bool, position: str
    ) -> None:
        norm = {"name": "batch", "affine": affine}
        sizes = {"channels": [4], "hidden_sizes": [8]}
        trainer = frozen(digits, name="cnn", norm=norm, norm_position=position, **sizes)
        before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
        trainer.train_epoch()
        after = trainer.model.state_dict()
        changed = {name.split(".")[0] for name in before if not after[name].equal(before[name])}
        assert changed == {str(i) for i, m in enumerate(trainer.model) if isinstance(m, nn.Linear)}

    @pytest.mark.parametrize(
        "model",
        [
            {**HIDDEN, "dropout": 0.5, "input_dropout": 0.5, "norm": "batch"},
            {"name": "cnn", "channels": [4], "conv_dropout": 0.5, "hidden_sizes": []},
            {"name": "rnn", "hidden_size": 4, "dropout": 0.5, "input_dropout": 0.5},
        ],
        ids=["mlp", "cnn", "rnn"],
    )
    def test_all_before_the_head_is_a_fixed_map(self, digits: Data, model: dict[str, Any]) -> None:
        trainer = make(digits, model=model, finetune="feature_extract")
        trainer.train_epoch()  # leaves the modes of training
        trainer.model.train()
        assert trainer._tuning is not None
        trainer._tuning.set_modes()
        x = torch.from_numpy(digits.train.x[:8])  # type: ignore[union-attr]
        assert torch.equal(trainer.model(x), trainer.model(x))

    def test_dropout_of_one_recurrent_layer_is_not_that_of_another(self) -> None:
        model: Any = build((5, 4), name="rnn", layers=2, hidden_size=6, dropout=0.5)
        ComponentOf("finetune").build({"name": "freeze"}, model=model.train()).set_modes()
        assert [layer.dropout.training for layer in model.layers] == [False, True]


class TestUsersModels:
    def test_each_child_with_weights_begins_a_group(self) -> None:
        model = nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 4), nn.PReLU(), nn.Linear(4, 2))
        assert kinds(model) == [["LayerNorm", "Linear", "PReLU"], ["Linear"]]

    def test_a_norm_over_several_axes_is_none(self) -> None:
        model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.LayerNorm([2, 6, 6]), nn.Conv2d(2, 2, 3))
        assert kinds(model) == [["Conv2d", "LayerNorm"], ["Conv2d"]]

    def test_a_statistic_without_parameters_belongs_to_its_layer(self) -> None:
        norm = nn.BatchNorm1d(4, affine=False)
        model = nn.Sequential(nn.Linear(4, 4), norm, nn.Linear(4, 2))
        assert layer_groups(model)[0][1] is norm

    def test_members_of_a_list_are_layers(self) -> None:
        model = nn.Module()
        model.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
        model.head = nn.Linear(4, 2)
        assert [group[0] for group in layer_groups(model)] == [*model.layers, model.head]

    def test_a_list_of_norms_has_one_for_each_layer(self) -> None:
        model = nn.Module()
        model.convs = nn.ModuleList(nn.Conv2d(4, 4, 3) for _ in range(3))
        model.norms = nn.ModuleList(nn.BatchNorm2d(4) for _ in range(2))  # none before the head
        model.activations = nn.ModuleList(nn.PReLU(4) for _ in range(3))
        model.head = nn.Linear(4, 2)
        blocks = ["Conv2d", "BatchNorm2d", "PReLU"]
        assert kinds(model) == [blocks, blocks, ["Conv2d", "PReLU"], ["Linear"]]
        tuning = ComponentOf("finetune").build("freeze", model=model.train())
        tuning.set_modes()
        assert [norm.training for norm in model.norms] == [False, True]

    def test_a_list_with_more_members_than_layers_follows_the_last(self) -> None:
        model = nn.Module()
        model.layers = nn.ModuleList([nn.Linear(4, 4)])
        model.norms = nn.ModuleList([nn.LayerNorm(4), nn.LayerNorm(4)])
        model.head = nn.Linear(4, 2)
        assert kinds(model) == [["Linear", "LayerNorm", "LayerNorm"], ["Linear"]]

    def test_of_a_wrapper_the_layers_inside_count(self) -> None:
        net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
        model = nn.Sequential(nn.Flatten(), net, nn.Identity())
        assert kinds(model) == [["Flatten", "Linear", "ReLU"], ["Linear", "Identity"]]

    @pytest.mark.parametrize("layer", [nn.Linear(4, 2), nn.LSTM(4, 2), nn.Bilinear(4, 4, 2)])
    def test_a_layer_alone_is_one_group(self, layer: nn.Module) -> None:
        assert layer_groups(layer) == [[layer]]
        assert layer_groups(nn.Sequential(layer)) == [[layer]]

    def test_a_normed_layer_alone_is_one_group(self) -> None:
        layer = weight_norm(nn.Linear(4, 2))
        assert layer_groups(nn.Sequential(layer)) == [[layer]]

    def test_parameters_of_no_layer_go_with_the_first(self) -> None:
        model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
        model.token = nn.Parameter(torch.zeros(4))
        tuning = ComponentOf("finetune").build("discriminative", model=model)
        first, last = tuning.groups()
        assert any(param is model.token for param in first["params"])
        assert len(last["params"]) == 2
        frozen = ComponentOf("finetune").build("freeze", model=model)
        assert not model.token.requires_grad and len(frozen.groups()) == 1

    def test_shared_weights_are_trained_once(self) -> None:
        model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        model[1].weight = model[0].weight
        groups = ComponentOf("finetune").build("discriminative", model=model).groups()
        assert [len(group["params"]) for group in groups] == [2, 1]


@pytest.mark.parametrize("name", [name for name in registry.names("finetune") if name != "subset"])
def test_what_does_not_learn_stays(wine: Data, name: str) -> None:
    """The slope of `learnable: false`, whichever layers learn."""
    activation = {"name": "swish", "beta": 1.0, "learnable": False}
    trainer = make(wine, model={**HIDDEN, "activation": activation}, finetune={"name": name})

    def slopes() -> list[Tensor]:
        named = trainer.model.named_parameters()
        return [value.clone() for key, value in named if key.endswith("beta")]

    assert [slope.item() for slope in slopes()] == [1.0] * 3
    trainer.train_epoch()
    trainer.train_epoch()
    assert [slope.item() for slope in slopes()] == [1.0] * 3
