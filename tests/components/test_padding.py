"""Sequences that are filled up to one length, and labels of steps that see both directions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hpsearch.components import Data, load_data
from hpsearch.components.models.building import build_model
from hpsearch.errors import BadConfigurationError
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer, export_model

LENGTHS = [2, 3, 5]
FORMS = [
    *({"name": "rnn", "readout": each} for each in ("last", "mean", "max", "attention")),
    {"name": "rnn", "layers": 2, "bidirectional": True},
    {"name": "transformer"},
    {"name": "transformer", "readout": "last", "causal": True},
    {"name": "transformer", "readout": "last", "positions": "learned"},
]

ECHO_STATE = {"name": "echo_state"}
SIZES = {
    "rnn": {"hidden_size": 6},
    "transformer": {"width": 8, "heads": 2},
    "echo_state": {"reservoir_size": 20},
}


def build(
    section: dict[str, Any], length: int = 5, features: tuple[int, ...] = (3,), **keywords: Any
) -> nn.Module:
    torch.manual_seed(0)
    whole = {**SIZES[section["name"]], **section}
    model = build_model(whole, (length, *features), 2, Path(), **keywords).eval()
    for name, param in model.named_parameters():
        if name.endswith("places.weight"):  # one for each step: the first are the same
            nn.init.ones_(param)
    return model


@pytest.mark.parametrize("section", FORMS, ids=str)
def test_what_fills_up_changes_nothing(section: dict[str, Any]) -> None:
    """Outputs are those of each sequence by itself."""
    x = torch.randn(3, 5, 3)
    for row, length in zip(x, LENGTHS, strict=True):
        row[length:] = -7.0
    padded = build({**section, "mask_value": -7.0})
    expected = each_by_itself(padded, x, section)
    torch.testing.assert_close(padded(x), torch.stack(expected), atol=1e-5, rtol=1e-4)
    whole = build({**section, "mask_value": None})
    assert not torch.allclose(whole(x)[0], expected[0], atol=1e-3)


@pytest.mark.parametrize("section", [*FORMS, ECHO_STATE], ids=str)
def test_an_id_that_fills_up_changes_nothing(section: dict[str, Any]) -> None:
    """Though its vector is anything, and ids may be floats."""
    x = torch.randint(5, (3, 5))
    for row, length in zip(x, LENGTHS, strict=True):
        row[length:] = 5
    ids: dict[str, Any] = {"features": (), "num_tokens": 6}
    padded = build(section, padding_id=5, **ids)
    expected = each_by_itself(padded, x, section, **ids)
    torch.testing.assert_close(padded(x.float()), torch.stack(expected), atol=1e-5, rtol=1e-4)
    whole = build(section, **ids)
    whole.load_state_dict(padded.state_dict())
    assert not torch.allclose(whole(x)[0], expected[0], atol=1e-3)


def each_by_itself(
    padded: nn.Module, x: torch.Tensor, section: dict[str, Any], **keywords: Any
) -> list[torch.Tensor]:
    """Return outputs of nets of the same weights that see a sequence's own steps alone."""
    alone = {length: build(section, length, **keywords) for length in LENGTHS}
    for net in alone.values():
        own = padded.state_dict()
        shared = {name: own[name] for name in own if not name.endswith("places.weight")}
        net.load_state_dict(shared, strict=False)
    return [alone[n](row[None, :n])[0] for row, n in zip(x, LENGTHS, strict=True)]


@pytest.mark.parametrize(
    "section",
    [{"name": "rnn", "bidirectional": True}, {"name": "transformer", "causal": False}],
    ids=str,
)
def test_the_output_of_the_last_own_step_is_repeated(section: dict[str, Any]) -> None:
    padded = build(
        section, features=(), num_tokens=6, padding_id=0, output_shape=(5, 2), kind="any"
    )
    outputs = padded(torch.tensor([[1, 2, 3, 0, 0], [1, 2, 3, 4, 5]]))
    assert torch.equal(outputs[0, 2:], outputs[0, 2].expand(3, 2))
    assert not torch.allclose(outputs[1, 2], outputs[1, 3], atol=1e-4)


def test_values_within_a_sequence_are_its_own() -> None:
    net = build({"name": "rnn", "mask_value": 0.0})
    x = torch.randn(1, 5, 3)
    x[:, 2], x[:, 4] = 0.0, 0.0
    torch.testing.assert_close(net(x), net(torch.cat([x[:, :4], torch.zeros(1, 1, 3)], 1)))
    assert not torch.allclose(net(x), net(torch.cat([x[:, :2], torch.zeros(1, 3, 3)], 1)))


def last_signs() -> Any:
    """The sign of a sequence's last own value, which 0 fills up; values are around 4."""
    rng = np.random.default_rng(0)
    x = np.zeros((400, 12, 1), np.float32)
    lengths, signs = rng.integers(2, 13, 400), rng.integers(0, 2, 400)
    for row, length, sign in zip(x, lengths, signs, strict=True):
        row[:length, 0] = 4 + rng.normal(size=length)
        row[length - 1, 0] = 4 + (3 if sign else -3)
    return x, signs


def test_it_knows_the_value_of_standardised_data_and_in_an_exported_model() -> None:
    data = load_data({"name": f"{__name__}:last_signs"}, seed=0)
    accuracies: dict[float | None, float] = {}
    for value in (0.0, None):
        values = {
            "model": {"name": "rnn", "cell": "rnn", "hidden_size": 8, "mask_value": value},
            "optimizer": {"name": "adam", "lr": 0.02},
            "batch_size": 32,
        }
        trainer = Trainer(TrialConfig(0, 0, 8, values), data)
        curve = [trainer.train_epoch() or {} for _ in range(8)]
        accuracies[value] = curve[-1]["val_accuracy"]
        if value is not None:
            raw = data.as_raw(data.val.x)  # type: ignore[union-attr]
            table = export_model(trainer).predict_table(raw)
            right = table.iloc[:, 0].astype(int).to_numpy() == data.val.y  # type: ignore[union-attr]
            assert right.mean() == pytest.approx(accuracies[value])
    assert accuracies[0.0] > 0.97 > accuracies[None]


@pytest.mark.parametrize("name", ["rnn", "transformer"])
def test_examples_without_steps_of_numbers_are_refused(name: str) -> None:
    with pytest.raises(BadConfigurationError, match="mask_value: must be left out but for seq"):
        build_model({"name": name, "mask_value": 0.0}, (9,), 2, Path(), num_tokens=5)


@pytest.mark.parametrize("name", ["rnn", "transformer"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_no_data_has_is_refused(name: str, value: float) -> None:
    with pytest.raises(BadConfigurationError, match="mask_value: must be a finite number"):
        build_model({"name": name, "mask_value": value}, (9, 2), 2, Path())


@pytest.fixture(scope="module")
def later() -> Data:
    return load_data({"name": f"{__name__}:said_later"}, seed=0)


def said_later() -> Any:
    """The class of a step is the symbol of the step after it, of the last its own."""
    drawn = np.random.default_rng(0).integers(0, 3, (400, 6))
    classes = np.concatenate([drawn[:, 1:], drawn[:, -1:]], 1)
    return {
        "train": (np.eye(3, dtype=np.float32)[drawn], classes),
        "classes": ["a", "b", "c"],
        "kind": "sequence_labelling",
        "standardize": False,
    }


@pytest.mark.parametrize(
    ("model", "keyword", "values"),
    [
        ({"name": "rnn", "hidden_size": 16}, "bidirectional", (False, True)),
        ({"name": "transformer", "width": 16, "heads": 2}, "causal", (True, False)),
    ],
    ids=["rnn", "transformer"],
)
def test_labels_of_steps_may_depend_on_later_ones(
    later: Data, model: dict[str, Any], keyword: str, values: tuple[bool, bool]
) -> None:
    found = []
    for value in values:
        sections = {
            "model": {**model, keyword: value},
            "optimizer": {"name": "adam", "lr": 0.02},
            "batch_size": 32,
        }
        trainer = Trainer(TrialConfig(0, 0, 6, sections), later)
        found.append([trainer.train_epoch() or {} for _ in range(6)][-1]["val_accuracy"])
    before, both = found
    assert before == pytest.approx((1 + 5 / 3) / 6, abs=0.1) and both > 0.95
