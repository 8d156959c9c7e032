"""Lanes that join trained ones, and those of other activations."""

from __future__ import annotations

import pytest

from hpsearch.components import Data
from tests.support.lanes import MLP, alone, assert_same, churned, lane_config, together

ACTIVATIONS = ["relu", "tanh", "relu", {"name": "leaky_relu", "negative_slope": 0.2}, "silu"]


def test_trained_lanes_of_other_batch_sizes_share_a_program_again(wine: Data) -> None:
    """The last part of an epoch leaves the number of its first row in dropouts."""
    configs = [lane_config(n, 6, batch_size=size) for n, size in enumerate([32, 57, 16, 20])]
    trained, num_changes, lanes = churned(configs, wine, epochs=6, seed=3)
    assert num_changes > 8
    assert lanes.reasons == set()
    for one, other in zip(alone(configs, wine, 6), trained, strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("sizes", [[16] * 5, [16, 20, 57, 7, 16]], ids=["whole", "divided"])
def test_chains_of_other_activations_share_a_program(
    sizes: list[int], stacked: bool, wine: Data
) -> None:
    configs = [
        lane_config(number, model={**MLP, "activation": activation}, batch_size=size)
        for number, (activation, size) in enumerate(zip(ACTIVATIONS, sizes, strict=True))
    ]
    trained, lanes = together(configs, wine, 3, stacked=stacked)
    for one, other in zip(alone(configs, wine, 3), trained, strict=True):
        assert_same(one, other)
    assert lanes.num_fused == 15
    [group] = lanes._groups.values()
    [fused] = group.fused
    assert len(fused.trainers) == 5


def test_others_get_programs_of_their_own(wine: Data) -> None:
    """A norm is computed by vmap, with the modules of one lane."""
    configs = [
        lane_config(number, model={**MLP, "norm": "layer", "activation": activation})
        for number, activation in enumerate(["relu", "tanh"] * 2)
    ]
    trained, lanes = together(configs, wine, 2)
    for one, other in zip(alone(configs, wine, 2), trained, strict=True):
        assert_same(one, other)
    assert (lanes.num_fused, len(lanes._groups)) == (8, 2)
