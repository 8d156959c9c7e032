"""Decoder likelihoods of autoencoders against torch's distributions, and how sharp images are."""

from __future__ import annotations

import doctest
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Laplace, Normal

import hpsearch.components.tasks.reconstruction
from hpsearch.components import Arrays, Data, load_data, task_for
from hpsearch.components.augmentations import blur
from hpsearch.components.batch import Batch
from hpsearch.components.tasks.kinds import Statement
from hpsearch.components.tasks.likelihoods import LEAST_LOG_SCALE, LearnedGaussian
from hpsearch.components.tasks.reconstruction import kl_divergences, laplacian_variances
from hpsearch.errors import BadConfigurationError, SpecError
from hpsearch.spec import TrialConfig, draft_spec
from hpsearch.training import Trainer, export_model
from hpsearch.validation import check
from tests.support.lanes import alone, assert_same, together
from tests.support.trainers import goes_on_bit_for_bit

SAID = Statement("reconstruction", "the task is for reconstruction")
VARIATIONAL = {"name": "autoencoder", "hidden_sizes": [32], "code_size": 4, "variational": True}
LIKELIHOODS = ["gaussian", "gaussian_learned", "laplace", "bernoulli"]


def digits(**keywords: Any) -> Data:
    section = {"name": "digits", "train_rows": 300, "val_rows": 100, **keywords}
    return load_data(section, seed=0, said=SAID)


@pytest.fixture(scope="module")
def data() -> Data:
    return digits()


def task(data: Data, likelihood: str | None, **keywords: Any) -> Any:
    return task_for(data, {"name": "reconstruction", "likelihood": likelihood, **keywords})


def config(
    likelihood: str, lr: float = 0.01, number: int = 0, model: Any = VARIATIONAL
) -> TrialConfig:
    values = {
        "model": model,
        "task": {"name": "reconstruction", "likelihood": likelihood},
        "optimizer": {"name": "adam", "lr": lr},
        "batch_size": 50,
    }
    return TrialConfig(number, 0, 4, values)


def raw(data: Data, x: Tensor) -> Tensor:
    return x * torch.from_numpy(data.x_scale.std) + torch.from_numpy(data.x_scale.mean)


class TestLoss:
    @pytest.mark.parametrize("likelihood", LIKELIHOODS)
    def test_it_is_the_negative_bound_of_a_value(self, data: Data, likelihood: str) -> None:
        torch.manual_seed(0)
        assert isinstance(data.train, Arrays)
        x, given = torch.from_numpy(data.train.x[:6]), torch.randn(6, 1, 8, 8)
        mean, log_variance = torch.randn(2, 6, 4)
        one = task(data, likelihood, kl_weight=3.0)
        if hasattr(one.criterion, "latent"):
            with torch.no_grad():
                one.criterion.latent.fill_(0.7)
            scale = one.criterion.log_scale.exp().detach()
        at: dict[str, Distribution] = {"gaussian": Normal(given, 1.0)}
        if likelihood in ("gaussian_learned", "laplace"):
            kind = Normal if likelihood == "gaussian_learned" else Laplace
            at[likelihood] = kind(given, scale)
        at["bernoulli"] = Bernoulli(logits=given, validate_args=False)
        seen = raw(data, x) if likelihood == "bernoulli" else x
        nats = -at[likelihood].log_prob(seen).flatten(1).sum(1)
        divergences = kl_divergences(mean, log_variance)
        batch = Batch(x, torch.zeros(6))
        loss = one.loss((given, mean, log_variance), batch)
        assert loss.item() * 64 == pytest.approx((nats + 3 * divergences).mean().item(), rel=1e-4)
        found = one.summary(one.totals((given, mean, log_variance), batch).tolist())
        bound = (nats + divergences).mean().item()
        assert found["negative_elbo"] == pytest.approx(bound, rel=1e-4)
        means = given.sigmoid() if likelihood == "bernoulli" else raw(data, given)
        errors = (means - raw(data, x)) / torch.from_numpy(data.x_scale.std)
        assert found["loss"] == pytest.approx(errors.square().mean().item(), rel=1e-4)

    @pytest.mark.parametrize("likelihood", ["gaussian_learned", "laplace"])
    def test_the_learned_scale_is_that_of_the_errors(self, data: Data, likelihood: str) -> None:
        """The root of the mean square, and the mean size (both by setting the slope to 0)."""
        torch.manual_seed(0)
        errors = 0.3 * torch.randn(500, 64)
        criterion = task(data, likelihood).criterion
        optimizer = torch.optim.LBFGS(criterion.parameters(), max_iter=50)

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss: Tensor = criterion(errors, torch.zeros_like(errors))
            loss.backward()
            return loss

        assert criterion.log_scale.item() == pytest.approx(0, abs=1e-6)
        optimizer.step(closure)
        expected = errors.square().mean().sqrt() if "gauss" in likelihood else errors.abs().mean()
        assert criterion.log_scale.exp().item() == pytest.approx(expected.item(), rel=1e-3)

    def test_a_scale_has_a_floor(self) -> None:
        criterion = LearnedGaussian()
        with torch.no_grad():
            criterion.latent.fill_(-1e4)
        assert criterion.log_scale.item() == LEAST_LOG_SCALE


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
class TestEachLikelihood:
    def test_goes_on_bit_for_bit_and_learns(self, data: Data, likelihood: str) -> None:
        curve = goes_on_bit_for_bit(*(Trainer(config(likelihood), data) for _ in range(3)))
        assert curve[-1]["val_negative_elbo"] < curve[0]["val_negative_elbo"]
        assert curve[-1]["val_loss"] < curve[0]["val_loss"]
        assert 0 < curve[-1]["val_sharpness"] < 1

    @pytest.mark.parametrize("standardize", [True, False])
    def test_is_exported_for_raw_inputs(self, likelihood: str, standardize: bool) -> None:
        pictures = digits(standardize=standardize)
        one = Trainer(config(likelihood), pictures)
        one.train_epoch()
        val = pictures.val
        assert isinstance(val, Arrays)
        given = torch.from_numpy(pictures.as_raw(val.x))
        found = export_model(one)(given)
        scale = torch.tensor(pictures.unit * pictures.x_scale.std)
        error = ((found - given) / scale).square().mean().item()
        assert error == pytest.approx(one.evaluate("val")["val_loss"], rel=1e-3)
        if likelihood == "bernoulli":
            assert found.min() >= 0 and found.max() <= pictures.unit

    def test_fused_trials_are_as_alone(self, data: Data, likelihood: str) -> None:
        plain = {**VARIATIONAL, "variational": False}
        rates = enumerate((0.003, 0.01))
        configs = [config(likelihood, lr, number, model=plain) for number, lr in rates]
        fused, lanes = together(configs, data, 2)
        assert lanes.num_fused == 4
        for one, other in zip(fused, alone(configs, data, 2), strict=True):
            assert_same(one, other, 1e-2)  # a learned scale is read before a step, or after


class TestSharpness:
    def test_by_how_much_images_are_blurred(self, data: Data) -> None:
        torch.manual_seed(0)
        x = torch.rand(8, 1, 8, 8)
        one = task(data, None)

        def sharpness(given: Tensor) -> float:
            return float(one.summary(one.totals(given, Batch(x, x)).tolist())["sharpness"])

        assert sharpness(x) == pytest.approx(1)
        assert sharpness(0.5 * x + 1) == pytest.approx(0.25, rel=1e-5)
        blurred = [sharpness(blur((1, 8, 8), sigma)(x, x)[0]) for sigma in (0.5, 1.0, 2.0)]
        assert 1 > blurred[0] > blurred[1] > blurred[2] > 0
        assert doctest.testmod(hpsearch.components.tasks.reconstruction).failed == 0

    def test_it_is_that_of_scipy(self) -> None:
        from scipy.ndimage import laplace

        images = torch.randn(2, 3, 9, 7, dtype=torch.float64)
        inner = [laplace(channel.numpy())[1:-1, 1:-1].var() for channel in images.flatten(0, 1)]
        expected = torch.tensor(inner).view(2, 3).mean(1)
        torch.testing.assert_close(laplacian_variances(images), expected)

    def test_tables_have_none(self) -> None:
        wine = load_data({"name": "wine"}, seed=0, said=SAID)
        found = Trainer(config("laplace"), wine).train_epoch() or {}
        assert "val_negative_elbo" in found and "val_sharpness" not in found


class TestRefused:
    def test_bernoulli_of_other_values(self) -> None:
        wine = load_data({"name": "wine"}, seed=0, said=SAID)
        rule = "likelihood: must not be bernoulli, as inputs aren't from 0 to 1 but"
        with pytest.raises(BadConfigurationError, match=rule):
            Trainer(config("bernoulli"), wine)

    def test_sharpness_of_tables_as_objective(self) -> None:
        spec = {
            "name": "tables",
            "objective": {"metric": "val_sharpness", "direction": "maximize"},
            "dataset": "wine",
            "task": "reconstruction",
            "model": {"name": "autoencoder", "code_size": "auto"},
            "optimizer": "adam",
        }
        rule = "objective.metric: must be defined for the data, but its examples are no images"
        with pytest.raises(SpecError, match=rule):
            check(draft_spec(spec))
        check(draft_spec({**spec, "dataset": {"name": "digits", "train_rows": 100}}))

    def test_beside_a_loss(self, data: Data) -> None:
        with pytest.raises(BadConfigurationError, match="must be left out where a loss is given"):
            task(data, "laplace", loss="l1")
