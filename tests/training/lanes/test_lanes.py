"""Lanes come and go, diverge and fail, and no other lane's curve changes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hpsearch.components import Data, load_data
from hpsearch.errors import DivergedError
from hpsearch.training import Trainer
from hpsearch.training.lanes.gradients import Gradients
from hpsearch.training.lanes.lanes import Lanes, ProgramError
from hpsearch.training.lanes.pace import measured_pace
from hpsearch.training.lanes.probing import ProgramTrial, tried, why_not
from hpsearch.training.threads import num_threads
from tests.support.lanes import (
    MLP,
    Trained,
    alone,
    assert_same,
    churned,
    lane_config,
    together,
    without_time,
)


class Moody(nn.Module):
    """Its program depends on the data."""

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs, of positive inputs twice as large."""
        return self.linear(x) * (2 if x.sum().item() > 0 else 1)


def moody(input_shape: tuple[int, ...], output_size: int) -> nn.Module:
    """A model that can't be batched."""
    return Moody(input_shape[0], output_size)


class Scaled(nn.Module):
    """Outputs that are scaled by an attribute."""

    def __init__(self, features: int, outputs: int, factor: float) -> None:
        super().__init__()
        self.linear, self.factor = nn.Linear(features, outputs), factor

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs."""
        return self.linear(x) * self.factor


def scaled(input_shape: tuple[int, ...], output_size: int, factor: float = 1.0) -> nn.Module:
    """A model of the user's own with a number that is no tensor."""
    return Scaled(input_shape[0], output_size, factor)


def own(name: str, **keywords: Any) -> dict[str, Any]:
    return {"model": {"name": f"{Path(__file__).name}:{name}", **keywords}}


def config(number: int, **values: Any) -> Any:
    made = lane_config(number, **values)
    return made.__class__(**{**vars(made), "folder": str(Path(__file__).parent)})


def test_lanes_of_other_batch_sizes_and_optimizers_share_a_program(wine: Data) -> None:
    optimizers = [
        {"name": "sgd", "lr": 0.05, "momentum": 0.9},
        {"name": "adamw", "lr": 0.01},
        {"name": "rmsprop", "lr": 0.003},
    ]
    configs = [
        lane_config(number, optimizer=optimizers[number % 3], batch_size=size)
        for number, size in enumerate([16, 32, 20, 7, 57, 114])
    ]
    trainers, lanes = together(configs, wine, 3)
    for one, other in zip(alone(configs, wine, 3), trainers, strict=True):
        assert_same(one, other)
    assert (lanes.num_fused, lanes.num_alone) == (18, 0)


def test_lanes_of_large_nets_are_trained_with_those_of_their_batch_size(
    wine: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of nets whose gradients have closed forms; the others gain by programs for all."""
    monkeypatch.setattr("hpsearch.training.lanes.lanes.APART_PARAMS", 1)
    norm = {**MLP, "norm": "layer"}
    models = {number: norm if number > 4 else MLP for number in range(8)}
    configs = [
        lane_config(number, model=models[number], batch_size=size)
        for number, size in enumerate([16, 32, 16, 57, 32, 16, 32, 32])
    ]
    expected = alone(configs, wine, 3)
    lanes = Lanes(fewest=1)
    trainers = [Trainer(each, wine) for each in configs]
    for trainer in trainers:
        lanes.join(trainer)
    curves: dict[Trainer, list[Any]] = {trainer: [] for trainer in trainers}
    for _ in range(2 * 3):  # of two programs
        for trainer, result in lanes.train_epoch().items():
            curves[trainer].append(without_time(result))
    for one, trainer in zip(expected, trainers, strict=True):
        assert_same(one, Trained(trainer, curves[trainer]))
    parts = [[fused.trainers for fused in group.fused] for group in lanes._groups.values()]
    sizes = [
        [[each.config.values["batch_size"] for each in part] for part in program]
        for program in parts
    ]
    assert sizes == [[[16, 16], [32, 32], [57]], [[16, 32, 32]]]
    assert (lanes.num_fused, lanes.num_alone) == (21, 3)


def test_batch_norm_shares_a_program_among_equal_batches_only(wine: Data) -> None:
    model = {**MLP, "norm": "batch"}
    configs = [
        lane_config(number, model=model, batch_size=size)
        for number, size in enumerate([16, 16, 32, 32])
    ]
    trainers, lanes = together(configs, wine, 2)
    for one, other in zip(alone(configs, wine, 2), trainers, strict=True):
        assert_same(one, other)
    assert lanes.num_fused == 8


@pytest.mark.parametrize("stacked", [False, True])
def test_a_loss_that_learns_sees_no_rows_that_only_fill(stacked: bool) -> None:
    data = load_data({"name": "diabetes"}, seed=0)
    task = {"name": "regression", "loss": "adaptive_robust"}
    configs = [
        lane_config(number, task=task, batch_size=size)
        for number, size in enumerate([16, 16, 20, 20])
    ]
    trainers, lanes = together(configs, data, 2, stacked=stacked)
    for one, other in zip(alone(configs, data, 2), trainers, strict=True):
        assert_same(one, other)
    assert lanes.num_fused == 8


def test_lanes_join_and_leave_at_any_epoch(wine: Data) -> None:
    """A lane's state goes to another, and to a trainer by itself, and back."""
    configs = [lane_config(number, max_epochs=6) for number in range(5)]
    trained, num_changes, lanes = churned(configs, wine, epochs=6, seed=0)
    assert lanes.num_fused > 5
    assert num_changes > 10
    for one, other in zip(alone(configs, wine, 6), trained, strict=True):
        assert_same(one, other)


def test_a_lane_that_diverges_ends_alone(wine: Data) -> None:
    configs = [lane_config(number) for number in range(3)]
    wild = lane_config(3, optimizer={"name": "sgd", "lr": 1e30})
    lanes = Lanes()
    trainers = [Trainer(each, wine) for each in (*configs, wild)]
    for trainer in trainers:
        lanes.join(trainer)
    results = lanes.train_epoch()
    with pytest.raises(DivergedError, match="epoch 1: train_loss must be finite, but got nan"):
        raise results[trainers[3]]
    for trained, trainer in zip(alone(configs, wine, 1), trainers, strict=False):
        assert_same(trained, Trained(trainer, [without_time(results[trainer])]))


def test_a_model_that_cannot_be_batched_is_trained_alone(wine: Data) -> None:
    configs = [config(number, **own("moody")) for number in range(2)]
    trainers, lanes = together(configs, wine, 2)
    assert lanes.num_fused == 0
    assert len(lanes.reasons) == 1
    assert "vmap" in next(iter(lanes.reasons))
    for one, other in zip(alone(configs, wine, 2), trainers, strict=True):
        assert one.curve == other.curve


def test_numbers_that_are_no_tensors_make_another_program(wine: Data) -> None:
    configs = [config(number, **own("scaled", factor=1.0 + number // 2)) for number in range(4)]
    trainers, lanes = together(configs, wine, 2)
    for one, other in zip(alone(configs, wine, 2), trainers, strict=True):
        assert_same(one, other)
    assert lanes.num_fused == 8


def test_an_error_in_a_program_is_told_of_all_its_lanes(wine: Data, monkeypatch: Any) -> None:
    lanes = Lanes()
    trainers = [Trainer(lane_config(number), wine) for number in range(3)]
    for trainer in trainers:
        lanes.join(trainer)
    lanes.train_epoch()
    monkeypatch.setattr(Gradients, "take", _out_of_memory)
    results = lanes.train_epoch()
    assert all(isinstance(result, ProgramError) for result in results.values())
    assert all(isinstance(e.__cause__, torch.OutOfMemoryError) for e in results.values())
    monkeypatch.undo()
    for number, trainer in enumerate(trainers):
        lanes.leave(trainer)
        lanes.join(Trainer(lane_config(number), wine), alone=True)
    assert len(lanes) == 3
    assert isinstance(next(iter(lanes.train_epoch().values())), dict)


def _out_of_memory(*arguments: Any, **keywords: Any) -> None:
    raise torch.OutOfMemoryError("no memory")


def test_a_program_is_tried_once_whatever_lanes_come_and_go(
    wine: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And once more where batches are of several sizes for the first time."""
    tried = []

    def counted(trainers: list[Trainer], **how: bool) -> str:
        tried.append(len(trainers))
        return why_not(trainers, **how)

    monkeypatch.setattr("hpsearch.training.lanes.lanes.why_not", counted)
    lanes, expected = Lanes(), []
    for batch_sizes in ((32, 32), (32, 32, 32), (16, 16), (16, 32), (32, 16, 8), (32, 32)):
        trainers = [
            Trainer(lane_config(number, batch_size=size), wine)
            for number, size in enumerate(batch_sizes)
        ]
        for trainer in trainers:
            lanes.join(trainer)
        lanes.train_epoch()
        for trainer in trainers:  # until none is left
            lanes.leave(trainer)
        expected += list(batch_sizes)
    assert tried == [2, 2]
    assert (lanes.num_fused, lanes.num_alone) == (len(expected), 0)


def test_what_cannot_be_compared_makes_programs_that_no_other_object_takes(wine: Data) -> None:
    """A program is remembered when its lanes are gone, and so is what makes it another one."""
    lanes = Lanes()
    for _ in range(20):
        pair = [Trainer(lane_config(number), wine) for number in range(2)]
        own = object()
        for trainer in pair:
            trainer.model.own = own  # type: ignore[assignment]
            lanes.join(trainer)
        lanes.train_epoch()
        for trainer in pair:
            lanes.leave(trainer)
        del own, pair, trainer
    assert lanes.num_fused == 40
    assert len(lanes._sound) == 20


def test_measuring_large_nets_ends_early(wine: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, time_fused = [], ProgramTrial.time_fused

    def noted(trial: ProgramTrial) -> float:
        sizes.append(len(trial._stack))
        return time_fused(trial)

    monkeypatch.setattr(ProgramTrial, "time_fused", noted)
    monkeypatch.setattr("hpsearch.training.lanes.pace.MEASURED_S", 0.0)
    measured_pace(Trainer(lane_config(0), wine), [2, 4, 8])
    assert sizes == [2]


@pytest.mark.parametrize("threads", [1, 2])
def test_what_others_take_of_a_core_is_no_time_of_a_step(wine: Data, threads: int) -> None:
    with num_threads(threads), tried([Trainer(lane_config(), wine)], stacked=False) as trial:
        seconds = trial._timed(lambda: subprocess.run([sys.executable, "-c", ""], check=True))
    assert (seconds < 0.01) == (threads == 1)


def test_how_many_lanes_pay_is_measured_without_a_trace(wine: Data) -> None:
    one, other = (Trainer(lane_config(0), wine) for _ in range(2))
    assert measured_pace(one, [2, 8]).best in (1, 2, 8)
    mine, theirs = (without_time(trainer.train_epoch()) for trainer in (one, other))
    assert mine == theirs


def test_a_lane_by_itself_is_trained_by_a_program_where_one_pays(wine: Data) -> None:
    """It isn't counted as shared."""
    one, other = (Trainer(lane_config(0), wine) for _ in range(2))
    lanes = Lanes(fewest=1)
    lanes.join(one)
    curve = [without_time(lanes.train_epoch()[one]) for _ in range(3)]
    assert all(group.fused for group in lanes._groups.values())
    assert (lanes.num_fused, lanes.num_alone) == (0, 3)
    expected = [without_time(other.train_epoch()) for _ in range(3)]
    assert_same(Trained(one, curve), Trained(other, expected))
