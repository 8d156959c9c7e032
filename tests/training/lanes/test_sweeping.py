"""Range tests that share a program give the curves that each gives by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from hpsearch.components import Data, load_data
from hpsearch.training import Trainer
from hpsearch.training.lanes import sweeping
from hpsearch.training.lanes.pace import Pace
from hpsearch.training.lanes.sweeping import sweep_together
from hpsearch.training.lr_sweep import sweep
from tests.support.trainers import make

OPTIMIZERS: list[dict[str, Any]] = [
    {"name": "sgd", "lr": 1e-4},
    {"name": "sgd", "lr": 1e-4, "momentum": 0.9, "weight_decay": 0.01},
    {"name": "adamw", "lr": 1e-4},
    {"name": "rmsprop", "lr": 1e-4},
]
NUM_STEPS = [60, 60, 40, 50]


@pytest.fixture(scope="module")
def digits() -> Data:
    return load_data({"name": "digits"}, seed=0)


def trainers_of(data: Data, sizes: list[int], **sections: Any) -> list[Trainer]:
    model = {"name": "mlp", "hidden_sizes": [16], "dropout": 0.2, **sections}
    pairs = zip(OPTIMIZERS, sizes, strict=True)
    return [make(data, optimizer=o, batch_size=size, model=model) for o, size in pairs]


def say_it_pays(monkeypatch: pytest.MonkeyPatch, speedup: float) -> None:
    """Let a program be so many times as fast, whatever the machine is busy with."""
    monkeypatch.setattr(sweeping, "measured_pace", lambda *_: Pace(4, 2, speedup))


@pytest.mark.parametrize("sizes", [[32, 32, 32, 32], [48, 20, 64, 32]])
def test_lanes_have_the_curves_that_each_has_alone(
    digits: Data, monkeypatch: pytest.MonkeyPatch, sizes: list[int]
) -> None:
    """Even of other batch sizes, optimizers and lengths, through epochs with a shorter batch."""
    pairs = zip(trainers_of(digits, sizes), NUM_STEPS, strict=True)
    alone = [sweep(trainer, 1e-4, 3.0, num) for trainer, num in pairs]
    say_it_pays(monkeypatch, 100.0)
    monkeypatch.delattr(sweeping, "sweep")  # which trains one by one
    trainers = trainers_of(digits, sizes)
    together = sweep_together(trainers, NUM_STEPS, 1e-4, 3.0)
    for mine, theirs in zip(together, alone, strict=True):
        assert len(mine.rates) >= 0.8 * len(theirs.rates)
        num = len(mine.rates) * 2 // 3  # after that a diverging loss multiplies rounding errors
        np.testing.assert_allclose(mine.rates[:num], theirs.rates[:num])
        np.testing.assert_allclose(mine.losses[:num], theirs.losses[:num], rtol=1e-3)
    for trainer, new in zip(trainers, trainers_of(digits, sizes), strict=True):
        assert trainer.epoch == 0 and not trainer.optimizer.state
        for ours, fresh in zip(trainer.model.parameters(), new.model.parameters(), strict=True):
            assert torch.equal(ours, fresh)


def test_a_lane_that_diverges_stops_by_itself(
    digits: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    say_it_pays(monkeypatch, 100.0)
    wild, calm = (make(digits, optimizer={"name": "sgd", "lr": lr}) for lr in (1e4, 1e-4))
    found = sweep_together([wild, calm], [40, 40], 1e-4, 1e-2)
    assert found[0].is_diverged and len(found[0].losses) < 40
    assert not found[1].is_diverged and len(found[1].losses) == 40
    assert np.isfinite(found[1].losses).all()


def test_batches_that_would_be_filled_too_much_get_programs_of_their_own(
    digits: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []
    sweep_lanes = sweeping._sweep_lanes

    def counted(lanes: list[Trainer], *arguments: Any) -> Any:
        taken.append(len(lanes))
        return sweep_lanes(lanes, *arguments)

    monkeypatch.setattr(sweeping, "_sweep_lanes", counted)
    for speedup, expected in ((1.2, [2, 2]), (3.0, [4])):
        taken.clear()
        say_it_pays(monkeypatch, speedup)
        sweep_together(trainers_of(digits, [8, 8, 128, 128]), [12] * 4)
        assert taken == expected


@pytest.mark.parametrize(
    "sections", [{"gradient_noise": {"name": "gaussian"}}, {"augmentations": [{"name": "mixup"}]}]
)
def test_what_cannot_be_shared_is_swept_alone(digits: Data, sections: dict[str, Any]) -> None:
    made = [make(digits, optimizer={"name": "sgd", "lr": 1e-4}, **sections) for _ in range(4)]
    together, alone = (
        sweep_together(made[:2], [12] * 2),
        [sweep(t, num_steps=12) for t in made[2:]],
    )
    for mine, theirs in zip(together, alone, strict=True):
        np.testing.assert_array_equal(mine.losses, theirs.losses)
