"""Trials of specs put together by chance: the same curves as lanes and one by one."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from hpsearch.errors import DivergedError
from hpsearch.space import SearchSpace
from hpsearch.spec import TrialConfig
from tests.support.chance import any_spec, data_of
from tests.support.lanes import alone, assert_same, together
from tests.support.space import draw

#: rounding of the first steps grows in the next ones
TOLERANCE = 5e-3


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_lanes_agree_with_trials_by_themselves(seed: int, stacked: bool) -> None:
    spec, rng = any_spec(seed), random.Random(seed)
    data = replace(data_of(spec), folds=())
    if data.val is None:
        pytest.skip("folds have no validation split of their own")
    space = SearchSpace.of(spec)
    values = [space.resolve(draw(space, rng)) for _ in range(3)]
    configs = [TrialConfig(number, 0, 3, each) for number, each in enumerate(values)]
    try:
        expected = alone(configs, data, 2)
    except DivergedError:
        pytest.skip("a trial diverges")
    trained, _ = together(configs, data, 2, stacked=stacked)
    for one, other in zip(expected, trained, strict=True):
        assert_same(one, other, TOLERANCE)
