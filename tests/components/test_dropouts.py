"""Dropout in all its forms: what is dropped, how it is scaled, and when."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hpsearch import registry
from hpsearch.components import load_data
from hpsearch.components.data import Kind
from hpsearch.components.layers.dropouts import (
    MonteCarlo,
    RecurrentDropout,
    WordDropout,
    make_dropout,
)
from hpsearch.components.layers.modules import Dropout
from hpsearch.components.layers.recurrence import GRU, LSTM, Cell, SimpleRNN
from hpsearch.components.models.building import build_model
from hpsearch.components.tasks.heads import HEAD, Head, Linear
from hpsearch.errors import BadConfigurationError, SpecError
from hpsearch.spec import Range, draft_spec
from hpsearch.training import export_model
from hpsearch.validation import check
from tests.support.specs import changed
from tests.support.trainers import make as trainer_of

RECURRENT = ("naive_rnn", "variational_rnn", "rec_mem", "weight_drop")
PLAIN = [name for name in registry.names("dropout") if name not in RECURRENT]


def make(name: str, **keywords: Any) -> Any:
    torch.manual_seed(0)
    return make_dropout({"name": name, **keywords}, is_recurrent=True)


@pytest.mark.parametrize("name", registry.names("dropout"))
def test_forms_are_either_for_activations_or_for_cells(name: str) -> None:
    assert isinstance(make(name), RecurrentDropout) == (name in RECURRENT)


class TestEveryPlainForm:
    @pytest.mark.parametrize("name", PLAIN)
    def test_keeps_mean_and_shape_and_does_nothing_in_evaluation(self, name: str) -> None:
        form = make(name)
        x = torch.randn(400, 50, 2, 2)
        assert form(x).shape == x.shape
        assert form(x).mean().item() == pytest.approx(0, abs=0.01)
        assert torch.equal(form(x), x) == (name == "none")
        assert form.eval()(x) is x

    @pytest.mark.parametrize("name", [name for name in PLAIN if name != "none"])
    def test_draws_nothing_at_rate_0(self, name: str) -> None:
        form, x, state = make(name, rate=0.0), torch.randn(5, 4), torch.get_rng_state()
        assert form(x) is x
        assert torch.equal(torch.get_rng_state(), state)

    @pytest.mark.parametrize("name", [name for name in PLAIN if name != "none"])
    def test_no_gradient_passes_where_a_value_is_dropped(self, name: str) -> None:
        form, x = make(name, rate=0.5), torch.randn(40, 30, requires_grad=True)
        y = form(x)
        y.sum().backward()
        assert x.grad is not None
        kept = (x.grad != 0).float().mean().item()
        assert kept == pytest.approx(0.5, abs=0.05)
        dropped = y[x.grad == 0]
        assert torch.allclose(dropped, dropped[0].expand_as(dropped))

    @pytest.mark.parametrize("name", RECURRENT)
    def test_recurrent_ones_are_refused_elsewhere(self, name: str) -> None:
        rule = f"^dropout: must be a form for nets without recurrence, but got {name!r}"
        with pytest.raises(BadConfigurationError, match=rule):
            build_model({"name": "mlp", "dropout": name}, (4,), 3, Path())
        with pytest.raises(BadConfigurationError, match="^conv_dropout: must be a form for"):
            build_model(_CNN | {"conv_dropout": name}, (1, 8, 8), 10, Path())


def test_classic_scaling_is_the_same_function_at_another_rate_of_learning() -> None:
    """W_inverted = (1 - p) W_classic stays true if its learning rate is (1 - p)² times as high."""
    rate, lr = 0.4, 0.1
    forms = {scaling: make("standard", rate=rate, scaling=scaling) for scaling in _SCALINGS}
    weights = {"classic": torch.randn(3, 20), "inverted": torch.empty(0)}
    weights["inverted"] = (1 - rate) * weights["classic"]
    rates = {"classic": lr, "inverted": (1 - rate) ** 2 * lr}
    x, target = torch.randn(8, 20), torch.randn(8, 3)
    for step in range(3):
        for scaling, form in forms.items():
            torch.manual_seed(step)
            weight = weights[scaling].requires_grad_()
            loss = (form.train()(x) @ weight.T - target).square().mean()
            (gradient,) = torch.autograd.grad(loss, weight)
            weights[scaling] = (weight - rates[scaling] * gradient).detach()
    outputs = [forms[scaling].eval()(x) @ weights[scaling].T for scaling in _SCALINGS]
    assert torch.allclose(*outputs, atol=1e-6)
    assert torch.allclose(forms["classic"](x), (1 - rate) * x)


_SCALINGS = ("inverted", "classic")


class TestSpatial:
    def test_drops_whole_channels(self) -> None:
        y = make("spatial", rate=0.3)(torch.ones(200, 50, 4, 4)).flatten(2)
        assert torch.equal(y.amin(-1), y.amax(-1))
        assert (y[..., 0] == 0).float().mean().item() == pytest.approx(0.3, abs=0.02)
        assert y.max().item() == pytest.approx(1 / 0.7)

    def test_follows_convolutions(self) -> None:
        model = build_model(_CNN | {"conv_dropout": 0.25}, (1, 8, 8), 10, Path())
        rates = {type(each).__name__: each.extra_repr() for each in model.children()}
        assert rates["SpatialDropout"] == "rate=0.25"
        plain = build_model(_CNN, (1, 8, 8), 10, Path())
        assert len(plain) == len(model) - 1  # type: ignore[arg-type]


_CNN = {"name": "cnn", "channels": [4], "hidden_sizes": [8], "dropout": 0.1}


class TestAlpha:
    @pytest.mark.parametrize(
        ("rate", "a", "b"),
        [
            (0.05, 0.9548444760, 0.0839355722),
            (0.1, 0.9212845162, 0.1619709706),
            (0.2, 0.8789035834, 0.3090399621),
            (0.5, 0.8864048947, 0.7791939305),
        ],
    )
    def test_its_affine_map(self, rate: float, a: float, b: float) -> None:
        form = make("alpha", rate=rate)
        assert form.a.item() == pytest.approx(a, rel=1e-6)
        assert form.b.item() == pytest.approx(b, rel=1e-6)

    def test_zeros_become_two_values_as_torch_has_it(self) -> None:
        x = torch.zeros(1000)
        found = sorted(set(make("alpha", rate=0.1)(x).tolist()))
        assert found == pytest.approx([-1.4577, 0.1620], abs=1e-4)
        assert found == pytest.approx(sorted(set(nn.AlphaDropout(0.1)(x).tolist())), rel=1e-5)

    def test_keeps_mean_and_variance(self) -> None:
        y = make("alpha", rate=0.1)(torch.randn(200_000))
        assert y.mean().item() == pytest.approx(0, abs=0.01)
        assert y.var().item() == pytest.approx(1, abs=0.02)


def cell_with(kind: type[Cell], size: int, weight_ih: Tensor, weight_hh: Tensor) -> Cell:
    """A cell with these weights and without biases."""
    cell = kind(size, size, **({"nonlinearity": "relu"} if kind is SimpleRNN else {}))
    with torch.no_grad():
        for param in cell.parameters():
            param.zero_()
        cell.weights.get_parameter("weight_ih_l0").copy_(weight_ih)
        cell.weights.get_parameter("weight_hh_l0").copy_(weight_hh)
    return cell


class TestRecurrent:
    @pytest.mark.parametrize("kind", [SimpleRNN, LSTM, GRU])
    def test_rates_of_0_are_torchs_layer(self, kind: type[Cell]) -> None:
        torch.manual_seed(0)
        cell, x = kind(5, 7), torch.randn(3, 6, 5)
        dropout = RecurrentDropout(update=0.0, tied=False)
        for part in dropout.children():
            if isinstance(part, Dropout):
                part.active = True  # as in a program that is shared with other rates
        assert dropout.is_on
        assert torch.allclose(cell(x, dropout), cell.weights(x)[0], atol=1e-6)

    @pytest.mark.parametrize(("name", "kept"), [("naive_rnn", 0.5**10), ("variational_rnn", 0.5)])
    def test_what_is_left_of_a_memory_after_ten_steps(self, name: str, kept: float) -> None:
        cell = cell_with(SimpleRNN, 50, torch.eye(50), torch.eye(50))
        x = torch.zeros(2000, 11, 50)
        x[:, 0] = 1.0
        left = (cell(x, make(name, p_in=0.0, p_rec=0.5))[:, -1] > 0).float().mean().item()
        assert left == pytest.approx(kept, rel=0.2)

    @pytest.mark.parametrize("tied", [True, False])
    def test_a_variational_mask_is_the_same_at_each_step(self, tied: bool) -> None:
        dropout = make("variational_rnn", p_in=0.5, p_rec=0.5, p_out=0.5, tied=tied)
        num_masks = 1 if tied else 4
        masks = dropout.input_masks(torch.ones(3, 6, 5), num_gates=4)
        assert [mask.shape for mask in masks] == [(3, 1, 5)] * num_masks
        assert not any(torch.equal(masks[0], other) for other in masks[1:])
        first = dropout.state_masks(torch.ones(3, 7), 4, None)
        assert len(first) == num_masks
        assert dropout.state_masks(torch.ones(3, 7), 4, first) is first
        outputs = dropout.drop_outputs(torch.ones(3, 6, 5))
        assert torch.equal(outputs, outputs[:, :1].expand_as(outputs))
        assert set(outputs.unique().tolist()) == {0.0, 2.0}

    @pytest.mark.parametrize(
        "section",
        [
            {"name": "naive_rnn", "p_in": 0.3, "p_rec": 0.3},
            {"name": "variational_rnn", "p_in": 0.3, "p_rec": 0.3, "p_out": 0.3},
            {"name": "variational_rnn", "p_in": 0.3, "p_rec": 0.3, "tied": False},
        ],
    )
    def test_the_mean_over_masks_is_that_of_a_linear_cell(self, section: dict[str, Any]) -> None:
        torch.manual_seed(0)
        cell = cell_with(SimpleRNN, 4, torch.rand(4, 4), 0.5 * torch.rand(4, 4))
        x = torch.rand(1, 2, 4).expand(20_000, -1, -1)  # positive: relu is the identity
        outputs = cell(x, make(**section))[:, -1].mean(0)
        assert torch.allclose(outputs, cell(x[:1])[0, -1], rtol=0.03)

    def test_rec_mem_drops_candidates_only(self) -> None:
        gates = torch.zeros(4, 20, 20)
        gates[2] = torch.eye(20)
        cell = cell_with(LSTM, 20, gates.flatten(0, 1), torch.zeros(80, 20))
        bias = cell.weights.get_parameter("bias_ih_l0")
        with torch.no_grad():
            bias[20:40] = 100.0  # the forget gate stays open
            bias[:20] = 100.0
        x = torch.zeros(50, 8, 20)
        x[:, 0] = 1.0
        outputs = cell(x, make("rec_mem", rate=0.4))
        # What the first step kept of its candidate is kept for ever: tanh(0) adds nothing.
        assert torch.allclose(outputs[:, 0], outputs[:, -1], atol=1e-6)
        assert (outputs[:, -1] == 0).float().mean().item() == pytest.approx(0.4, abs=0.04)

    def test_weight_drop_takes_weights_of_the_state_out_once_a_batch(self) -> None:
        torch.manual_seed(0)
        cell = LSTM(10, 30)
        cell(torch.randn(4, 6, 10), make("weight_drop", rate=0.3)).square().sum().backward()
        gradient = cell.weights.get_parameter("weight_hh_l0").grad
        of_inputs = cell.weights.get_parameter("weight_ih_l0").grad
        assert gradient is not None and of_inputs is not None
        assert (gradient == 0).float().mean().item() == pytest.approx(0.3, abs=0.02)
        assert (of_inputs != 0).all()

    @pytest.mark.parametrize("name", RECURRENT)
    def test_evaluation_drops_nothing(self, name: str) -> None:
        torch.manual_seed(0)
        cell, x, dropout = LSTM(5, 7).eval(), torch.randn(3, 6, 5), make(name).eval()
        assert torch.equal(cell(x, dropout), cell(x))
        assert not torch.allclose(cell(x, dropout.train()), cell(x))


class TestWords:
    IDS = torch.tensor([[0, 1, 0, 2, 0, 1]]).repeat(2000, 1)

    def test_a_word_is_dropped_at_all_its_places_in_a_sequence(self) -> None:
        torch.manual_seed(0)
        found = WordDropout(0.25, 3).of_words(torch.ones(2000, 6, 4), self.IDS)
        assert found.unique().tolist() == [0.0, pytest.approx(4 / 3)]
        assert torch.equal(found, found[:, :, :1].expand_as(found))
        for word in range(3):
            places = found[:, self.IDS[0] == word, 0]
            assert torch.equal(places, places[:, :1].expand_as(places))
            assert (places[:, 0] == 0).double().mean() == pytest.approx(0.25, abs=0.03)
        assert not torch.equal(found[:, 0], found[:, 1])

    def test_none_is_dropped_in_evaluation(self) -> None:
        vectors = torch.ones(2000, 6, 4)
        assert torch.equal(WordDropout(0.25, 3).eval().of_words(vectors, self.IDS), vectors)

    @pytest.mark.parametrize("name", ["rnn", "transformer"])
    def test_models_of_tokens_have_it_and_others_refuse_it(self, name: str) -> None:
        section = {"name": name, "p_embed": 0.5}
        torch.manual_seed(0)
        model = build_model(section, (6,), 3, Path(), output_shape=(6, 3), num_tokens=3).train()
        ids = self.IDS[:1].repeat(200, 1)
        assert 4 < len(model(ids).detach().flatten(1).unique(dim=0)) <= 8  # of three words
        with pytest.raises(BadConfigurationError, match="p_embed: must be 0 where inputs are num"):
            build_model(section, (6, 2), 3, Path())


class TestMonteCarlo:
    def test_averages_over_masks_in_evaluation(self) -> None:
        torch.manual_seed(0)
        model = MonteCarlo(nn.Sequential(Dropout(0.5), nn.Linear(6, 2)), 2000, Linear()).eval()
        x, state = torch.randn(4, 6), torch.get_rng_state()
        first = model(x)
        assert torch.equal(torch.get_rng_state(), state)
        assert torch.equal(first, model(x))
        # a linear model's mean is that of the whole net
        assert torch.allclose(first, model.model(x), atol=0.1)
        assert not torch.allclose(first, model.model(x), atol=1e-4)
        assert not any(module.training for module in model.modules())

    def test_trains_as_the_model_does(self) -> None:
        model = nn.Sequential(Dropout(0.5), nn.Linear(6, 2))
        x, outputs = torch.randn(4, 6), []
        for each in (model, MonteCarlo(model, 10, Linear())):
            torch.manual_seed(1)
            outputs.append(each(x))
        assert torch.equal(*outputs)

    @pytest.mark.parametrize(
        "dropout", [0.5, {"name": "variational_rnn", "p_out": 0.5}, "weight_drop"]
    )
    def test_is_a_keyword_of_every_model(self, dropout: Any) -> None:
        torch.manual_seed(0)
        section = {"name": "rnn", "dropout": dropout, "mc_dropout_samples": 3}
        model = build_model(section, (5, 4), 2, Path()).eval()
        assert isinstance(model, MonteCarlo)
        x = torch.randn(3, 5, 4)
        assert not torch.allclose(model(x), model.model(x), atol=1e-6)

    def test_needs_dropout(self) -> None:
        with pytest.raises(BadConfigurationError, match="mc_dropout_samples: needs a model with"):
            MonteCarlo(nn.Linear(3, 2), 2, Linear())

    @pytest.mark.parametrize(
        ("head", "kind"),
        [
            ("softmax", "classification"),
            ("sigmoid", "classification"),
            ("sigmoid", "multilabel"),
            ("svm", "classification"),
            ("linear", "regression"),
        ],
    )
    def test_is_the_mean_of_the_predictions(self, head: str, kind: Kind) -> None:
        torch.manual_seed(0)
        inner = nn.Sequential(nn.Linear(6, 16), Dropout(0.5), nn.Linear(16, 3))
        made: Head = HEAD.build(head, kind=kind)
        x = 5 * torch.randn(40, 6)
        model = MonteCarlo(inner, 8, made).eval()
        samples = masked_outputs(inner, x, 8)
        found = made(model(x))
        torch.testing.assert_close(found, made(samples).mean(0), rtol=1e-4, atol=1e-6)
        apart = (found - made(samples.mean(0))).abs().max().item()
        assert (apart > 0.09) == made.gives_probabilities  # else the outputs are the predictions

    @pytest.mark.parametrize("head", ["softmax", "sigmoid"])
    def test_sure_predictions_are_finite(self, head: str) -> None:
        """Of probabilities that are 0 or 1 to a float."""
        outputs = torch.tensor([[[300.0, -300.0, 0.0]], [[299.0, -250.0, 0.0]]])
        kinds: list[Kind] = ["classification"]
        if head == "sigmoid":
            kinds.append("multilabel")
        for kind in kinds:
            made: Head = HEAD.build(head, kind=kind)
            assert made.logits(made.mean(outputs)).isfinite().all()

    @pytest.mark.parametrize("dataset", ["wine", "diabetes"])
    def test_in_a_trainer_and_exported(self, dataset: str) -> None:
        data = load_data({"name": dataset}, seed=0)
        section = {"name": "mlp", "hidden_sizes": [16], "dropout": 0.5, "mc_dropout_samples": 8}
        trainer = trainer_of(data, model=section)
        trainer.train_epoch()
        outputs, targets = trainer.predict("val")
        inner: Any = trainer.model.model
        x = torch.from_numpy(data.val.x)  # type: ignore[union-attr]
        predicted = trainer.task.head(masked_outputs(inner, x, 8)).mean(0)
        torch.testing.assert_close(trainer.task.head(outputs), predicted, rtol=1e-4, atol=1e-6)
        if dataset == "wine":
            loss = F.nll_loss(predicted.log(), targets).item()
            assert trainer.evaluate("val")["val_loss"] == pytest.approx(loss, rel=1e-4)
            raw = torch.from_numpy(data.as_raw(data.val.x))
            exported = export_model(trainer).predict_proba(raw)
            torch.testing.assert_close(exported, predicted, rtol=1e-3, atol=1e-5)


def masked_outputs(model: nn.Module, x: Tensor, num_samples: int) -> Tensor:
    """The outputs under the masks that `MonteCarlo` draws, (samples, rows, outputs)."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        samples = torch.stack([model.train()(x) for _ in range(num_samples)])
    model.eval()
    return samples


class TestInASpec:
    def test_a_rate_is_short_for_the_standard_form(self) -> None:
        spec = check(
            draft_spec(changed(model={"name": "mlp", "dropout": {"low": 0, "high": 0.4}}))
        )
        assert spec.model["dropout"] == Range(low=0, high=0.4)
        alpha = {"name": "alpha", "rate": "auto"}
        spec = check(draft_spec(changed(model={"name": "mlp", "dropout": alpha})))
        assert spec.model["dropout"] == {
            "name": "alpha",
            "rate": Range(low=0.0, high=0.1, prior=0.05, confidence="low"),
        }

    @pytest.mark.parametrize(
        ("dropout", "expected"),
        [
            (1.0, "model.dropout: must be less than 1, but got 1.0"),
            ("alfa", "model.dropout: must be one of alpha, naive_rnn"),
            ({"name": "alpha", "p": 0.1}, "model.dropout.p: must be a keyword of dropout alpha"),
            ("rec_mem", "model.dropout: must be a form for nets without recurrence"),
        ],
    )
    def test_mistakes_have_a_place(self, dropout: Any, expected: str) -> None:
        with pytest.raises(SpecError) as caught:
            check(draft_spec(changed(model={"name": "mlp", "dropout": dropout})))
        assert any(str(each).startswith(expected) for each in caught.value.problems)


def test_wider_layers_keep_their_expected_units() -> None:
    """n / (1 - p) units with dropout leave n of them (Srivastava et al., 2014)."""
    num_units = math.ceil(100 / (1 - 0.5))
    y = make("standard", rate=0.5)(torch.ones(1000, num_units))
    assert (y > 0).sum(1).float().mean().item() == pytest.approx(100, abs=1)
