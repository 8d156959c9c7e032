"""Keywords that say where an initializer holds reach that place, and no other."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import pytest
import torch
from torch import nn

from tests.support.effects import data_of
from tests.support.trainers import make

MODELS: dict[str, dict[str, Any]] = {
    "mlp": {"name": "mlp", "hidden_sizes": [6, 5], "norm": "batch"},
    "weight_norm": {"name": "mlp", "hidden_sizes": [6, 5], "norm": "weight"},
    "cnn": {"name": "cnn", "channels": [3, 4], "hidden_sizes": [5], "norm": "batch"},
    "lstm": {"name": "rnn", "hidden_size": 4, "layers": 2, "bidirectional": True},
    "gru": {"name": "rnn", "hidden_size": 4, "cell": "gru"},
    "ln_lstm": {"name": "rnn", "hidden_size": 4, "cell": "ln_lstm"},
}
#: as many draws as `normal`, so that all other weights stay
WIDE = {"name": "normal", "std": 0.5}


def built(model: str, **keywords: Any) -> nn.Module:
    initializer = {"name": "normal", **keywords}
    return make(data_of("digits"), model=MODELS[model], initializer=initializer).model


def weights(model: str, **keywords: Any) -> dict[str, torch.Tensor]:
    parameters = built(model, **keywords).named_parameters()
    return {name: param.detach() for name, param in parameters}


def reached(model: str, **keywords: Any) -> set[str]:
    """The parameters that the keywords change."""
    one, other = weights(model), weights(model, **keywords)
    return {name for name in one if not torch.equal(one[name], other[name])}


def named(model: str, *patterns: str) -> set[str]:
    """The parameters whose names fit one of these patterns."""
    names = weights(model)
    return {name for name in names if any(fnmatchcase(name, each) for each in patterns)}


def ends(model: str) -> tuple[str, str]:
    """The names of the first layer and of the last."""
    layers = [
        name
        for name, module in built(model).named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    ]
    return "layers.0" if MODELS[model]["name"] == "rnn" else layers[0], layers[-1]


@pytest.mark.parametrize("model", MODELS)
class TestEnds:
    def test_the_first_layer(self, model: str) -> None:
        first = ends(model)[0]
        changed = reached(model, first=WIDE)
        assert changed and changed <= named(model, f"{first}.*weight*")
        assert changed >= named(model, f"{first}.*weight_ih*", f"{first}.weight")

    def test_the_last_layer(self, model: str) -> None:
        assert reached(model, output=WIDE) == {f"{ends(model)[1]}.weight"}

    def test_the_last_bias(self, model: str) -> None:
        assert reached(model, output_bias="log_prior") == {f"{ends(model)[1]}.bias"}

    def test_a_layer_by_its_name(self, model: str) -> None:
        name = f"{ends(model)[1]}.weight"
        assert reached(model, layers={name: WIDE}) == {name}


@pytest.mark.parametrize("model", MODELS)
class TestRecurrentLayers:
    def test_weights_from_state_to_state(self, model: str) -> None:
        assert reached(model, recurrent=WIDE) == named(model, "*.weight_hh_*")

    def test_the_bias_of_the_forget_gate(self, model: str) -> None:
        is_lstm = "lstm" in model
        changed = reached(model, forget_bias=1.0)
        assert changed == (named(model, "*.bias_ih_*") if is_lstm else set())
        after = weights(model, forget_bias=1.0)
        for name in changed:
            assert after[name].view(4, -1).tolist() == [[0] * 4, [1] * 4, [0] * 4, [0] * 4]
