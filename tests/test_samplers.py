"""Samplers: what holds for all of them, then each one's own promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from scipy.integrate import quad

from hpsearch import registry
from hpsearch.errors import SpecError
from hpsearch.samplers import Observation, Sampler, make_sampler
from hpsearch.samplers.auto import log_expected_improvement
from hpsearch.samplers.cube import Cube, coordinate_of, value_at
from hpsearch.samplers.forecast import forecast
from hpsearch.samplers.gaussian_process import (
    GaussianProcess,
    _negative_log_likelihood,
    fit_hyperparameters,
    squared_distances,
)
from hpsearch.samplers.view import make_view, rank
from hpsearch.space import SearchSpace
from hpsearch.spec import Scalar, parse_tree

RUNGS = (1, 3, 9)
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
}
PLANE = {"x": {"low": 0.0, "high": 1.0}, "y": {"low": 0.0, "high": 1.0}}


def space_of(tree: dict[str, object]) -> SearchSpace:
    return SearchSpace.from_sections({"space": parse_tree(tree, "", [])})


def sampler_of(name: str, tree: dict[str, object], seed: int = 0, **keywords: object) -> Sampler:
    return make_sampler(
        {"name": name, **keywords},
        space_of(tree),
        seed=seed,
        direction="minimize",
        rungs=RUNGS,
        slots=2,
    )


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
        with pytest.raises(SpecError, match=r"search\.sampler\.name: .*'tpee'.*'tpe'"):
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


class TestView:
    def test_is_empty_until_eight_trials_reached_a_rung(self) -> None:
        trials = [finished(i, {"x": i / 10}, float(i)) for i in range(7)]
        assert make_view(trials, RUNGS, "minimize").is_empty
        trials.append(finished(7, {"x": 0.7}, 7.0))
        view = make_view(trials, RUNGS, "minimize")
        assert [s.score for s in view.scored] == [-i for i in range(8)]

    def test_takes_the_highest_rung_with_all_who_reached_it(self) -> None:
        trials = [finished(i, {}, 0.0, 0.0, i) for i in range(6)]
        trials += [finished(i, {}, *[float(i)] * 9) for i in range(6, 8)]
        trials += [finished(i, {}, 100.0) for i in range(8, 40)]
        trials.append(Observation(40, {}, {1: 0.0, 2: 0.0, 3: 40.0, 4: 0.0}, "running"))
        trials.append(Observation(41, {}, {1: 0.0}, "running"))
        trials.append(Observation(42, {}, {1: 0.0, 2: 0.0, 3: 0.0}, "bad"))
        view = make_view(trials, RUNGS, "maximize")
        assert [s.score for s in view.scored] == [0, 1, 2, 3, 4, 5, 6, 7, 40]
        assert [t.number for t in view.pending] == [41]
        assert [t.number for t in view.bad] == [42]

    def test_bad_trials_count_where_nothing_else_is_known(self) -> None:
        trials = [Observation(i, {}, {}, "bad") for i in range(6)]
        assert make_view(trials, RUNGS, "minimize").is_empty
        trials += [finished(6, {}, 1.0), finished(7, {}, 2.0)]
        view = make_view(trials, RUNGS, "minimize")
        assert (len(view.scored), len(view.bad), view.worst) == (2, 6, -2.0)

    def test_a_metric_that_is_not_reported_every_epoch_counts_at_the_rung(self) -> None:
        trials = [Observation(i, {}, {2: float(i), 4: 9.0}, "finished") for i in range(8)]
        assert [s.score for s in make_view(trials, (3, 9), "maximize").scored] == list(range(8))

    def test_limited_keeps_the_best_and_the_newest(self) -> None:
        trials = [finished(i, {}, abs(i - 3.0)) for i in range(20)]
        kept = make_view(trials, RUNGS, "minimize").limited(6).scored
        assert sorted(s.trial.number for s in kept) == [2, 3, 4, 17, 18, 19]

    def test_rank_is_by_rung_then_score_then_bad(self) -> None:
        trials = [
            finished(0, {}, 0.0),
            Observation(1, {}, {1: 0.0}, "bad"),
            finished(2, {}, 5.0, 5.0, 5.0),
            finished(3, {}, 6.0, 6.0, 4.0),
            Observation(4, {}, {1: 0.0}, "running"),
        ]
        assert [t.number for t in rank(trials, RUNGS, "minimize")] == [3, 2, 0, 1]


class TestForecast:
    def test_carries_stopped_trials_along_the_line_of_those_who_went_on(self) -> None:
        firsts = np.linspace(0.0, 1.0, 100)
        trials = [
            finished(i, {}, *([x] if i % 2 else [x, 0.0, 2.0 * x + 1.0]))
            for i, x in enumerate(map(float, firsts))
        ]
        known = forecast(trials, RUNGS, "maximize")
        assert known is not None
        assert np.all(np.diff(known.scores) > 0)  # as ordered as the first values
        assert np.all(known.variances < 1e-3)
        assert np.all(known.variances[::2] == 0)

    def test_is_the_less_certain_the_less_a_rung_tells(self) -> None:
        rng = np.random.default_rng(0)
        trials = [finished(i, {}, *rng.random(3 if i < 50 else 1)) for i in range(100)]
        known = forecast(trials, RUNGS, "maximize")
        assert known is not None
        assert np.all(known.variances[:50] == 0)
        assert np.all(known.variances[50:] > 0.7)  # of standard normal scores
        assert known.scores[50:].std() < 0.5 * known.scores[:50].std()  # all near the mean

    def test_bad_trials_are_worst(self) -> None:
        trials = [finished(i, {}, float(i)) for i in range(9)]
        trials.append(Observation(9, {}, {1: -5.0}, "bad"))
        known = forecast(trials, RUNGS, "minimize")
        assert known is not None
        assert known.trials[-1].number == 9
        assert known.scores[-1] == known.scores.min() < known.scores[0]


class TestGaussianProcess:
    features = np.random.default_rng(0).random((30, 3))
    groups = np.array([0, 1, 1])

    def test_interpolates_without_noise_and_is_unsure_far_away(self) -> None:
        targets = np.sin(5.0 * self.features[:, 0])
        process = GaussianProcess(self.features, targets, 1e-8, np.array([0.3, 0.5]), self.groups)
        mean, std = process.predict(self.features)
        assert np.allclose(mean, targets, atol=1e-4) and std.max() < 1e-2
        mean, std = process.predict(np.full((1, 3), 50.0))
        assert np.allclose([mean[0], std[0]], [0.0, 1.0], atol=1e-6)

    def test_gradient_of_the_likelihood(self) -> None:
        targets = np.sin(5.0 * self.features[:, 0])
        parts = [self.features[:, self.groups == group] for group in (0, 1)]
        distances = np.stack([squared_distances(part, part) for part in parts])
        extra = np.linspace(0.0, 0.2, 30)
        theta = np.log([0.4, 0.8, 0.05])
        _, gradient = _negative_log_likelihood(theta, distances, targets, extra)
        for i, step in enumerate(1e-6 * np.eye(3)):
            above, _ = _negative_log_likelihood(theta + step, distances, targets, extra)
            below, _ = _negative_log_likelihood(theta - step, distances, targets, extra)
            assert math.isclose(gradient[i], (above - below) / 2e-6, rel_tol=1e-4)

    def test_fit_finds_the_parameter_that_matters_and_the_noise(self) -> None:
        rng = np.random.default_rng(1)
        features = rng.random((80, 3))
        targets = np.sin(6.0 * features[:, 0]) + 0.3 * rng.standard_normal(80)
        scales, noise = fit_hyperparameters(
            features, targets, np.zeros(80), self.groups, max_steps=50
        )
        assert scales[0] < 0.3 * scales[1]
        assert 0.04 < noise < 0.2  # 0.09

    @pytest.mark.parametrize("mean", [-3.0, -1.2, -0.8, 0.0, 2.0])
    def test_expected_improvement_is_the_integral(self, mean: float) -> None:
        def improvement(value: float) -> float:
            density = math.exp(-0.5 * ((value - mean) / 0.7) ** 2) / (0.7 * math.sqrt(2 * math.pi))
            return (value - 0.5) * density

        integral, _ = quad(improvement, 0.5, mean + 10.0, epsabs=1e-14)
        merit = log_expected_improvement(np.array([mean]), np.array([0.7]), 0.5)
        assert math.isclose(math.exp(merit[0]), integral, rel_tol=1e-5)

    def test_expected_improvement_rises_where_it_rounds_to_zero(self) -> None:
        means = np.linspace(-1e4, 1.0, 500)
        assert np.all(np.diff(log_expected_improvement(means, np.ones(500), 0.0)) > 0)


class TestGrid:
    def test_gives_every_cell_once_and_then_none(self) -> None:
        sampler = sampler_of("grid", DISCRETE)
        cells = [sampler.suggest(number, []) for number in range(21)]
        assert all(cell is not None for cell in cells)
        assert len({tuple((cell or {}).items()) for cell in cells}) == 21
        assert sum("optimizer.sgd.nesterov" in (cell or {}) for cell in cells) == 18
        assert {(cell or {})["dropout"] for cell in cells} == {0.1, 0.2, 0.3}
        assert sampler.suggest(21, []) is None

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


class TestQuasiRandom:
    def test_covers_a_range_evenly(self) -> None:
        sampler = sampler_of("qmc", PLANE)
        xs = [float(str((sampler.suggest(number, []) or {})["x"])) for number in range(64)]
        assert sorted(int(64 * x) for x in xs) == list(range(64))


class TestCube:
    @pytest.mark.parametrize(
        "distribution",
        [
            FloatDistribution(-2.0, 3.0),
            FloatDistribution(1e-5, 1.0, log=True),
            FloatDistribution(0.1, 0.7, step=0.2),
            IntDistribution(3, 11, step=4),
            IntDistribution(1, 1000, log=True),
            CategoricalDistribution(("a", 1, 1.5, None)),
        ],
        ids=str,
    )
    def test_values_go_to_the_cube_and_back(self, distribution: FloatDistribution) -> None:
        for coordinate in np.linspace(0.0, 1.0, 33):
            value = value_at(distribution, float(coordinate))
            assert distribution._contains(distribution.to_internal_repr(value))
            back = value_at(distribution, coordinate_of(distribution, value))
            assert back == (pytest.approx(value) if isinstance(value, float) else value)

    def test_equal_choices_of_different_types_differ(self) -> None:
        choices = CategoricalDistribution((1, True, 1.0))
        assert [coordinate_of(choices, v) for v in (1, True, 1.0)] == [1 / 6, 3 / 6, 5 / 6]

    def test_uniform_points_are_uniform_values(self) -> None:
        grid = (np.arange(1200) + 0.5) / 1200
        values = [value_at(IntDistribution(1, 3), float(u)) for u in grid]
        assert [values.count(value) for value in (1, 2, 3)] == [400, 400, 400]

    def test_snap_agrees_with_the_configuration(self) -> None:
        cube = Cube(space_of(MIXED))
        points = np.random.default_rng(0).random((50, cube.size))
        snapped = cube.snap(points)
        for point, cell in zip(points, snapped, strict=True):
            params = cube.params(point)
            assert cube.params(np.nan_to_num(cell)) == params
            assert np.array_equal(np.isnan(cell), np.isnan(cube.point(params)))
        assert cube.features(snapped).shape == (50, len(cube.feature_groups))
        assert not np.isnan(cube.features(snapped)).any()
