"""Models of users' own: what can't be shared is found, the rest is right."""

from __future__ import annotations

import copy
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hpsearch.components import Data
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer
from hpsearch.training.lanes.lanes import Lanes
from hpsearch.training.lanes.pace import Pace, measured_pace
from tests.support.lanes import alone, assert_same, lane_config, together


class Plain(nn.Module):
    """Two layers; a class below changes what goes in or comes out."""

    mean: Tensor

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(features, 8), nn.Linear(8, outputs)
        self.register_buffer("mean", torch.zeros(features))
        self.count = 0

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs."""
        outputs: Tensor = self.last(torch.relu(self.first(x - self.mean)))
        return outputs


class NewBuffer(Plain):
    """Gives a buffer another tensor at each step."""

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs."""
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.mean(0)
        return super().forward(x)


class ChangedBuffer(Plain):
    """Changes a buffer in place by what is a batch's."""

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs."""
        if self.training:
            self.mean.mul_(0.9).add_(0.1 * x.mean(0))
        return super().forward(x)


class Centred(Plain):
    """Rows of a batch change each other's outputs."""

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs."""
        return super().forward(x - x.mean(0))


class Drawing(Plain):
    """Draws from Python's generator."""

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs."""
        return super().forward(x) * (0.5 if self.training and random.random() < 0.2 else 1)


class Counting(Plain):
    """Counts its steps, or its evaluations."""

    counts_training = True

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs."""
        self.count += self.training is self.counts_training
        return super().forward(x) * (1 + self.count / 10)


class CountingEvaluations(Counting):
    """Changes in evaluation only."""

    counts_training = False


class Mixed(Plain):
    """Has parameters of two dtypes."""

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__(features, outputs)
        self.scale = nn.Parameter(torch.ones(outputs, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs."""
        return (super().forward(x) * self.scale).float()


class Exiting(Plain):
    """Ends the program."""

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs, in evaluation."""
        if self.training:
            raise SystemExit("over")
        return super().forward(x)


class Remembering(Plain):
    """Keeps a tensor that has a gradient, which can't be copied."""

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs."""
        self.outputs = super().forward(x)
        return self.outputs


MODELS = {
    each.__name__: each
    for each in (
        *(Plain, NewBuffer, ChangedBuffer, Centred, Drawing, Counting),
        *(CountingEvaluations, Mixed, Exiting, Remembering),
    )
}


def own_model(input_shape: tuple[int, ...], output_size: int, kind: str) -> nn.Module:
    """A model of this class."""
    return MODELS[kind](input_shape[0], output_size)


def own(factory: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"name": f"{Path(__file__).name}:{factory}", "kind": kind, **more}


def lane(number: int, **values: Any) -> TrialConfig:
    return replace(lane_config(number, **values), folder=str(Path(__file__).parent))


@pytest.mark.parametrize("sizes", [(16, 16, 16), (16, 32, 20)], ids=["same sizes", "other sizes"])
@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("Plain", ("", "")),
        ("NewBuffer", ("other numbers", "other numbers")),
        ("ChangedBuffer", ("", "the rows of a batch")),
        ("Centred", ("", "the rows of a batch")),
        ("Drawing", ("draws random numbers", "draws random numbers")),
        ("Counting", ("a step changes", "a step changes")),
        ("CountingEvaluations", ("a step changes", "a step changes")),
        ("Mixed", ("several dtypes", "several dtypes")),
    ],
)
def test_models(kind: str, reason: tuple[str, str], sizes: tuple[int, ...], wine: Data) -> None:
    """Curves are those of trials by themselves, whether they are shared or not."""
    configs = [
        lane(number, model=own("own_model", kind), batch_size=size)
        for number, size in enumerate(sizes)
    ]
    trained, lanes = together(configs, wine, 2)
    for one, other in zip(alone(configs, wine, 2), trained, strict=True):
        assert_same(one, other)
    expected = reason[len(set(sizes)) > 1]
    assert lanes.num_fused == (0 if expected else 6)
    assert all(expected in found for found in lanes.reasons)


def test_a_lane_with_another_batch_size_joins_a_model_that_mixes_rows(wine: Data) -> None:
    lanes = Lanes()
    for number, size in enumerate((16, 16, 32)):
        config = lane(number, model=own("own_model", "Centred"), batch_size=size)
        lanes.join(Trainer(config, wine))
        lanes.train_epoch()
    assert (lanes.num_fused, lanes.num_alone) == (2, 4)


def test_a_model_that_ends_the_program_ends_its_trials(wine: Data) -> None:
    lanes = Lanes()
    for number in range(2):
        lanes.join(Trainer(lane(number, model=own("own_model", "Exiting")), wine))
    results = lanes.train_epoch().values()
    assert [(type(result), str(result)) for result in results] == [(SystemExit, "over")] * 2


def test_pace_of_a_model_that_cannot_be_copied(wine: Data) -> None:
    """It is measured after an epoch."""
    trainer = Trainer(lane(0, model=own("own_model", "Remembering")), wine)
    trainer.model.train()
    trainer.model(torch.zeros(2, 13))
    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(trainer.model)
    assert measured_pace(trainer, [4]) == Pace()
