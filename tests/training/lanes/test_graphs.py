"""Steps that are recorded and replayed: by a stand-in on the CPU, by CUDA graphs on a GPU."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch

from hpsearch.components import Data
from hpsearch.training import Trainer
from hpsearch.training.lanes.graphs import NUM_WARM_UP, RecordedCalls
from hpsearch.training.lanes.group import LaneGroup
from hpsearch.training.lanes.stacked_training import StackedTraining
from tests.support.lanes import Trained, alone, assert_same, lane_config, together, without_time

NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
EPOCHS = 4


class Recording:
    """Replays by calling again: a call must depend on nothing but tensors that stay in place."""

    def __init__(self, error: Exception | None = None) -> None:
        self.num_run = self.num_recorded = self.num_replayed = 0
        self._error = error

    def run(self, call: Callable[[], None]) -> None:
        self.num_run += 1
        call()

    def record(self, call: Callable[[], None]) -> Callable[[], None]:
        if self._error is not None:
            raise self._error
        self.num_recorded += 1

        def replay() -> None:
            self.num_replayed += 1
            call()

        return replay


def group_of(configs: list[Any], data: Data, recorder: Recording) -> LaneGroup:
    group = LaneGroup([Trainer(config, data) for config in configs], stacked=True)
    group.training = StackedTraining(group.trainers, recorder)
    group.training.bind(group._stack)
    return group


def curves_of(group: LaneGroup, epochs: int) -> list[Trained]:
    trained = [Trained(trainer, []) for trainer in group.trainers]
    for _ in range(epochs):
        for each, result in zip(trained, group.train_epoch(), strict=True):
            each.curve.append(without_time(result))
    group.close()
    return trained


@pytest.mark.parametrize("sizes", [[16, 16, 16], [16, 57, 20]], ids=["whole", "divided"])
def test_steps_are_recorded_once_and_replayed(sizes: list[int], wine: Data) -> None:
    configs = [lane_config(number, batch_size=size) for number, size in enumerate(sizes)]
    recorder = Recording()
    trained = curves_of(group_of(configs, wine, recorder), EPOCHS)
    for one, other in zip(alone(configs, wine, EPOCHS), trained, strict=True):
        assert_same(one, other)
    # with and without norms, and another last batch
    assert recorder.num_recorded <= 3
    assert recorder.num_run <= 3 * NUM_WARM_UP
    assert recorder.num_replayed > recorder.num_run


def test_where_recording_fails_steps_are_taken_as_they_are(wine: Data) -> None:
    configs = [lane_config(number) for number in range(3)]
    recorder = Recording(RuntimeError("operation not permitted when stream is capturing\nmore"))
    group = group_of(configs, wine, recorder)
    trained = curves_of(group, 2)
    for one, other in zip(alone(configs, wine, 2), trained, strict=True):
        assert_same(one, other)
    assert isinstance(group.training, StackedTraining)
    expected = "RuntimeError: operation not permitted when stream is capturing"
    assert group.training.reason == expected
    assert recorder.num_replayed == 0


def test_the_memory_of_a_group_is_free_without_a_garbage_collection(wine: Data) -> None:
    """A GPU's would be full before Python looks for cycles."""
    trainers = [Trainer(lane_config(number), wine) for number in range(3)]
    group = LaneGroup(trainers, stacked=True)
    gc.disable()
    try:
        group.train_epoch()
        values = weakref.ref(group._stack.values)
        assert isinstance(group.training, StackedTraining)
        state = weakref.ref(group.training._step.state["momentum_buffer"])
        group.close()
        del group
        assert (values(), state()) == (None, None)
    finally:
        gc.enable()


def test_no_memory_for_a_recording_is_no_reason_to_go_without() -> None:
    calls: RecordedCalls[int] = RecordedCalls(
        lambda key: None, Recording(torch.OutOfMemoryError())
    )
    for _ in range(NUM_WARM_UP):
        calls(0)
    with pytest.raises(torch.OutOfMemoryError):
        calls(0)


@NEEDS_GPU
@pytest.mark.parametrize("kind", ["sgd", "adamw", "amsgrad"])
@pytest.mark.parametrize("sizes", [[16, 16, 16], [16, 57, 20]], ids=["whole", "divided"])
def test_a_gpu_gives_the_curves_of_trials_by_themselves(
    sizes: list[int], kind: str, wine: Data
) -> None:
    configs = [
        lane_config(number, batch_size=size, optimizer={"name": kind, "lr": 0.01 * (1 + number)})
        for number, size in enumerate(sizes)
    ]
    trainers = [Trainer(config, wine, "cuda") for config in configs]
    group = LaneGroup(trainers, stacked=True)
    trained = curves_of(group, EPOCHS)
    assert isinstance(group.training, StackedTraining)
    assert group.training.reason == ""
    for one, other in zip(alone(configs, wine, EPOCHS, "cuda"), trained, strict=True):
        assert_same(one, other)


@NEEDS_GPU
def test_a_gpu_records_images_and_batch_norm(digits: Data) -> None:
    model = {"name": "cnn", "channels": [4], "hidden_sizes": [8], "norm": "batch", "dropout": 0.2}
    configs = [lane_config(number, model=model, batch_size=64) for number in range(3)]
    trainers, lanes = together(configs, digits, 2, device="cuda")
    for one, other in zip(alone(configs, digits, 2, "cuda"), trainers, strict=True):
        assert_same(one, other)
    assert lanes.num_fused == 6
    assert not lanes.unrecorded
