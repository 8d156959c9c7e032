"""Gradients of states over the steps of a sequence, where they are known and where they differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hpsearch import registry
from hpsearch.components import Data
from hpsearch.components.batch import Batch
from hpsearch.components.diagnostics.time_gradients import FLOW, NAME
from hpsearch.components.layers.cells import make_cell
from hpsearch.components.models.building import build_model
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer
from tests.support.effects import SECTIONS, data_of
from tests.support.problems import problems_of
from tests.support.specs import changed
from tests.support.trainers import goes_on_bit_for_bit

STEPS = 12


def squares(outputs: Tensor, batch: Batch) -> Tensor:
    value: Tensor = (outputs - batch.targets).square().mean()
    return value


def measured(model: nn.Module, x: Tensor, y: Tensor, **keywords: Any) -> dict[str, float]:
    callback = registry.get("callback", NAME).build(keywords)
    found: dict[str, float] = callback.measure(model, squares, Batch(x, y).split([len(x)]))
    return found


def net(**keywords: Any) -> nn.Module:
    torch.manual_seed(0)
    return build_model({"name": "rnn", "hidden_size": 16, **keywords}, (STEPS, 3), 1, Path())


def test_a_state_that_is_halved_at_each_step_halves_its_gradient() -> None:
    """h = relu(x + h / 2) of positive inputs: dL/dh of t steps before the end is that / 2^t."""
    model = net(cell={"name": "rnn", "nonlinearity": "relu"}, hidden_size=3)
    with torch.no_grad():
        for name, param in model.named_parameters():
            if "_l0" in name:
                diagonal = 0.5 if "hh" in name else 1.0
                param.copy_(torch.eye(3) * diagonal if param.ndim == 2 else torch.zeros(3))
    found = measured(model, torch.rand(8, STEPS, 3) + 0.1, torch.zeros(8, 1), by_step=True)
    steps = [found[f"gradient_rms/step_{t}"] for t in range(1, STEPS + 1)]
    halves = [steps[-1] * 0.5 ** (STEPS - t) for t in range(1, STEPS + 1)]
    assert steps == pytest.approx(halves, rel=1e-5)
    assert found[FLOW] == pytest.approx(0.5 ** (STEPS - 1), rel=1e-5)


def test_the_last_one_is_that_of_the_readout() -> None:
    model, x, y = net(cell="gru"), torch.randn(8, STEPS, 3), torch.randn(8, 1)
    residual = 2 * (model(x) - y) / len(x)
    expected = residual @ model.output.weight
    found = measured(model, x, y, by_step=True)
    rms = expected.square().mean().sqrt().item()
    assert found[f"gradient_rms/step_{STEPS}"] == pytest.approx(rms, rel=1e-4)


def test_they_vanish_in_a_plain_net_and_not_in_an_lstm_that_remembers() -> None:
    x, y = torch.randn(64, 40, 3), torch.randn(64, 1)
    plain, lstm = net(cell="rnn"), net(cell="lstm")
    with torch.no_grad():
        lstm.layers[0].cells[0].weights.bias_hh_l0[16:32].fill_(5.0)  # of the forget gate
    assert measured(plain, x, y)[FLOW] < 1e-9 < 0.03 < measured(lstm, x, y)[FLOW]


def test_they_explode_through_great_weights() -> None:
    model = net(cell={"name": "rnn", "nonlinearity": "relu"})
    with torch.no_grad():
        model.layers[0].cells[0].weights.weight_hh_l0.copy_(2 * torch.eye(16))
    assert measured(model, torch.rand(8, STEPS, 3), torch.zeros(8, 1))[FLOW] > 100


@pytest.mark.parametrize("cell", registry.names("cell"))
def test_watching_changes_no_outputs_of_any_cell(cell: str) -> None:
    torch.manual_seed(0)
    layer = make_cell(cell, 3, 5).eval()
    x, states = torch.randn(4, STEPS, 3), list[Tensor]()
    plain = layer(x)
    layer.on_state = states.append
    torch.testing.assert_close(layer(x), plain)
    torch.testing.assert_close(torch.stack(states, 1), plain)


def test_both_directions_and_all_layers_count() -> None:
    model = net(cell="gru", layers=2, bidirectional=True)
    found = measured(model, torch.randn(8, STEPS, 3), torch.randn(8, 1), by_step=True)
    assert len(found) == STEPS + 1 and all(value > 0 for value in found.values())


def test_only_so_many_rows_are_read_and_other_nets_have_none() -> None:
    callback, x = registry.get("callback", NAME).build({"rows": 5}), torch.randn(12, STEPS, 3)
    batches = iter(Batch(x, x[:, 0, :1]).split([4, 4, 4]))
    assert callback.measure(net(), squares, batches)
    assert len(list(batches)) == 1
    assert measured(nn.Linear(3, 1), x[:, 0], x[:, 0, :1]) == {}


class TestInATrainer:
    def trainer(self, data: Data, *callbacks: Any) -> Trainer:
        model = {"name": "rnn", "hidden_size": 6, "dropout": 0.2}
        values = {**SECTIONS, "model": model, "callbacks": list(callbacks)}
        return Trainer(TrialConfig(0, 0, 4, values), data)

    def test_frozen_layers_have_states_too(self) -> None:
        one = self.trainer(data_of("digits"), NAME)
        values = {**one.config.values, "finetune": "feature_extract"}
        frozen = Trainer(TrialConfig(0, 0, 4, values), data_of("digits"))
        found = [each.train_epoch() or {} for each in (one, frozen)]
        assert all(epoch[FLOW] > 0 for epoch in found)
        trained = [param.requires_grad for param in frozen.model.parameters()]
        assert any(trained) and not all(trained)

    def test_goes_on_bit_for_bit_and_changes_nothing(self) -> None:
        data = data_of("digits")
        curve = goes_on_bit_for_bit(*(self.trainer(data, NAME) for _ in range(3)))
        assert all(epoch[FLOW] > 0 for epoch in curve)
        plain = self.trainer(data).train_epoch()
        assert plain is not None
        assert {**plain, "seconds": 0} == {
            name: 0 if name == "seconds" else curve[0][name] for name in plain
        }


def test_mistakes() -> None:
    found = problems_of(changed(callbacks=[{"name": NAME, "rows": 0}]))
    assert found == ["callbacks.0.rows: must be greater than or equal to 1, but got 0"]


def test_a_net_without_steps_has_no_objective() -> None:
    """A model's trials would end without a value to compare."""
    recurrent, plain = {"name": "rnn", "hidden_size": 4}, {"name": "mlp", "hidden_sizes": [4]}
    spec = changed(
        dataset={"name": "digits", "train_rows": 60},
        model={"choices": [recurrent, plain]},
        callbacks=[NAME],
        batch_size=16,
    )
    objective = {"metric": FLOW, "direction": "maximize"}
    [found] = problems_of({**spec, "objective": objective})
    assert found.startswith("objective.metric: must be a metric that trials of mlp report, too (")
    assert problems_of({**spec, "objective": objective, "model": recurrent}) == []
    stop = {"name": "early_stopping", "metric": FLOW, "mode": "max"}
    [found] = problems_of({**spec, "callbacks": [NAME, stop]})
    assert "callbacks.1.metric: must be a metric of every epoch (" in found
