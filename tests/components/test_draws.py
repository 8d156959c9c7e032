"""Several draws of a variational code for each row, and the bound of their weights."""

from __future__ import annotations

import doctest
import itertools
import math
from typing import Any

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal

import hpsearch.components.tasks.reconstruction as reconstruction
from hpsearch.components import Data, load_data, task_for
from hpsearch.components.batch import Batch
from hpsearch.components.models.autoencoder import decoded_draws
from hpsearch.components.tasks.kinds import Statement
from hpsearch.errors import BadConfigurationError
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer
from tests.support.lanes import alone, assert_same, together, without_time
from tests.support.trainers import goes_on_bit_for_bit

SAID = Statement("reconstruction", "the task is for reconstruction")
DENSE = {"name": "autoencoder", "hidden_sizes": [16], "code_size": 4, "variational": True}
IMAGES = {"name": "conv_autoencoder", "channels": [4], "code_size": 4, "variational": True}


@pytest.fixture(scope="module")
def data() -> Data:
    return load_data({"name": "digits", "train_rows": 200, "val_rows": 100}, seed=0, said=SAID)


def config(model: Any, bound: str, number: int = 0, lr: float = 0.01) -> TrialConfig:
    task = {"name": "reconstruction", "likelihood": "gaussian_learned", "bound": bound}
    values = {"model": model, "task": task, "optimizer": {"name": "adam", "lr": lr}}
    return TrialConfig(number, 0, 4, {**values, "batch_size": 50})


class TestBounds:
    """A linear decoder x = W z + b + noise, whose log-likelihood is that of N(b, W Wᵀ + I)."""

    def bounds(self, data: Data, draws: int, bound: str) -> tuple[float, float]:
        """The mean of a bound over rows, and the mean log-likelihood of the rows."""
        torch.manual_seed(1)
        decoder = torch.nn.Linear(2, 64).requires_grad_(False)
        decoder.weight *= 0.3
        x = decoder(torch.randn(400, 2)) + torch.randn(400, 64)
        mean, log_variance = 0.5 * torch.randn(400, 2), torch.zeros(400, 2)
        one = task_for(data, {"name": "reconstruction", "likelihood": "gaussian", "bound": bound})
        outputs = decoded_draws(decoder, mean, log_variance, (64,), draws)
        exact = MultivariateNormal(decoder.bias, decoder.weight @ decoder.weight.T + torch.eye(64))
        loss = one.loss(outputs, Batch(x, torch.zeros(400)))
        return -64 * loss.item(), exact.log_prob(x).mean().item()

    def test_more_draws_come_nearer_to_the_likelihood(self, data: Data) -> None:
        """Burda et al. (2016), theorem 1; that of one draw is the ELBO."""
        pairs = [self.bounds(data, k, "importance_weighted") for k in (2, 10, 1000)]
        found, exact = [each for each, _ in pairs], pairs[0][1]
        assert all(one < other - 0.1 for one, other in itertools.pairwise(found))
        assert exact - 0.05 < found[-1] < exact + 0.02
        elbo, _ = self.bounds(data, 1000, "elbo")
        assert elbo < found[0] - 0.1
        single, _ = self.bounds(data, 1, "elbo")  # the same in expectation
        assert single == pytest.approx(elbo, abs=0.5)

    def test_weights_are_those_of_torchs_distributions(self) -> None:
        mean, log_variance, codes = torch.randn(3, 4), torch.randn(3, 4), torch.randn(3, 5, 4)
        at = Normal(mean[:, None], (log_variance[:, None] / 2).exp())
        expected = (Normal(0.0, 1.0).log_prob(codes) - at.log_prob(codes)).sum(-1)
        found = reconstruction.log_density_ratios(mean, log_variance, codes)
        torch.testing.assert_close(found, expected)

    def test_of_equal_weights_it_is_the_weight(self) -> None:
        same = torch.full((2, 7), 0.3)
        assert reconstruction.importance_weighted(same).tolist() == pytest.approx([0.3, 0.3])
        assert doctest.testmod(reconstruction).failed == 0

    def test_kl_weight_0_leaves_the_nats(self, data: Data) -> None:
        """log mean e^-nats then, and no divergence."""
        section = {"name": "reconstruction", "likelihood": "gaussian", "kl_weight": 0.0}
        one = task_for(data, {**section, "bound": "importance_weighted"})
        x, given, codes = torch.randn(2, 64), torch.randn(2, 3, 64), torch.randn(2, 3, 4)
        nats = 0.5 * ((given - x[:, None]).square() + math.log(2 * math.pi)).sum(2)
        expected = -(-nats.double()).exp().mean(1).log()
        outputs = (given, torch.randn(2, 4), torch.randn(2, 4), codes)
        loss = one.loss(outputs, Batch(x, torch.zeros(2)))
        assert 64 * loss.item() == pytest.approx(expected.mean().item(), rel=1e-5)


@pytest.mark.parametrize("bound", ["elbo", "importance_weighted"])
@pytest.mark.parametrize("model", [DENSE, IMAGES], ids=["dense", "images"])
class TestTrials:
    def test_they_learn_and_go_on_bit_for_bit(
        self, data: Data, model: dict[str, Any], bound: str
    ) -> None:
        of = config({**model, "draws": 3}, bound)
        curve = goes_on_bit_for_bit(*(Trainer(of, data) for _ in range(3)))
        assert curve[-1]["val_negative_elbo"] < curve[0]["val_negative_elbo"]

    def test_in_lanes(self, data: Data, model: dict[str, Any], bound: str) -> None:
        trials = [config({**model, "draws": 3}, bound, i, lr) for i, lr in enumerate((0.01, 0.03))]
        fused, lanes = together(trials, data, 2)
        assert lanes.num_fused == 0  # draws of their own can't be batched over trials
        for one, other in zip(alone(trials, data, 2), fused, strict=True):
            assert_same(one, other)


def test_one_draw_is_what_it_was(data: Data) -> None:
    for model in (DENSE, IMAGES):
        one, other = (
            Trainer(config(each, "elbo"), data) for each in (model, {**model, "draws": 1})
        )
        assert without_time(one.train_epoch()) == without_time(other.train_epoch())


def test_the_bound_of_a_loss_that_is_no_likelihood(data: Data) -> None:
    rule = "bound: must be elbo without a likelihood, in which the draws have their weights"
    with pytest.raises(BadConfigurationError, match=rule):
        task_for(data, {"name": "reconstruction", "bound": "importance_weighted"})
