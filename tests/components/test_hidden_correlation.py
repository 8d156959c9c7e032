"""Correlations and effective ranks of hidden units, where they are known."""

from __future__ import annotations

import doctest
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import hpsearch.components.diagnostics.hidden_correlation
from hpsearch import registry
from hpsearch.components import Data
from hpsearch.components.batch import Batch
from hpsearch.components.diagnostics.hidden_correlation import CORRELATION, MOST_UNITS, NAME, RANK
from hpsearch.spec import TrialConfig, draft_spec
from hpsearch.training import Trainer
from hpsearch.validation import check
from tests.support.effects import SECTIONS, data_of
from tests.support.problems import problems_of
from tests.support.specs import changed
from tests.support.trainers import goes_on_bit_for_bit, make


def measured(model: nn.Module, x: Tensor, sizes: list[int] | None = None, **keywords: Any) -> Any:
    def read(split: str) -> Iterator[Batch]:
        assert split == "val"
        return Batch(x, torch.zeros(len(x))).split(sizes or [len(x)])

    return registry.get("callback", NAME).build(keywords).probe(model.eval(), read)


def through(weight: Tensor) -> nn.Module:
    """A layer of known weights, and a head that nothing depends on."""
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        layer.weight.copy_(weight)
    return nn.Sequential(layer, nn.Linear(weight.shape[0], 2))


def test_of_independent_units_and_of_one_that_is_repeated() -> None:
    x = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    independent = measured(through(torch.eye(2)), x)
    assert independent == pytest.approx({CORRELATION: 0.0, RANK: 1.0}, abs=1e-6)
    repeated = measured(through(torch.tensor([[1.0, 0], [2, 0], [-3, 0], [1, 0]])), x)
    assert repeated == pytest.approx({CORRELATION: 1.0, RANK: 0.25}, abs=1e-5)


def test_batches_add_up_to_what_numpy_has_of_all_rows() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Dropout(0.5), nn.Linear(5, 2)).eval()
    x = 3 * torch.randn(90, 6) + 2
    hidden = model[1](model[0](x)).detach().double().numpy()
    correlations = np.abs(np.corrcoef(hidden.T))[~np.eye(5, dtype=bool)]
    sizes = np.linalg.svd(hidden - hidden.mean(0), compute_uv=False)
    shares = sizes / sizes.sum()
    expected = {
        CORRELATION: correlations.mean(),
        RANK: np.exp(-(shares * np.log(shares)).sum()) / 5,
    }
    assert measured(model, x) == pytest.approx(expected, rel=1e-5)
    found = measured(model, x, [40, 30, 20], by_layer=True)
    assert found[f"{RANK}/0"] == found[RANK] == pytest.approx(expected[RANK], rel=1e-5)
    assert doctest.testmod(hpsearch.components.diagnostics.hidden_correlation).failed == 0


def test_constant_units_have_no_correlation() -> None:
    x = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    with_constant = measured(through(torch.tensor([[1.0, 0], [0, 1], [0, 0]])), x)
    assert with_constant[CORRELATION] == pytest.approx(0, abs=1e-6)
    assert with_constant[RANK] == pytest.approx(2 / 3, abs=1e-6)
    assert measured(through(torch.zeros(3, 2)), x) == {}


def test_a_unit_of_a_convolution_is_a_channel() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(1, 3, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.0, 2, -1]).view(3, 1, 1, 1))
    found = measured(nn.Sequential(layer, nn.Conv2d(3, 2, 1)), torch.randn(5, 1, 4, 4))
    assert found == pytest.approx({CORRELATION: 1.0, RANK: 1 / 3}, abs=1e-5)
    flattened = nn.Sequential(layer, nn.Flatten(), nn.Linear(3 * 16, 2))
    found = measured(flattened, torch.randn(400, 1, 4, 4))
    assert found[RANK] == pytest.approx(16 / 48, rel=0.02)  # pixels, each three times


def test_of_a_wide_layer_some_units_are_compared() -> None:
    torch.manual_seed(0)
    found = measured(through(torch.randn(2 * MOST_UNITS, 4)), torch.randn(20, 4))
    assert found[RANK] == pytest.approx(4 / MOST_UNITS, rel=0.1)


def test_only_so_many_rows_are_read() -> None:
    torch.manual_seed(0)
    model, x = through(torch.randn(5, 3)), torch.randn(30, 3)
    assert measured(model, x, [12, 12, 6], rows=18) == measured(model, x[:18], [12, 6])


class TestInATrainer:
    def test_goes_on_bit_for_bit_and_changes_nothing(self, wine: Data) -> None:
        trainers = [make(wine, callbacks=[NAME]) for _ in range(3)]
        curve = goes_on_bit_for_bit(trainers[0], trainers[1], trainers[2])
        plain = make(wine).train_epoch()
        assert plain is not None
        assert {**plain, "seconds": 0} == {
            name: 0 if name == "seconds" else curve[0][name] for name in plain
        }
        assert all(0 < epoch[CORRELATION] < 1 and 0 < epoch[RANK] < 1 for epoch in curve)

    @pytest.mark.parametrize(
        ("data", "model", "num_layers"),
        [
            ("digits", {"name": "cnn", "channels": [4, 4], "hidden_sizes": [8]}, 3),
            ("digits", {"name": "rnn", "hidden_size": 6, "layers": 2}, 2),
            ("digits", {"name": "resnet", "depths": [1, 1], "widths": [4, 6]}, 3),
            ("tokens", {"name": "transformer", "width": 8, "heads": 2, "layers": 2}, 3),
        ],
    )
    def test_each_layer_of_a_net_has_both(
        self, data: str, model: dict[str, Any], num_layers: int
    ) -> None:
        callbacks = [{"name": NAME, "by_layer": True}]
        values = {**SECTIONS, "model": model, "callbacks": callbacks}
        found = Trainer(TrialConfig(0, 0, 2, values), data_of(data)).train_epoch() or {}
        ranks = [value for name, value in found.items() if name.startswith(f"{RANK}/")]
        assert len(ranks) == num_layers
        assert found[RANK] == pytest.approx(sum(ranks) / num_layers)


def test_it_can_be_searched_for_and_mistakes_are_told() -> None:
    objective = {"metric": CORRELATION, "direction": "minimize"}
    check(draft_spec(changed(objective=objective, callbacks=[NAME])))
    found = problems_of(changed(callbacks=[{"name": NAME, "rows": 1}]))
    assert found == ["callbacks.0.rows: must be greater than or equal to 2, but got 1"]


def test_a_net_without_hidden_layers_has_no_objective() -> None:
    def problems(hidden_sizes: list[int]) -> list[str]:
        return problems_of(
            changed(
                objective={"metric": CORRELATION, "direction": "minimize"},
                model={"name": "mlp", "hidden_sizes": hidden_sizes},
                callbacks=[NAME],
            )
        )

    [found] = problems([])
    assert found.startswith("objective.metric: must be a metric that trials of mlp report, too (")
    assert problems([4]) == []
