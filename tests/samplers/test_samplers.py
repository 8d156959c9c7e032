"""Samplers: what holds for all of them, then each one's own promise."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray
from optuna.distributions import FloatDistribution, IntDistribution

from hpsearch import registry
from hpsearch.errors import SpecError, UserCodeError
from hpsearch.samplers import Observation, Sampler, gaussian_process
from hpsearch.spec import Scalar
from tests.support import sampling
from tests.support.sampling import space_of

NAMES = ["auto", "cmaes", "gp", "nsga2", "qmc", "random", "tpe"]
MIXED = {
    "optimizer": {
        "choices": [
            {
                "name": "sgd",
                "lr": {"low": 1e-4, "high": 1.0, "log": True},
                "steps": {"low": 1, "high": 3},
            },
            {"name": "adam", "lr": {"low": 1e-5, "high": 0.1, "log": True}},
            "none",
        ]
    },
    "width": {"low": 8, "high": 512, "log": True},
    "rank": {"low": 4, "high": 128, "powers_of_two": True},
    "depth": {"low": 1, "high": 9, "step": 2},
    "dropout": {"low": 0.0, "high": 0.5, "step": 0.1},
    "momentum": {"low": 0.0, "high": 0.99},
    "batch_size": {"choices": [32, 64, None]},
}
DISCRETE = {
    "optimizer": {
        "choices": [
            {
                "name": "sgd",
                "nesterov": {"choices": [True, False]},
                "steps": {"low": 1, "high": 3},
            },
            "adam",
        ]
    },
    "dropout": {"low": 0.1, "high": 0.3, "step": 0.1},
    "batch_size": {"low": 8, "high": 64, "powers_of_two": True},
}
PLANE = {"x": {"low": 0.0, "high": 1.0}, "y": {"low": 0.0, "high": 1.0}}


sampler_of = partial(sampling.sampler_of, slots=2)


def finished(number: int, params: dict[str, Scalar], *values: float) -> Observation:
    """A trial that was stopped, or ended, at the epoch of its last value."""
    return Observation(number, params, dict(enumerate(values, start=1)), "finished")


def history(tree: dict[str, object], num_trials: int) -> list[Observation]:
    """Random trials of every kind; a third of the curves reaches each next rung."""
    source, rng = sampler_of("random", tree, seed=99), np.random.default_rng(0)
    trials = []
    for number in range(num_trials):
        params = source.suggest(number, [])
        assert params is not None
        if number % 7 == 6:
            trials.append(Observation(number, params, {}, "bad"))
        elif number % 7 == 5:
            trials.append(Observation(number, params, {1: rng.random()}, "running"))
        else:
            epochs = 9 if number % 4 == 0 else 3 if number % 2 == 0 else 1
            trials.append(finished(number, params, *rng.random(epochs)))
    return trials


def quadratic(params: dict[str, Scalar]) -> float:
    x, y = params["x"], params["y"]
    assert isinstance(x, float) and isinstance(y, float)
    return (x - 0.3) ** 2 + (y - 0.7) ** 2


def minimise(sampler: Sampler, num_trials: int) -> list[float]:
    """Values of `quadratic` in one search without early stopping or concurrency."""
    trials: list[Observation] = []
    for number in range(num_trials):
        params = sampler.suggest(number, trials)
        assert params is not None
        trials.append(finished(number, params, *[quadratic(params)] * 9))
    return [trial.curve[9] for trial in trials]


class CountedFits:
    """How many Gaussian processes were fitted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.num = 0
        self._fit = gaussian_process.fit_hyperparameters
        monkeypatch.setattr(gaussian_process, "fit_hyperparameters", self)

    def __call__(self, *arguments: Any) -> tuple[NDArray[np.float64], float]:
        self.num += 1
        return self._fit(*arguments)


class TestEverySampler:
    def test_all_are_registered(self) -> None:
        assert set(registry.names("sampler")) >= {*NAMES, "grid"}

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("num_known", [0, 12, 40])
    def test_suggests_active_parameters_within_the_space(self, name: str, num_known: int) -> None:
        space, known = space_of(MIXED), history(MIXED, num_known)
        sampler = sampler_of(name, MIXED)
        for number in range(num_known, num_known + (2 if name == "gp" else 6)):
            params = sampler.suggest(number, known)
            assert params is not None
            assert list(params) == [parameter.name for parameter in space.active(params)]
            for key, value in params.items():
                distribution = space.distributions[key]
                assert distribution._contains(distribution.to_internal_repr(value))
                if isinstance(distribution, IntDistribution):
                    assert type(value) is int
                if isinstance(distribution, FloatDistribution):
                    assert type(value) is float
            space.resolve(params)

    @pytest.mark.parametrize("name", NAMES)
    def test_is_a_function_of_seed_number_and_observations(self, name: str) -> None:
        known = history(MIXED, 30)
        used = sampler_of(name, MIXED)
        first = used.suggest(30, known)
        used.suggest(31, known)
        assert used.suggest(30, known) == first
        assert sampler_of(name, MIXED).suggest(30, known) == first
        if name != "gp":  # which finds the same optimum from any start
            assert sampler_of(name, MIXED).suggest(31, known) != first
            assert sampler_of(name, MIXED, seed=1).suggest(30, known) != first

    @pytest.mark.parametrize("name", NAMES)
    def test_searches_where_every_trial_is_bad(self, name: str) -> None:
        source = sampler_of("random", PLANE)
        known = [Observation(i, source.suggest(i, []) or {}, {}, "bad") for i in range(25)]
        assert set(sampler_of(name, PLANE).suggest(25, known) or {}) == {"x", "y"}

    @pytest.mark.parametrize("name", NAMES)
    def test_takes_spaces_of_choices_only(self, name: str) -> None:
        tree: dict[str, object] = {"a": {"choices": ["x", "y"]}, "b": {"choices": [1]}}
        params = sampler_of(name, tree).suggest(12, history(tree, 12))
        assert params is not None and params["b"] == 1

    @pytest.mark.parametrize("name", ["auto", "cmaes", "nsga2", "tpe"])
    def test_learns(self, name: str) -> None:
        late = np.median(minimise(sampler_of(name, PLANE), 60)[40:])
        assert late < 0.5 * np.median(minimise(sampler_of("random", PLANE), 60))

    def test_gp_learns(self) -> None:
        source = sampler_of("random", PLANE)
        known = []
        for number in range(15):
            params = source.suggest(number, []) or {}
            known.append(finished(number, params, *[quadratic(params)] * 9))
        suggestion = sampler_of("gp", PLANE).suggest(15, known) or {}
        assert quadratic(suggestion) < 0.02

    @pytest.mark.parametrize("name", ["auto", "tpe", "cmaes", "nsga2"])
    def test_avoids_bad_configurations(self, name: str) -> None:
        sampler, trials, rng = sampler_of(name, PLANE), [], np.random.default_rng(0)
        for number in range(120):
            params = sampler.suggest(number, trials) or {}
            x = params["x"]
            assert isinstance(x, float)
            if x > 0.5:
                trials.append(Observation(number, params, {}, "bad"))
            else:  # all alike but for noise
                trials.append(finished(number, params, *[rng.random()] * 9))
        assert sum(trial.state == "bad" for trial in trials[80:]) <= 10  # of 40

    def test_an_unknown_name_is_refused_with_the_nearest(self) -> None:
        with pytest.raises(UserCodeError, match=r"^name: .*'tpee'.*'tpe'"):
            sampler_of("tpee", PLANE)


class TestAuto:
    def test_beats_random_by_far_on_a_smooth_function(self) -> None:
        ratios = [
            min(minimise(sampler_of("auto", PLANE, seed), 40))
            / min(minimise(sampler_of("random", PLANE, seed), 40))
            for seed in range(3)
        ]
        assert np.median(ratios) < 0.1

    def test_trials_at_the_same_time_spread(self) -> None:
        source, sampler = sampler_of("random", PLANE), sampler_of("auto", PLANE, random_fraction=0)
        known = []
        for number in range(8):
            params = source.suggest(number, []) or {}
            known.append(finished(number, params, *[quadratic(params)] * 9))

        def spread(tells_running: bool) -> float:
            trials, suggestions = list(known), []
            for number in range(8, 14):
                params = sampler.suggest(number, trials) or {}
                suggestions.append([params["x"], params["y"]])
                if tells_running:
                    trials.append(Observation(number, params, {}, "running"))
            return float(np.array(suggestions, float).std(axis=0).max())

        assert spread(tells_running=True) > 2 * spread(tells_running=False)

    @pytest.mark.parametrize("num_known", [30, 100])
    def test_proposals_between_two_results_share_a_fit(
        self, monkeypatch: pytest.MonkeyPatch, num_known: int
    ) -> None:
        """A driver that dies among them proposes the same again, from the record alone."""
        fits = CountedFits(monkeypatch)
        trials = [replace(trial, margins=(0.1,)) for trial in history(MIXED, num_known)]
        paused = len(trials) - 2  # an early-stopped one
        sampler = sampler_of("auto", MIXED, random_fraction=0.0)
        for number in range(num_known, num_known + 16):
            if number == num_known + 8:  # a paused trial continues
                trials[paused] = replace(trials[paused], state="running")
            params, fits.num = sampler.suggest(number, trials) or {}, 0
            again = sampler_of("auto", MIXED, random_fraction=0.0).suggest(number, list(trials))
            assert again == params
            assert fits.num == 1
            trials.append(Observation(number, params, {}, "running", margins=(np.nan,)))
        fits.num = 0
        for number in range(num_known + 16, num_known + 32):
            sampler.suggest(number, trials)
        assert fits.num == 0
        trials[-1] = replace(trials[-1], curve={1: 0.5})
        for number in range(num_known + 16, num_known + 32):
            sampler.suggest(number, trials)
        assert fits.num == 1

    def test_tries_nothing_twice_before_all_is_tried(self) -> None:
        sampler, trials = sampler_of("auto", DISCRETE, random_fraction=0.0), []
        num_cells = 21
        for number in range(num_cells + 2):
            params = sampler.suggest(number, trials) or {}
            trials.append(finished(number, params, float(str(params["dropout"]))))
        modelled = [tuple(sorted(t.params.items(), key=str)) for t in trials[8:num_cells]]
        assert len(set(modelled)) == len(modelled)

    def test_remembers_what_was_stopped_early(self) -> None:
        """All at the top are alike; that the rest is worse, only those stopped below tell."""
        rng = np.random.default_rng(1)
        trials = [
            finished(i, {"x": 0.4 + 0.2 * rng.random(), "y": rng.random()}, *[0.1] * 9)
            for i in range(8)
        ]
        for number in range(8, 60):
            x = rng.random()
            trials.append(finished(number, {"x": x, "y": rng.random()}, 0.2 + abs(x - 0.5)))
        sampler = sampler_of("auto", PLANE, random_fraction=0.0)
        for number in range(60, 65):
            x = (sampler.suggest(number, trials) or {})["x"]
            assert isinstance(x, float) and abs(x - 0.5) < 0.2


class TestGrid:
    def test_gives_every_cell_once_and_then_none(self) -> None:
        sampler = sampler_of("grid", DISCRETE)
        cells = [sampler.suggest(number, []) for number in range(84)]
        assert all(cell is not None for cell in cells)
        assert len({tuple((cell or {}).items()) for cell in cells}) == 84
        assert sum("optimizer.sgd.nesterov" in (cell or {}) for cell in cells) == 72
        assert {(cell or {})["dropout"] for cell in cells} == {0.1, 0.2, 0.3}
        assert {(cell or {})["batch_size"] for cell in cells} == {8, 16, 32, 64}
        assert sampler.suggest(84, []) is None

    def test_counts_grids_that_no_memory_would_hold(self) -> None:
        tree: dict[str, object] = {f"x{i}": {"low": 1, "high": 1000} for i in range(10)}
        last = sampler_of("grid", tree).suggest(10**30 - 1, [])
        assert last == {f"x{i}": 1000 for i in range(10)}
        assert sampler_of("grid", tree).suggest(10**30, []) is None

    def test_refuses_each_continuous_range(self) -> None:
        with pytest.raises(SpecError) as caught:
            sampler_of("grid", {**MIXED})
        paths = [problem.path for problem in caught.value.problems]
        assert paths == ["optimizer.sgd.lr", "optimizer.adam.lr", "momentum"]


class TestPowersOfTwo:
    TREE: ClassVar[dict[str, object]] = {"n": {"low": 8, "high": 512, "powers_of_two": True}}

    def test_all_are_as_likely(self) -> None:
        sampler = sampler_of("random", self.TREE)
        drawn = Counter((sampler.suggest(number, []) or {})["n"] for number in range(7000))
        assert sorted(drawn) == [8, 16, 32, 64, 128, 256, 512]  # type: ignore[type-var]
        assert all(900 < count < 1100 for count in drawn.values())

    @pytest.mark.parametrize("name", ["auto", "cmaes", "gp", "nsga2", "tpe"])
    def test_neighbours_are_learned_from(self, name: str) -> None:
        exponents = [3, 4, 5, 8, 9] * 5
        known = [finished(i, {"n": 2**k}, *[abs(k - 7.0)] * 9) for i, k in enumerate(exponents)]
        sampler = sampler_of(name, self.TREE)
        found = [(sampler.suggest(number, known) or {})["n"] for number in range(25, 31)]
        assert {64, 128, 256} & set(found)
        assert all(type(each) is int and each in {8, 16, 32, 64, 128, 256, 512} for each in found)


class TestQuasiRandom:
    def test_covers_a_range_evenly(self) -> None:
        sampler = sampler_of("qmc", PLANE)
        xs = [float(str((sampler.suggest(number, []) or {})["x"])) for number in range(64)]
        assert sorted(int(64 * x) for x in xs) == list(range(64))
