"""Schedules: pure functions of the progress that agree with torch's and with the papers'."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.optim import lr_scheduler

from hpsearch import registry
from hpsearch.components import Data
from hpsearch.errors import BadConfigurationError, SpecError
from hpsearch.registry import ComponentOf
from hpsearch.spec import TrialConfig, draft_spec
from hpsearch.training.pacing import TrainingSchedule
from hpsearch.validation import check
from tests.support.schedules import curve, lr_schedule, of_torch, progress
from tests.support.specs import changed
from tests.support.trainers import make


@pytest.mark.parametrize("name", registry.names("lr_schedule"))
class TestEveryLrSchedule:
    def test_is_a_pure_function(self, name: str) -> None:
        places = [*progress(8, 5)]
        schedule, other = lr_schedule(name), lr_schedule(name)
        forwards = [schedule(each) for each in places]
        backwards = [other(each) for each in reversed(places)]
        assert forwards == backwards[::-1]

    @pytest.mark.parametrize("shape", [(8, 5), (1, 1), (1, 7), (30, 1)])
    def test_stays_between_0_and_1(self, name: str, shape: tuple[int, int]) -> None:
        keywords = {"milestones": [1]} if name == "multistep" else {}
        factors = curve(name, *shape, **keywords)
        assert all(0 <= factor <= 1 for factor in factors)
        if shape != (1, 1):
            assert max(factors) > 0


class TestAgainstTorch:
    def test_step(self) -> None:
        theirs = of_torch(lambda o: lr_scheduler.StepLR(o, 3, 0.5), 10)
        assert curve("step", 10, 1, step_size=3, gamma=0.5) == pytest.approx(theirs)

    def test_multistep(self) -> None:
        theirs = of_torch(lambda o: lr_scheduler.MultiStepLR(o, [3, 5], 0.5), 10)
        assert curve("multistep", 10, 1, gamma=0.5) == pytest.approx(theirs)

    def test_exponential(self) -> None:
        theirs = of_torch(lambda o: lr_scheduler.ExponentialLR(o, 0.9), 10)
        assert curve("exponential", 10, 1, gamma=0.9) == pytest.approx(theirs)

    def test_polynomial(self) -> None:
        theirs = of_torch(lambda o: lr_scheduler.PolynomialLR(o, 9, power=2.0), 10)
        assert curve("polynomial", 10, 1, power=2.0) == pytest.approx(theirs)

    def test_cosine(self) -> None:
        theirs = of_torch(lambda o: lr_scheduler.CosineAnnealingLR(o, 19, eta_min=0.1), 20)
        assert curve("cosine", 4, 5, final_factor=0.1) == pytest.approx(theirs)

    def test_cosine_restarts(self) -> None:
        theirs = of_torch(
            lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 10, T_mult=2, eta_min=0.1), 70
        )
        ours = curve("cosine_restarts", 7, 10, final_factor=0.1)
        assert ours == pytest.approx(theirs)

    def test_warmup(self) -> None:
        theirs = of_torch(lambda o: lr_scheduler.LinearLR(o, 0.1, 1.0, total_iters=10), 20)
        assert curve("warmup", 4, 5, epochs=2, start_factor=0.1) == pytest.approx(theirs)

    @pytest.mark.parametrize("mode", ["triangular", "triangular2"])
    def test_cyclical(self, mode: Any) -> None:
        theirs = of_torch(
            lambda o: lr_scheduler.CyclicLR(o, 0.1, 1.0, step_size_up=4, mode=mode), 40
        )
        ours = curve("cyclical", 10, 4, half_cycle=1.0, low_factor=0.1, mode=mode)
        assert ours == pytest.approx(theirs)

    @pytest.mark.parametrize(
        "keywords",
        [
            {},
            {"anneal_strategy": "linear"},
            {
                "three_phase": True,
                "anneal_strategy": "linear",
                "pct_start": 0.45,
                "div_factor": 10.0,
            },
        ],
    )
    def test_one_cycle(self, keywords: dict[str, Any]) -> None:
        expected = of_torch(
            lambda o: lr_scheduler.OneCycleLR(o, 1.0, total_steps=100, **keywords), 99
        )
        assert curve("one_cycle", 20, 5, **keywords)[:99] == pytest.approx(expected)

    def test_plateau(self) -> None:
        """A constant metric, patience 2: the rate drops after the fourth epoch."""
        losses = [1.0] * 6 + [0.5, 0.49999, 0.6, 0.6, 0.6, 0.4]
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        theirs = lr_scheduler.ReduceLROnPlateau(optimizer, patience=2)
        ours, place = lr_schedule("plateau", patience=2), next(progress(1, 1))
        factors = []
        for loss in losses:
            theirs.step(loss)
            ours.observe({"val_loss": loss})
            factors.append(ours(place))
            assert factors[-1] == pytest.approx(optimizer.param_groups[0]["lr"])
        assert factors[:4] == [1.0, 1.0, 1.0, 0.1]


class TestNumbers:
    """reference R10 and R11."""

    def test_one_cycle_as_torch_has_it(self) -> None:
        factors = curve("one_cycle", 10, 10)
        assert (factors[0], factors[-1]) == pytest.approx((0.04, 4e-6))
        assert factors.index(max(factors)) == 29

    def test_one_cycle_as_smith_has_it(self) -> None:
        smith = {"three_phase": True, "anneal_strategy": "linear", "pct_start": 0.45}
        factors = curve("one_cycle", 10, 10, **smith, div_factor=10.0, final_div_factor=100.0)
        assert (factors[0], factors[-1]) == pytest.approx((0.1, 0.001))
        assert factors.index(max(factors)) == 44

    @pytest.mark.parametrize("name", ["own", "of_one_cycle"])
    def test_the_momentum_mirrors_it(self, name: str) -> None:
        own = ComponentOf("momentum_schedule").build("cyclical")
        schedule = own if name == "own" else lr_schedule("one_cycle").momentum
        momenta = [*map(schedule, progress(10, 10))]
        assert (momenta[0], momenta[29], momenta[-1]) == pytest.approx((0.95, 0.85, 0.95))

    def test_triangles(self) -> None:
        factors = curve("cyclical", 1, 12, half_cycle=4 / 12, low_factor=0.1)
        assert factors[:7] == pytest.approx([0.1, 0.325, 0.55, 0.775, 1.0, 0.775, 0.55])

    def test_slanted_triangular(self) -> None:
        rates = [0.01 * factor for factor in curve("slanted_triangular", 10, 100)]
        assert (rates[0], rates[100]) == pytest.approx((3.125e-4, 0.01))
        assert rates[-1] == pytest.approx(3.125e-4, rel=0.05)

    def test_inverse_time(self) -> None:
        assert curve("inverse_time", 4, 1, decay=0.5) == pytest.approx(
            [1, 1 / 1.5, 1 / 2, 1 / 2.5]
        )

    def test_batches_of_five_times_the_size(self) -> None:
        """Without a limit 128 becomes 640, 3200, 16000, and the noise falls as the rate would."""
        pace = ComponentOf("batch_schedule").build(
            {"name": "increase_on_milestone", "milestones": [1, 2, 3], "max_batch_size": 16000}
        )
        sizes = [pace(epoch, 128, 1_000_000).batch_size for epoch in (1, 2, 3, 4)]
        assert sizes == [128, 640, 3200, 16000]

        def noise(lr: float, batch_size: int) -> float:
            """Smith & Le (2018), arXiv 1710.06451: g = lr / (1 - m) (N / B - 1)."""
            return lr / (1 - 0.9) * (10**9 / batch_size - 1)

        assert noise(0.1, 640) == pytest.approx(noise(0.1 / 5, 128), rel=1e-5)

    @pytest.mark.parametrize(("rows", "batch_size", "steps"), [(1000, 500, 2), (1050, 100, 11)])
    def test_steps_of_an_epoch(self, rows: int, batch_size: int, steps: int) -> None:
        from hpsearch.training.batches import batch_sizes

        assert len(batch_sizes(rows, batch_size)) == steps


def test_warmup_hands_over_to_a_whole_schedule() -> None:
    factors = curve("warmup", 5, 10, epochs=1, then={"name": "cosine"})
    assert factors[:10] == pytest.approx([step / 11 for step in range(1, 11)])
    assert factors[10:] == pytest.approx(curve("cosine", 4, 10))


def test_plateau_names_the_metrics_that_there_are() -> None:
    schedule = lr_schedule("plateau", metric="val_los")
    with pytest.raises(BadConfigurationError, match="^metric: must be a metric of"):
        schedule.observe({"val_loss": 1.0})


def test_large_batches_scale_the_rate_and_train_more_passes() -> None:
    scaling = ComponentOf("lr_scaling").build(
        {"name": "sqrt", "base_batch_size": 128, "regime_adaptation": True}
    )
    assert scaling.lr_factor(4096) == pytest.approx(5.6568542)
    assert scaling.passes(4096) == 32
    linear = ComponentOf("lr_scaling").build({"name": "linear", "base_batch_size": 128})
    assert (linear.lr_factor(4096), linear.passes(4096)) == (32, 1)


def test_linear_scaling_from_one_is_a_gradient_that_is_summed(wine: Data) -> None:
    scaling = {"name": "linear", "base_batch_size": 1}
    parts = {
        "model": {"name": "mlp", "hidden_sizes": [8]},
        "optimizer": {"name": "sgd", "lr": 1e-3},
    }
    trainer = make(wine, batch_size="full", lr_scaling=scaling, **parts)
    model = copy.deepcopy(trainer.model)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    for _ in range(3):
        x, y = torch.from_numpy(wine.train.x), torch.from_numpy(wine.train.y)
        optimizer.zero_grad()
        cross_entropy(model(x), y, reduction="sum").backward()
        optimizer.step()
        trainer.train_epoch()
    for ours, by_hand in zip(trainer.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours, by_hand)


@pytest.mark.parametrize("last_batch", ["keep", "drop", "pad", "wrap"])
@pytest.mark.parametrize("batch_size", [10, 16, 40, "full"])
def test_the_pace_counts_the_steps_that_are_taken(
    wine: Data, last_batch: str, batch_size: Any
) -> None:
    scaling = {"name": "none", "base_batch_size": 10, "regime_adaptation": True}
    values = {"last_batch": last_batch, "batch_size": batch_size, "lr_scaling": scaling}
    trainer = make(wine, **values, lr_schedule={"name": "polynomial"})
    taken = 0
    step = trainer.optimizer.step

    def counted(*args: Any) -> Any:
        nonlocal taken
        taken += 1
        return step(*args)

    trainer.optimizer.step = counted  # type: ignore[method-assign]
    for _ in range(4):
        metrics = trainer.train_epoch()
    assert taken == sum(trainer._pace._steps)
    assert metrics is not None and metrics["lr"] == pytest.approx(0, abs=1e-9)


def test_a_momentum_schedule_needs_momentum(wine: Data) -> None:
    trainer = make(wine, lr_schedule={"name": "one_cycle"}, optimizer={"name": "adagrad"})
    with pytest.raises(
        BadConfigurationError, match="^optimizer: must be an optimizer with momentum or betas"
    ):
        trainer.train_epoch()


@pytest.mark.parametrize(
    "sections", [{"lr_schedule": "one_cycle"}, {"momentum_schedule": "cyclical"}]
)
def test_that_it_does_is_known_before(sections: dict[str, Any]) -> None:
    optimizer = {"choices": ["adam", "adagrad"]}
    with pytest.raises(
        SpecError, match=r"^optimizer.choices.1: must be an optimizer with momentum"
    ) as caught:
        check(draft_spec(changed(optimizer=optimizer, **sections)))
    assert len(caught.value.problems) == 1
    check(draft_spec(changed(optimizer="adam", **sections)))


def test_one_cycle_sets_the_first_beta(wine: Data) -> None:
    trainer = make(wine, lr_schedule={"name": "one_cycle"}, optimizer={"name": "adam"})
    trainer.train_epoch()
    beta1, beta2 = trainer.optimizer.param_groups[0]["betas"]
    assert 0.85 <= beta1 <= 0.95
    assert beta2 == 0.999


def test_full_batch_is_one_step_an_epoch(wine: Data) -> None:
    config = TrialConfig(0, 0, 3, {"batch_size": "full"})
    pace = TrainingSchedule(config, 114, lambda batch_size, passes: -(-114 * passes // batch_size))
    assert (pace.batch_size(1), pace._steps) == (114, [1, 1, 1])
