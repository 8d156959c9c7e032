"""What further trials would bring, by the forecast."""

from __future__ import annotations

import numpy as np
import pytest

from hpsearch.samplers import Observation
from hpsearch.samplers.gaussian_process import GaussianProcess
from hpsearch.samplers.outlook import Outlook, outlook
from tests.support.sampling import PLANE, RUNGS, distance_to, sampler_of, search, space_of, trained

FUNCTION = distance_to(0.3, 0.7)
SPACE = space_of(PLANE)


def ahead(trials: tuple[Observation, ...], num_trials: int = 40) -> Outlook:
    found = outlook(trials, SPACE, RUNGS, "minimize", num_trials, seed=0)
    assert found is not None
    return found


def test_expects_much_of_a_search_that_began_badly_and_little_of_one_that_has_converged() -> None:
    far = [{"x": 0.8 + 0.012 * i, "y": 0.2 - 0.012 * i} for i in range(15)]
    begun = tuple(trained(i, params, FUNCTION(params)) for i, params in enumerate(far))
    assert ahead(begun).expected > 0.01
    assert ahead(begun).probability_below(0.01) < 0.5
    ended = search(sampler_of("auto", PLANE), FUNCTION, 40)
    assert ahead(ended).expected < 0.005
    assert ahead(ended).probability_below(0.01) > 0.95


def test_more_trials_bring_more() -> None:
    trials = search(sampler_of("random", PLANE), FUNCTION, 14)
    assert ahead(trials, 100).expected >= ahead(trials, 1).expected


def test_depends_on_the_observations_alone() -> None:
    trials = search(sampler_of("random", PLANE), FUNCTION, 16)
    assert (ahead(trials).improvements == ahead(trials).improvements).all()
    assert ahead(trials).improvements.min() >= 0.0


def test_a_trial_that_runs_may_improve() -> None:
    """Its first epochs are by far the best that were seen."""
    trials = [
        Observation(i, {"x": 0.5, "y": i / 40}, dict.fromkeys(range(1, 10), 0.5), "finished")
        for i in range(20)
    ]
    trials = [
        Observation(t.number, t.params, {e: 0.4 + t.number / 100 for e in t.curve}, t.state)
        for t in trials
    ]
    running = Observation(20, {"x": 0.5, "y": 0.9}, {1: 0.1, 2: 0.1, 3: 0.1}, "running")
    stands = ahead(tuple(trials), 1).expected
    assert ahead((*trials, running), 1).expected > stands + 0.05


def test_is_unknown_before_trials_were_trained_in_full() -> None:
    trials = search(sampler_of("random", PLANE), FUNCTION, 14)
    assert outlook(trials[:11], SPACE, RUNGS, "minimize", 9, 0) is None
    begun = [Observation(t.number, t.params, {1: t.curve[1]}, "finished") for t in trials]
    assert outlook([*begun, *trials[:2]], SPACE, RUNGS, "minimize", 9, 0) is None


@pytest.mark.parametrize("same", [False, True])
def test_samples_have_the_moments_of_the_process(same: bool) -> None:
    rng = np.random.default_rng(0)
    features, groups = rng.random((8, 2)), np.arange(2)
    model = GaussianProcess(features, rng.standard_normal(8), 0.01, np.ones(2), groups)
    at = np.vstack([features[:2], features[:2]]) if same else rng.random((4, 2)) * 3
    mean, std = model.predict(at)
    samples = model.samples(at, 20_000, rng)
    assert samples.mean(axis=0) == pytest.approx(mean, abs=0.03)
    assert samples.std(axis=0) == pytest.approx(std, abs=0.03)
    if same:
        assert samples[:, :2] == pytest.approx(samples[:, 2:], abs=1e-3)
