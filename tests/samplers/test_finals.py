"""A model of finals, and forecasts of them where losses are as large as they like."""

from __future__ import annotations

import numpy as np
import pytest

from hpsearch.samplers import Observation
from hpsearch.samplers.base import generator
from hpsearch.samplers.finals import fit_finals
from hpsearch.samplers.forecast import forecast_finals
from hpsearch.space import SearchSpace
from tests.support.records import make_spec

RUNGS = (1, 3, 9)


def observations(num_trials: int, num_huge: int) -> list[Observation]:
    """Losses 1 - x, a third of it at rung 3 and a ninth in full; every other trial ends at 1."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(num_trials):
        x = float(rng.random())
        curve = {1: 1 - x, 3: (1 - x) / 3, 9: (1 - x) / 9}
        if number < num_huge:
            curve = {1: 1e20, 3: 1e22}
        elif number % 2:
            curve = {1: 1 - x}
        found.append(Observation(number, {"x": x}, curve, "finished"))
    return found


@pytest.mark.parametrize("num_huge", [0, 4])
def test_huge_losses_leave_the_other_forecasts_alone(num_huge: int) -> None:
    found = forecast_finals(observations(40, num_huge), RUNGS, "minimize")
    assert found is not None
    others = [i for i, trial in enumerate(found.trials) if trial.number >= num_huge]
    expected = [-(1 - trial.params["x"]) / 9 for trial in found.trials]  # type: ignore[operator]
    assert found.scores[others] == pytest.approx(np.array(expected)[others], abs=0.02)
    assert found.scores.min() > -10


def test_a_model_of_them_sees_the_others(num_huge: int = 4) -> None:
    space = SearchSpace.of(make_spec({"x": {"low": 0.0, "high": 1.0}}))
    model = fit_finals(observations(40, num_huge), space, RUNGS, "minimize", generator(0, 40))
    assert model is not None
    mean, _ = model.process.predict(model.cube.features(np.array([[0.2], [0.9]])))
    low, high = model.offset + model.scale * mean
    assert high - low == pytest.approx(0.7 / 9, rel=0.4)
