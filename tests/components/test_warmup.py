"""Warm-up: the rise, and where the schedule after it begins."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler

from hpsearch import registry
from hpsearch.components import Data
from hpsearch.components.schedules import Progress
from tests.support.schedules import NEEDED, curve, lr_schedule, of_torch
from tests.support.trainers import goes_on_bit_for_bit, make

EPOCHS = [0.25, 0.5, 0.7, 1, 1.3, 2.5, 3]
#: a full batch, and sizes that divide those epochs or don't
STEPS = [1, 3, 4, 10, 49]


class TestHandOver:
    def test_restarts_begin_at_the_top(self) -> None:
        then = {"name": "cosine_restarts", "first_cycle": 2}
        factors = curve("warmup", 2, 4, epochs=0.5, then=then)
        eighth = (1 + math.cos(math.pi / 8)) / 2
        assert factors[:4] == pytest.approx([1 / 3, 2 / 3, 1, eighth])

    def test_triangles_begin_at_their_foot(self) -> None:
        factors = curve("warmup", 5, 4, epochs=0.5, then={"name": "cyclical"})
        assert factors[2] == pytest.approx(0.1)
        assert factors[10] == pytest.approx(1.0)  # two epochs later

    @pytest.mark.parametrize("steps_per_epoch", STEPS)
    @pytest.mark.parametrize("epochs", EPOCHS)
    @pytest.mark.parametrize("name", registry.names("lr_schedule"))
    def test_each_begins_as_if_training_did(
        self, name: str, epochs: float, steps_per_epoch: int
    ) -> None:
        then = {"name": name, **NEEDED.get(name, {})}
        factors = curve("warmup", 8, steps_per_epoch, epochs=epochs, then=then)
        rise = math.ceil(round(epochs * steps_per_epoch, 6))
        alone, num_steps = lr_schedule(name), 8 * steps_per_epoch - rise
        for step in range(num_steps):
            epoch, within = divmod(step, steps_per_epoch)
            place = Progress(step, num_steps, epoch + 1, 8, within, steps_per_epoch)
            assert factors[rise + step] == pytest.approx(alone(place)), step

    def test_steps_that_grow_fewer_are_counted(self) -> None:
        """20 steps of the rise, then batches of five times the size."""
        schedule = lr_schedule("warmup", epochs=2, then={"name": "polynomial"})
        steps, factors = (10, 10, 2, 2), []
        for epoch, count in enumerate(steps, 1):
            before = sum(steps[: epoch - 1])
            for i in range(count):
                factors.append(schedule(Progress(before + i, 24, epoch, 4, i, count, steps)))
        assert factors[20:] == pytest.approx([1, 2 / 3, 1 / 3, 0])

    def test_in_a_trainer(self, wine: Data) -> None:
        """7 steps an epoch, then 2: the rate falls from its top to 0 over the last six."""
        grow = {"name": "increase_on_milestone", "milestones": [1], "max_batch_size": 80}
        warm = {"name": "warmup", "epochs": 1, "then": {"name": "polynomial"}}
        trainer = make(wine, lr_schedule=warm, batch_schedule=grow)
        rates: list[float] = []
        trainer.optimizer.register_step_pre_hook(
            lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"])
        )
        for _ in range(4):
            trainer.train_epoch()
        steps = trainer._pace._steps
        assert steps[1:] == [2, 2, 2] and len(rates) == sum(steps)
        top = 0.1
        assert rates[steps[0] :] == pytest.approx([top * k / 5 for k in (5, 4, 3, 2, 1, 0)])


class TestPlateau:
    """What a schedule makes of metrics, too, is as if training began after the rise."""

    #: no epoch is better than the first that it sees
    THEN: dict[str, Any] = {"name": "plateau", "patience": 0, "threshold": 1.0, "factor": 0.5}

    @pytest.mark.parametrize(("epochs", "first"), [(2, 4), (1.5, 3), (0.5, 2)])
    def test_epochs_of_the_rise_do_not_count(self, wine: Data, epochs: float, first: int) -> None:
        """The first epoch with steps of its own is the best, the one after it is not better."""
        warm = {"name": "warmup", "epochs": epochs, "then": self.THEN}
        trainer = make(wine, lr_schedule=warm)
        rates = [(trainer.train_epoch() or {})["lr"] for _ in range(6)]
        assert rates[first - 1] == pytest.approx(0.1)
        assert rates[first:] == pytest.approx([0.1 / 2**k for k in range(1, 7 - first)])

    @pytest.mark.parametrize("epochs", [1, 2])
    def test_goes_on_bit_for_bit(self, wine: Data, epochs: int) -> None:
        warm = {"name": "warmup", "epochs": epochs, "then": self.THEN}
        goes_on_bit_for_bit(*(make(wine, lr_schedule=warm) for _ in range(3)))


class TestRise:
    @pytest.mark.parametrize("steps_per_epoch", STEPS)
    @pytest.mark.parametrize("epochs", EPOCHS)
    def test_no_step_is_null(self, epochs: float, steps_per_epoch: int) -> None:
        factors = curve("warmup", 4, steps_per_epoch, epochs=epochs, start_factor=0.0)
        assert all(0 < one <= 1 for one in factors)
        assert factors == sorted(factors)

    def test_from_0_the_steps_are_even(self) -> None:
        factors = curve("warmup", 2, 4, epochs=1)
        assert factors[:5] == pytest.approx([1 / 5, 2 / 5, 3 / 5, 4 / 5, 1])

    @pytest.mark.parametrize("epochs", [0.5, 1.5, 2])
    @pytest.mark.parametrize("start_factor", [0.01, 1 / 3])
    def test_is_torchs_and_so_is_what_follows(self, start_factor: float, epochs: float) -> None:
        rise = int(epochs * 10)

        def theirs(optimizer: torch.optim.Optimizer) -> Any:
            line = lr_scheduler.LinearLR(optimizer, start_factor, 1.0, total_iters=rise)
            cosine = lr_scheduler.CosineAnnealingLR(optimizer, 40 - rise - 1)
            return lr_scheduler.SequentialLR(optimizer, [line, cosine], [rise])

        ours = curve("warmup", 4, 10, epochs=epochs, start_factor=start_factor, then="cosine")
        assert ours == pytest.approx(of_torch(theirs, 40), abs=1e-9)

    def test_the_first_epoch_of_a_full_batch_moves_the_weights(self, wine: Data) -> None:
        trainer = make(wine, lr_schedule={"name": "warmup"}, batch_size="full")
        before = [param.clone() for param in trainer.model.parameters()]
        trainer.train_epoch()
        pairs = zip(before, trainer.model.parameters(), strict=True)
        assert all(not torch.equal(one, other) for one, other in pairs)


class TestMomentum:
    WARM = {"name": "warmup", "epochs": 1.5, "then": {"name": "one_cycle", "pct_start": 0.5}}

    def test_of_one_cycle_begins_after_the_rise(self, wine: Data) -> None:
        trainer = make(wine, lr_schedule=self.WARM)
        momenta: list[float] = []
        trainer.optimizer.register_step_pre_hook(
            lambda optimizer, *_: momenta.append(optimizer.param_groups[0]["momentum"])
        )
        for _ in range(4):
            trainer.train_epoch()
        rise = math.ceil(1.5 * trainer._pace._steps[0])
        assert momenta[: rise + 1] == pytest.approx([0.95] * (rise + 1))
        assert min(momenta) == pytest.approx(0.85, abs=0.01)
        assert momenta[-1] == pytest.approx(0.95)

    def test_goes_on_bit_for_bit(self, wine: Data) -> None:
        goes_on_bit_for_bit(*(make(wine, lr_schedule=self.WARM) for _ in range(3)))
