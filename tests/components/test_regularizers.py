"""Regularizers: the penalty that each formula promises, of weights and of nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from hpsearch import registry
from hpsearch.components import Data
from hpsearch.components.layers.normalizations import make_norm
from hpsearch.components.models.building import build_model
from hpsearch.components.weights import weights_of
from hpsearch.errors import BadConfigurationError
from tests.support.penalties import PENALTIES, STRENGTHS, build, net, rows_of
from tests.support.trainers import make


# skip_neuron has no weights; test_rare_models.py sees what it does
@pytest.mark.parametrize("name", sorted({*registry.names("regularizer")} - {"skip_neuron"}))
class TestEveryRegularizer:
    def test_its_value(self, name: str) -> None:
        model = net()
        penalty = build("regularizer", name, model, **STRENGTHS.get(name, {"strength": 0.5}))
        expected = sum(PENALTIES[name](rows).item() for rows in rows_of(model))
        assert penalty().item() == pytest.approx(expected, rel=1e-5)

    def test_leaves_biases_and_norms_alone(self, name: str) -> None:
        model = net()
        build("regularizer", name, model)().backward()
        moved = {key for key, param in model.named_parameters() if param.grad is not None}
        assert moved == {"0.weight", "3.weight"}

    def test_is_nothing_without_strength(self, name: str) -> None:
        keywords = dict.fromkeys(STRENGTHS.get(name, {"strength": 0}), 0.0)
        assert build("regularizer", name, net(), **keywords)().item() == 0


@pytest.mark.parametrize("family", ["regularizer", "constraint"])
def test_a_model_without_weights_is_refused(family: str) -> None:
    for name in registry.names(family):
        with pytest.raises(BadConfigurationError, match="^must act on weights"):
            build(family, name, nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4)))


def test_a_trainer_refuses_a_model_without_weights_before_it_trains(wine: Data) -> None:
    model = {"name": f"{__name__}:scaled"}
    with pytest.raises(BadConfigurationError, match="^regularizers.0: must act on weights"):
        make(wine, model=model, regularizers=[{"name": "l1"}])


def scaled(input_shape: tuple[int, ...], output_size: int) -> nn.Module:
    """A model whose parameters are those of a norm."""
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(13), nn.AdaptiveAvgPool1d(output_size))


def test_l2_has_keras_gradient() -> None:
    model = net()
    build("regularizer", "l2", model, strength=0.1)().backward()
    head = model[3]
    assert torch.allclose(head.weight.grad, 0.2 * head.weight)


@pytest.mark.parametrize("shape", [(4, 7), (7, 4)])
def test_orthonormal_weights_carry_no_orthogonality_penalty(shape: tuple[int, int]) -> None:
    layer = nn.Linear(shape[1], shape[0])
    nn.init.orthogonal_(layer.weight)
    assert build("regularizer", "orthogonality", layer, strength=1.0)().item() < 1e-10
    nn.init.orthogonal_(layer.weight, gain=2.0)
    expected = 4 * (2.0**2 - 1) ** 2
    assert build("regularizer", "orthogonality", layer, strength=1.0)().item() == pytest.approx(
        expected, rel=1e-4
    )


@pytest.mark.parametrize("name", registry.names("norm"))
def test_what_a_norm_learns_is_no_weight(name: str) -> None:
    """Of images: instance norm has nothing to do elsewhere."""
    norm = make_norm({"name": name}, 4, num_dims=2)
    if isinstance(norm, nn.Module):
        assert weights_of(norm) == []


def test_a_cnns_rms_scales_are_not_constrained() -> None:
    section = {"name": "cnn", "channels": [4], "hidden_sizes": [], "norm": "rms"}
    model = build_model(section, (1, 8, 8), 3, Path())
    sizes = [tuple(weight.value.shape) for weight in weights_of(model)]
    assert sizes == [(4, 1, 3, 3), (3, 64)]
