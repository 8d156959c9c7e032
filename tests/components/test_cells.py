"""Recurrent cells, against torch's layers and formulas written out, and the nets made of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hpsearch import registry
from hpsearch.components import Data, load_data
from hpsearch.components.examples import Arrays
from hpsearch.components.initializers.by_name import initialize
from hpsearch.components.layers.cells import make_cell
from hpsearch.components.models.building import build_model
from hpsearch.errors import BadConfigurationError
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer

CELLS = registry.names("cell")
#: cells whose results in training depend on the other rows
BATCHED = ("bn_lstm", "laurent_bn_lstm")
#: as `torch.nn.Module.get_parameter` names them
W_IH, W_HH, B_IH, B_HH = (
    f"weights.{name}_l0" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
)


def make(name: str, input_size: int = 5, hidden_size: int = 7, **keywords: Any) -> Any:
    torch.manual_seed(0)
    return make_cell({"name": name, **keywords}, input_size, hidden_size)


def net(shape: tuple[int, ...] = (6, 5), folder: Path = Path(), **keywords: Any) -> Any:
    torch.manual_seed(0)
    return build_model({"name": "rnn", "hidden_size": 7, **keywords}, shape, 3, folder)


@pytest.mark.parametrize("name", CELLS)
class TestEveryCell:
    def test_maps_sequences_and_learns(self, name: str) -> None:
        cell, x = make(name), torch.randn(4, 6, 5, requires_grad=True)
        outputs = cell(x)
        assert outputs.shape == (4, 6, 7)
        outputs.square().sum().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in cell.parameters())
        assert x.grad is not None and (x.grad.abs().sum((0, 2)) > 0).all()

    def test_knows_the_past_only(self, name: str) -> None:
        cell, x = make(name).eval(), torch.randn(4, 6, 5)
        changed = torch.cat([x[:, :4], torch.randn(4, 2, 5)], 1)
        same = cell(x).isclose(cell(changed), atol=1e-6)
        assert same[:, :4].all() and not same[:, 4:].all()

    def test_rows_go_their_own_ways_in_evaluation(self, name: str) -> None:
        cell, x = make(name), torch.randn(8, 6, 5)
        cell(x)  # gives the batch norms something to know
        cell.eval()
        assert torch.allclose(cell(x)[2:3], cell(x[2:3]), atol=1e-6)

    def test_longer_sequences_work(self, name: str) -> None:
        cell = make(name)
        cell(torch.randn(4, 6, 5))
        assert cell.eval()(torch.randn(4, 40, 5)).isfinite().all()


# Those of indrnn have one weight of their state and no matrix, the others layers of their own.
@pytest.mark.parametrize(
    "name", sorted({*registry.names("cell")} - {"clockwork", "indrnn", "jordan"})
)
def test_is_drawn_by_initializers(name: str) -> None:
    model = net(cell=name)
    initialize(model, {"name": "he_normal", "recurrent": "orthogonal"}, Path())
    cell = model.layers[0].cells[0]
    for gate in cell.get_parameter(W_HH).split(7):
        assert torch.allclose(gate @ gate.T, torch.eye(7), atol=1e-5)
    assert (cell.get_parameter(B_IH) == 0).all() and (cell.get_parameter(B_HH) == 0).all()


class TestIndependent:
    def test_a_sum_of_all_inputs(self) -> None:
        """With u = 1 and positive inputs nothing is forgotten."""
        cell = make("indrnn", 3, 3)
        with torch.no_grad():
            cell.own.fill_(1.0)
            cell.inputs.weight.copy_(torch.eye(3))
            cell.inputs.bias.zero_()
        x = torch.rand(2, 6, 3)
        assert torch.allclose(cell(x), x.cumsum(1))

    def test_units_do_not_see_each_other(self) -> None:
        cell, x = make("indrnn", 3, 4), torch.rand(1, 5, 3)
        with torch.no_grad():
            cell.inputs.weight.abs_()  # all units are on
            before = cell(x)
            cell.own[1] = -0.5
        same = (cell(x) == before).all(1)[0]
        assert same.tolist() == [True, False, True, True]

    def test_what_a_unit_keeps_at_most_doubles(self) -> None:
        cell = make("indrnn", 1, 1)
        with torch.no_grad():
            cell.own.fill_(5.0)
            cell.inputs.weight.fill_(1.0)
            cell.inputs.bias.zero_()
        x = torch.zeros(1, 9, 1)
        x[:, 0] = 1.0
        assert cell(x)[0, -1].item() == pytest.approx(2 ** (8 / 9), rel=1e-5)


class TestClockwork:
    def test_units_are_updated_at_their_periods(self) -> None:
        torch.manual_seed(0)
        outputs = make("clockwork", 3, 6, periods=[1, 2, 4])(torch.randn(1, 9, 3))[0]
        changes = (outputs[1:] != outputs[:-1]).T.long()  # at steps 1 to 8
        assert changes[:2].tolist() == [[1] * 8] * 2
        assert changes[2:4].tolist() == [[0, 1, 0, 1, 0, 1, 0, 1]] * 2
        assert changes[4:].tolist() == [[0, 0, 0, 1, 0, 0, 0, 1]] * 2

    def test_it_is_an_elman_net_with_the_period_one(self) -> None:
        torch.manual_seed(0)
        cell: Any = make("clockwork", 3, 4, periods=[1])
        plain = nn.RNN(3, 4, batch_first=True)
        with torch.no_grad():
            plain.weight_ih_l0.copy_(cell.inputs.weight)
            plain.weight_hh_l0.copy_(cell.context.weight)
            plain.bias_ih_l0.copy_(cell.inputs.bias)
            plain.bias_hh_l0.zero_()
        x = torch.randn(2, 5, 3)
        torch.testing.assert_close(cell(x), plain(x)[0])

    def test_faster_modules_see_slower_ones_and_not_the_other_way(self) -> None:
        cell: Any = make("clockwork", 1, 4, periods=[1, 3])
        assert cell.sees.tolist() == [[1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1]]
        x = torch.randn(1, 8, 1)
        with torch.no_grad():
            before = cell(x)
            cell.context.weight[:2] += 1.0  # of what the fast units see
        assert torch.equal(cell(x)[..., 2:], before[..., 2:])
        assert not torch.allclose(cell(x)[..., :2], before[..., :2])

    @pytest.mark.parametrize("periods", [[2, 1], [1, 1], [1, 2, 3, 4, 5]])
    def test_refuses_periods(self, periods: list[int]) -> None:
        with pytest.raises(BadConfigurationError, match="periods: must"):
            make("clockwork", 3, 4, periods=periods)


def test_jordan_feeds_back_its_outputs() -> None:
    cell: Any = make("jordan", 3, 4)
    x = torch.randn(2, 5, 3)
    y, expected = torch.zeros(2, 4), []
    for t in range(5):
        hidden = cell.inputs.weight @ x[:, t].T + cell.context.weight @ y.T
        h = torch.tanh(hidden.T + cell.inputs.bias)
        y = torch.tanh(h @ cell.outputs.weight.T + cell.outputs.bias)
        expected.append(y)
    torch.testing.assert_close(cell(x), torch.stack(expected, 1))


@pytest.mark.parametrize(("name", "layer"), [("rnn", nn.RNN), ("lstm", nn.LSTM), ("gru", nn.GRU)])
def test_plain_cells_are_torchs(name: str, layer: Any) -> None:
    cell, other = make(name), layer(5, 7, batch_first=True)
    other.load_state_dict(cell.weights.state_dict())
    x = torch.randn(4, 6, 5)
    assert torch.equal(cell(x), other(x)[0])


def test_the_parameters_of_an_lstm() -> None:
    """4 (inputs hidden + hidden hidden + 2 hidden): torch has two bias vectors."""
    assert sum(param.numel() for param in make("lstm", 10, 20).parameters()) == 2560


def test_the_forget_bias_is_in_one_of_two_vectors() -> None:
    model = net(cell="ln_lstm")
    initialize(model, {"name": "torch_default", "forget_bias": 1.0}, Path())
    cell = model.layers[0].cells[0]
    both = cell.get_parameter(B_IH) + cell.get_parameter(B_HH)
    assert (both[7:14] == 1).all() and not (both[:7] == 1).any()


def expected_ln_rnn(cell: nn.Module, x: Tensor) -> Tensor:
    w_ih, w_hh, b_ih, b_hh = (cell.get_parameter(name) for name in (W_IH, W_HH, B_IH, B_HH))
    h = torch.zeros(len(x), 7)
    for x_t in x.unbind(1):
        h = torch.tanh(ln(x_t @ w_ih.T) + b_ih + ln(h @ w_hh.T) + b_hh)
    return h


def expected_ln_lstm(cell: nn.Module, x: Tensor) -> Tensor:
    w_ih, w_hh, b_ih, b_hh = (cell.get_parameter(name) for name in (W_IH, W_HH, B_IH, B_HH))
    h = c = torch.zeros(len(x), 7)
    for x_t in x.unbind(1):
        gates = ln(x_t @ w_ih.T) + b_ih + ln(h @ w_hh.T) + b_hh
        i, f, g, o = gates.split(7, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * ln(c).tanh()
    return h


def expected_ln_gru(cell: nn.Module, x: Tensor) -> Tensor:
    w_ih, w_hh, b_ih, b_hh = (cell.get_parameter(name) for name in (W_IH, W_HH, B_IH, B_HH))
    h = torch.zeros(len(x), 7)
    for x_t in x.unbind(1):
        gates = ln(x_t @ w_ih[:14].T) + b_ih[:14] + ln(h @ w_hh[:14].T) + b_hh[:14]
        r, z = gates.sigmoid().split(7, 1)
        n = torch.tanh(ln(x_t @ w_ih[14:].T) + b_ih[14:] + r * (ln(h @ w_hh[14:].T) + b_hh[14:]))
        h = (1 - z) * n + z * h
    return h


def ln(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:])


@pytest.mark.parametrize(
    ("name", "expected"),
    [("ln_rnn", expected_ln_rnn), ("ln_lstm", expected_ln_lstm), ("ln_gru", expected_ln_gru)],
)
class TestLayerNorm:
    def test_follows_its_formula(self, name: str, expected: Any) -> None:
        cell, x = make(name), torch.randn(4, 6, 5)
        assert torch.allclose(cell(x)[:, -1], expected(cell, x), atol=1e-5)

    def test_the_scale_of_recurrent_weights_does_not_matter(
        self, name: str, expected: Any
    ) -> None:
        cell, x = make(name, 5, 32, eps=1e-12), torch.randn(4, 6, 5)
        before = cell(x)
        with torch.no_grad():
            cell.get_parameter(W_HH).mul_(10)
        assert torch.allclose(cell(x), before, atol=1e-4)

    def test_training_works_row_by_row(self, name: str, expected: Any) -> None:
        cell, x = make(name), torch.randn(4, 6, 5)
        assert torch.allclose(cell(x)[1:2], cell(x[1:2]), atol=1e-6)


class TestRecurrentBatchNorm:
    def test_follows_its_formula_in_training(self) -> None:
        cell, x = make("bn_lstm", h0_noise=0.0), torch.randn(9, 4, 5)
        w_ih, w_hh, b_ih, b_hh = (cell.get_parameter(name) for name in (W_IH, W_HH, B_IH, B_HH))
        h = c = torch.zeros(9, 7)
        for x_t in x.unbind(1):
            gates = 0.1 * (bn(x_t @ w_ih.T) + bn(h @ w_hh.T)) + b_ih + b_hh
            i, f, g, o = gates.split(7, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * (0.1 * bn(c)).tanh()
        assert torch.allclose(cell(x)[:, -1], h, atol=1e-5)

    def test_each_step_has_statistics_of_its_own_up_to_t_max(self) -> None:
        norm = make("bn_lstm", t_max=3, momentum=1.0).norm_x
        gates = torch.randn(500, 3, 28) * torch.tensor([1.0, 5.0, 10.0]).view(3, 1)
        norm(gates)
        spread = [step.running_var.mean().sqrt().item() for step in norm.norm.steps]
        assert spread == pytest.approx([1, 5, 10], rel=0.05)
        norm.eval()
        third, sixth = (norm(gates.repeat(1, 2, 1))[:, step] for step in (2, 5))
        assert torch.equal(third, sixth)
        assert third.std().item() == pytest.approx(0.1, rel=0.05)

    def test_scale_and_noise(self) -> None:
        cell = make("bn_lstm", gamma_init=0.3, h0_noise=0.5)
        weights = [cell.norm_h.weight, cell.norm_x.norm.weight, cell.norm_c.weight]
        assert all((weight == 0.3).all() for weight in weights)
        assert cell.norm_h.bias is None and (cell.norm_c.bias == 0).all()
        h, c = cell.first_state(torch.zeros(2000, 4, 5))
        assert h.std().item() == pytest.approx(0.5, rel=0.05) and (c == 0).all()
        assert (cell.eval().first_state(torch.zeros(3, 4, 5))[0] == 0).all()


def bn(x: Tensor) -> Tensor:
    return F.batch_norm(x, None, None, training=True)


class TestLaurent:
    def test_normalises_what_comes_from_the_inputs_over_rows_and_time(self) -> None:
        cell, x = make("laurent_bn_lstm", eps=1e-12), torch.randn(9, 6, 5)
        gates = cell.norm_x(x @ cell.get_parameter(W_IH).T).flatten(0, 1)
        assert gates.mean(0).abs().max().item() == pytest.approx(0, abs=1e-5)
        assert gates.var(0, unbiased=False).tolist() == pytest.approx([1.0] * 28, abs=1e-4)
        before = cell(x)
        with torch.no_grad():
            cell.get_parameter(W_IH).mul_(10)
        assert torch.allclose(cell(x), before, atol=1e-5)

    def test_does_not_normalise_the_state(self) -> None:
        cell, x = make("laurent_bn_lstm"), torch.randn(9, 6, 5)
        before = cell(x)
        with torch.no_grad():
            cell.get_parameter(W_HH).mul_(10)
        assert not torch.allclose(cell(x), before, atol=1e-2)


class TestNet:
    def test_two_layers_in_both_directions_are_torchs(self) -> None:
        model = net(layers=2, bidirectional=True)
        other = nn.LSTM(5, 7, num_layers=2, bidirectional=True, batch_first=True)
        state = {
            f"{name}{suffix}": value
            for i, layer in enumerate(model.layers)
            for cell, suffix in zip(layer.cells, (f"_l{i}", f"_l{i}_reverse"), strict=True)
            for name, value in _without_suffix(cell.weights)
        }
        other.load_state_dict(state)
        x = torch.randn(4, 6, 5)
        _, (h, _) = other(x)
        expected = model.output(torch.cat([h[2], h[3]], 1))  # of the last layer
        assert torch.allclose(model(x), expected, atol=1e-6)

    @pytest.mark.parametrize(
        ("readout", "expected"),
        [
            ("last", lambda h: h[:, -1]),
            ("mean", lambda h: h.mean(1)),
            ("max", lambda h: h.amax(1)),
        ],
    )
    def test_readouts(self, readout: str, expected: Any) -> None:
        model, x = net(readout=readout), torch.randn(4, 6, 5)
        outputs = model.layers[0].cells[0](x)
        assert torch.allclose(model(x), model.output(expected(outputs)), atol=1e-6)

    def test_images_are_read_row_by_row(self) -> None:
        model, x = net((2, 4, 3)), torch.randn(5, 2, 4, 3)
        rows = torch.stack([torch.cat([x[:, 0, i], x[:, 1, i]], 1) for i in range(4)], 1)
        assert torch.equal(model(x), model(rows))

    def test_a_plain_dropout_is_new_at_each_step_a_spatial_one_is_not(self) -> None:
        x = torch.randn(50, 6, 5)
        dropped = {form: net(dropout=form).layers[0](x) == 0 for form in ("standard", "spatial")}
        same_at_all_steps = {form: (d.all(1) | ~d.any(1)).all() for form, d in dropped.items()}
        assert same_at_all_steps["spatial"] and not same_at_all_steps["standard"]
        assert all(d.any() for d in dropped.values())

    def test_tables_are_refused(self) -> None:
        with pytest.raises(BadConfigurationError, match=r"rnn needs sequences .* shape \(13,\)"):
            net((13,))

    @pytest.mark.parametrize("cell", ["rnn", "ln_rnn"])
    def test_a_cell_without_gates_has_no_candidate_to_drop(self, cell: str) -> None:
        with pytest.raises(BadConfigurationError, match="rec_mem drops the candidate of a gated"):
            net(cell=cell, dropout={"name": "rec_mem", "rate": 0.0})

    def test_a_users_cell(self, tmp_path: Path) -> None:
        (tmp_path / "cells_of_mine.py").write_text(
            "from torch import nn\n"
            "def memoryless(input_size, hidden_size):\n"
            "    return nn.Sequential(nn.Linear(input_size, hidden_size), nn.Tanh())\n"
        )
        mine: dict[str, Any] = {"cell": "cells_of_mine.py:memoryless", "folder": tmp_path}
        assert net(**mine, layers=2, dropout=0.1)(torch.randn(4, 6, 5)).shape == (4, 3)
        with pytest.raises(BadConfigurationError, match="need one of hpsearch's cells, but got S"):
            net(**mine, dropout="weight_drop")


def _without_suffix(weights: nn.Module) -> list[tuple[str, Tensor]]:
    return [(name.removesuffix("_l0"), value) for name, value in weights.state_dict().items()]


@pytest.fixture(scope="module")
def digits() -> Data:
    """60 rows of digits to train, 20 to validate."""
    data = load_data({"name": "digits"}, seed=0)
    assert isinstance(data.train, Arrays) and isinstance(data.val, Arrays)
    train, val = data.train.rows(np.arange(60)), data.val.rows(np.arange(20))
    return replace(data, train=train, val=val)


def trainer(data: Data, max_epochs: int = 2, **model: Any) -> Trainer:
    values = {
        "model": {"name": "rnn", "hidden_size": 16, **model},
        "optimizer": {"name": "adam", "lr": 0.01},
        "batch_size": 20,
    }
    return Trainer(TrialConfig(0, 0, max_epochs, values), data)


MODELS: list[dict[str, Any]] = [
    *({"cell": cell} for cell in CELLS),
    *({"dropout": name} for name in registry.names("dropout")),
    {"cell": "bn_lstm", "dropout": "variational_rnn", "bidirectional": True, "layers": 2},
    {"dropout": 0.3, "mc_dropout_samples": 3},
]


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_one_and_one_epoch_are_two(digits: Data, model: dict[str, Any]) -> None:
    whole, second = trainer(digits, **model), trainer(digits, **model)
    whole.train_epoch()
    second.load_state_dict(whole.state_dict())
    one, other = whole.train_epoch(), second.train_epoch()
    assert one is not None and other is not None
    assert {**one, "seconds": 0} == {**other, "seconds": 0}
