"""Restricted Boltzmann machines against what can be counted, and deep belief nets by stages."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hpsearch.components import Data, load_data
from hpsearch.components.batch import Batch
from hpsearch.components.diagnostics.exact_likelihood import ExactLikelihood
from hpsearch.components.models.boltzmann import Boltzmann
from hpsearch.components.tasks.contrastive_divergence import ContrastiveDivergence
from hpsearch.errors import BadConfigurationError, DataError, SpecError
from hpsearch.spec import TrialConfig, draft_spec
from hpsearch.training import Trainer, export_model, make_trainer
from hpsearch.training.stages import StagedTrainer
from hpsearch.validation import check
from tests.support.specs import changed

ROWS = torch.tensor([[1.0, 0, 1], [1, 1, 1], [0, 0, 1], [1, 0, 0]])
ALL = torch.tensor(list(itertools.product([0.0, 1.0], repeat=3)))


def toy(steps: int = 1, num_chains: int = 0) -> Boltzmann:
    """The machine of three visible and two hidden units whose states can all be counted."""
    layer = nn.Linear(3, 2)
    model = Boltzmann([layer], "bernoulli", steps, num_chains)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.5, -1], [1, 0.3], [-0.7, 0.2]]).T)
        layer.bias.copy_(torch.tensor([0.05, -0.4]))
        model.biases[0].copy_(torch.tensor([0.1, -0.2, 0.3]))
    return model


def ascent(model: Boltzmann, rows: Tensor) -> Tensor:
    """Return by which change of W a step of contrastive divergence goes, (V, H)."""
    torch.manual_seed(0)
    ContrastiveDivergence(1).loss(model.train()(rows), Batch(rows, rows)).backward()
    weight: Any = model.layers[0].weight
    grad: Tensor = weight.grad
    return -grad.T


class TestCounted:
    def test_free_energies_and_the_partition_function(self) -> None:
        energies = toy().free_energy(ALL).detach()
        assert float(energies[-1]) == pytest.approx(-1.74701894317, rel=1e-6)
        assert float((-energies).exp().sum()) == pytest.approx(38.81049889099, rel=1e-6)

    def test_the_likelihood_of_rows(self) -> None:
        logs = (-toy().free_energy(ALL).detach().double()).log_softmax(0)
        assert float(logs[-1].exp()) == pytest.approx(0.14783302422, rel=1e-6)
        found = [logs[(row == ALL).all(1)].item() for row in ROWS]
        assert -np.mean(found) == pytest.approx(2.23985016131, rel=1e-6)

    @pytest.mark.parametrize("sizes", [(3, 2), (3, 5), (4, 4), (1, 15), (15, 1)])
    def test_the_partition_function_is_counted_over_the_fewer_units(
        self, sizes: tuple[int, int]
    ) -> None:
        """As free energies of all visible states have it."""
        torch.manual_seed(0)
        model = Boltzmann([nn.Linear(*sizes)], "bernoulli", 1)
        nn.init.normal_(model.biases[0])
        states = torch.tensor(list(itertools.product([0.0, 1.0], repeat=sizes[0])))
        expected = torch.logsumexp(-model.free_energy(states).double(), 0)
        assert model.log_partition().item() == pytest.approx(expected.item(), rel=1e-6)
        assert model.num_counted == min(sizes)

    def test_the_partition_function_of_gaussian_units(self) -> None:
        """An integral over a grid, beyond which there is next to nothing."""
        torch.manual_seed(0)
        model = Boltzmann([nn.Linear(2, 3)], "gaussian", 1)
        nn.init.normal_(model.biases[0])
        line = torch.linspace(-12, 12, 600, dtype=torch.float64)
        grid = torch.cartesian_prod(line, line).float()
        mass = (-model.free_energy(grid).detach().double()).exp().sum() * (line[1] - line[0]) ** 2
        assert model.log_partition().item() == pytest.approx(float(mass.log()), rel=1e-4)
        assert model.num_counted == 3

    def test_the_callback_has_the_likelihood_of_rows(self) -> None:
        found = ExactLikelihood().probe(toy(), lambda split: iter([Batch(ROWS, ROWS)]))
        assert found == pytest.approx(dict.fromkeys(["train_nll", "val_nll"], 2.23985016131))
        deep = Boltzmann([nn.Linear(3, 2), nn.Linear(2, 2)], "bernoulli", 1)
        wide = Boltzmann([nn.Linear(30, 21)], "bernoulli", 1)
        assert not any(map(ExactLikelihood.measures, (deep, wide, nn.Linear(3, 2))))

    def test_the_mean_pseudo_likelihood_over_all_units(self) -> None:
        """Of each unit in turn, where the model takes one of them."""
        logs = (-toy().free_energy(ALL).detach().double()).log_softmax(0)
        total = 0.0
        for row in ROWS:
            for unit in range(3):
                flipped = row.clone()
                flipped[unit] = 1 - flipped[unit]
                own, other = (logs[(each == ALL).all(1)] for each in (row, flipped))
                total += (own - torch.logaddexp(own, other)).item()
        assert total / len(ROWS) == pytest.approx(-2.2353770201, rel=1e-6)

    def test_without_weights_visible_units_are_independent(self) -> None:
        model = toy()
        nn.init.zeros_(model.layers[0].weight)  # type: ignore[arg-type]
        total = (-model.free_energy(ALL).detach()).exp().sum()
        assert float(total) == pytest.approx(30.8262, rel=1e-5)
        shares = (-model.free_energy(ALL).detach()).softmax(0)
        expected = torch.tensor([0.1, -0.2, 0.3]).sigmoid()
        torch.testing.assert_close(shares @ ALL, expected)

    def test_one_step_goes_as_the_mean_of_its_draws(self) -> None:
        found = ascent(toy(1), ROWS.repeat(50_000, 1))
        expected = torch.tensor([[0.0958, 0.0513], [-0.2546, -0.1538], [0.1074, 0.0550]])
        torch.testing.assert_close(found, expected, atol=4e-3, rtol=0)

    @pytest.mark.parametrize("num_chains", [0, 200_000])
    def test_ten_steps_are_the_gradient_of_the_likelihood(self, num_chains: int) -> None:
        """So are persistent chains that have run for long enough."""
        rows = ROWS if num_chains else ROWS.repeat(50_000, 1)
        found = ascent(toy(10, num_chains), rows)
        expected = torch.tensor([[0.0948, 0.0518], [-0.2747, -0.1646], [0.1118, 0.0589]])
        torch.testing.assert_close(found, expected, atol=4e-3, rtol=0)

    def test_the_pseudo_likelihood_is_that_of_a_unit_given_the_others(self) -> None:
        model = toy()
        found = model(ROWS)[3]
        shares = (-model.free_energy(ALL).detach()).exp()
        for row, value in zip(ROWS, found, strict=True):
            unit = int((row * torch.tensor([1.0, 2, 3])).sum()) % 3
            flipped = row.clone()
            flipped[unit] = 1 - flipped[unit]
            own, other = (float(shares[(each == ALL).all(1)].item()) for each in (row, flipped))
            assert float(value) == pytest.approx(3 * np.log(own / (own + other)), rel=1e-4)

    def test_gaussian_units_have_a_normal_distribution_given_hidden_ones(self) -> None:
        model = Boltzmann([nn.Linear(2, 1)], "gaussian", 1)
        nn.init.zeros_(model.layers[0].weight)  # type: ignore[arg-type]
        nn.init.zeros_(model.layers[0].bias)  # type: ignore[arg-type]
        v = torch.tensor([[3.0, 4.0]])
        assert float(model.free_energy(v).detach()) == pytest.approx(25 / 2 - np.log(2))
        drawn = model.train()._gibbs(torch.zeros(20_000, 2))
        assert drawn.std().item() == pytest.approx(1, abs=0.03)


@pytest.fixture(scope="module")
def bars() -> Data:
    return load_data({"name": f"{__name__}:bars_of_four", "standardize": False}, seed=0)


def bars_of_four() -> Any:
    """Bars of four units in one of two places, seen through noise."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 600)
    x = np.repeat(np.eye(2, dtype=np.float32)[y], 4, axis=1)
    noise = rng.random(x.shape) < 0.1
    return np.where(noise, 1 - x, x).astype(np.float32), y


DBN = {"name": "dbn", "hidden_sizes": [6, 4]}


def values(**sections: Any) -> dict[str, Any]:
    usual = {"model": DBN, "optimizer": {"name": "sgd", "lr": 0.1}, "batch_size": 20}
    return {**usual, **sections}


def machine(epochs: int, **model: Any) -> tuple[Trainer, list[dict[str, float]]]:
    sections = values(
        model={"name": "rbm", "hidden_size": 6, **model},
        task={"name": "contrastive_divergence"},
        initializer={"name": "normal", "std": 0.01},
        callbacks=[{"name": "exact_likelihood"}],
    )
    alone = load_data(
        {
            "name": f"{__name__}:bars_of_four",
            "standardize": False,
            "kind": "contrastive_divergence",
        },
        seed=0,
    )
    trainer = Trainer(TrialConfig(0, 0, epochs, sections), alone)
    return trainer, [trainer.train_epoch() or {} for _ in range(epochs)]


class TestTraining:
    @pytest.mark.parametrize("persistent", [False, True])
    def test_it_learns_what_the_units_have_in_common(self, bars: Data, persistent: bool) -> None:
        """A unit is one of four alike, each flipped by chance 0.1: H(0.1) is what is left."""
        _, curve = machine(15, persistent=persistent, steps=2)
        found = curve[-1]["val_pseudo_log_likelihood"]
        assert -8 * 0.55 < found < -8 * 0.25
        assert curve[0]["val_pseudo_log_likelihood"] < found - 0.5
        assert curve[-1]["val_loss"] < curve[0]["val_loss"] - 1

    def test_the_likelihood_comes_near_the_entropy(self) -> None:
        """A bar of two, and each unit flipped by chance 0.1: H is log 2 + 8 H(0.1) = 3.29."""
        _, curve = machine(15, steps=2)
        assert curve[0]["val_nll"] > 4.5 > curve[-1]["val_nll"] > 3.2
        assert abs(curve[-1]["val_nll"] - curve[-1]["train_nll"]) < 0.5

    @pytest.mark.parametrize(("most", "is_told"), [(20, False), (21, True)])
    def test_sizes_without_a_likelihood_are_refused_as_objective(
        self, most: int, is_told: bool
    ) -> None:
        raw = changed(
            dataset={"name": "digits", "standardize": False},
            task="contrastive_divergence",
            model={"name": "rbm", "hidden_size": {"low": 4, "high": most}},
            callbacks=["exact_likelihood"],
            objective={"metric": "val_nll", "direction": "minimize"},
        )
        told = "objective.metric: must be a metric that trials of rbm report, too"
        try:
            check(draft_spec(raw))
        except SpecError as error:
            (problem,) = error.problems
            assert is_told and str(problem).startswith(told)
        else:
            assert not is_told

    def test_exported_it_gives_free_energies(self) -> None:
        trainer, curve = machine(2)
        table = export_model(trainer).predict_table(trainer.data.val.x)  # type: ignore[union-attr]
        assert list(table) == ["free_energy"]
        assert table["free_energy"].mean() == pytest.approx(curve[-1]["val_free_energy"], rel=1e-4)

    def test_values_that_no_unit_has(self) -> None:
        scaled = load_data({"name": f"{__name__}:bars_of_four"}, seed=0)
        with pytest.raises(DataError, match="must be from 0 to 1, but .*standardize: false"):
            Trainer(TrialConfig(0, 0, 2, values()), scaled)
        Trainer(TrialConfig(0, 0, 2, values(model={**DBN, "visible": "gaussian"})), scaled)


def staged(data: Data, *layers: int, **sections: Any) -> StagedTrainer:
    stages = [
        {"name": "train", "epochs": 2, "task": {"name": "contrastive_divergence", "layer": each}}
        for each in layers
    ]
    trainer = make_trainer(TrialConfig(0, 0, 6, values(stages=stages, **sections)), data)
    assert isinstance(trainer, StagedTrainer)
    return trainer


class TestDeepBeliefNet:
    def test_layers_are_trained_one_by_one_and_handed_over(self, bars: Data) -> None:
        trainer = staged(bars, 1, 2)
        states = []
        for _ in range(4):
            trainer.train_epoch()
            states.append({k: v.clone() for k, v in trainer.final().model.state_dict().items()})
        first, both = states[1], states[3]
        assert torch.equal(first["layers.0.weight"], both["layers.0.weight"])
        assert "layers.1.weight" not in first
        assert not torch.equal(states[2]["layers.1.weight"], both["layers.1.weight"])
        trainer._begin_next()
        last = trainer.final().model.state_dict()
        shared = [name for name in last if name.startswith("layers")]
        assert shared and all(torch.equal(last[name], both[name]) for name in shared)

    def test_a_layer_that_is_not_there(self, bars: Data) -> None:
        with pytest.raises(BadConfigurationError, match="trains layer 3, but the model has 2"):
            staged(bars, 3)
