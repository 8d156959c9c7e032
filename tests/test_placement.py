"""Keywords that say where an initializer holds reach that place, and no other."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import torch

from hpsearch.components.initializers import initialize
from hpsearch.components.models import build_model

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


def weights(model: str, **keywords: Any) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    net = build_model(MODELS[model], (1, 4, 4), 3, Path())
    initialize(net, {"name": "normal", **keywords}, Path(), class_counts=(5, 3, 2))
    return {name: param.detach() for name, param in net.named_parameters()}


def reached(model: str, **keywords: Any) -> set[str]:
    """The parameters that the keywords change."""
    one, other = weights(model), weights(model, **keywords)
    return {name for name in one if not torch.equal(one[name], other[name])}


def named(model: str, *patterns: str) -> set[str]:
    """The parameters whose names fit one of these patterns."""
    names = weights(model)
    return {name for name in names if any(fnmatchcase(name, each) for each in patterns)}


#: the names of the first layer's weights, and of the last's
ENDS = {
    "mlp": ("2.weight", "10.weight"),
    "weight_norm": ("2.parametrizations.weight.*", "8.weight"),
    "cnn": ("2.weight", "15.weight"),
    "lstm": ("layers.0.*", "output.weight"),
    "gru": ("layers.0.*", "output.weight"),
    "ln_lstm": ("layers.0.*", "output.weight"),
}


@pytest.mark.parametrize("model", MODELS)
class TestEnds:
    def test_the_first_layer(self, model: str) -> None:
        changed = reached(model, first=WIDE)
        first = named(model, ENDS[model][0])
        assert changed and changed <= first
        assert changed >= {name for name in first if "weight_ih" in name}

    def test_the_last_layer(self, model: str) -> None:
        assert reached(model, output=WIDE) == named(model, ENDS[model][1])

    def test_the_last_bias(self, model: str) -> None:
        last = ENDS[model][1].replace("weight", "bias")
        assert reached(model, output_bias="log_prior") == named(model, last)

    def test_a_layer_by_its_name(self, model: str) -> None:
        name = ENDS[model][1]
        assert reached(model, layers={name: WIDE}) == named(model, name)


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
