"""What samplers are made of: the view, forecasts, the Gaussian process, the cube."""

from __future__ import annotations

import math

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from scipy.integrate import quad

from hpsearch.samplers import Observation
from hpsearch.samplers.auto import log_expected_improvement
from hpsearch.samplers.fidelity import make_view, rank
from hpsearch.samplers.forecast import forecast
from hpsearch.samplers.gaussian_process import (
    GaussianProcess,
    _negative_log_likelihood,
    fit_hyperparameters,
    squared_distances,
)
from hpsearch.samplers.unit_cube import Cube, coordinate_of, value_at
from hpsearch.space import SearchSpace
from hpsearch.spec import Scalar, parse_tree

RUNGS = (1, 3, 9)


def finished(number: int, params: dict[str, Scalar], *values: float) -> Observation:
    """A trial that was stopped, or ended, at the epoch of its last value."""
    return Observation(number, params, dict(enumerate(values, start=1)), "finished")


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

    def test_looks_at_the_longest_and_the_newest_of_many(self) -> None:
        trials = [finished(i, {}, *[float(i)] * (9 if i % 100 == 0 else 1)) for i in range(5000)]
        known = forecast(trials, RUNGS, "minimize")
        assert known is not None
        numbers = {trial.number for trial in known.trials}
        assert len(numbers) == 600
        assert numbers >= {*range(0, 5000, 100), *range(4700, 5000)}

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
        tree = {
            "optimizer": {"choices": [{"name": "sgd", "lr": {"low": 0.0, "high": 1.0}}, "none"]},
            "width": {"low": 8, "high": 512, "log": True},
            "depth": {"low": 1, "high": 9, "step": 2},
            "dropout": {"low": 0.0, "high": 0.5, "step": 0.1},
            "batch_size": {"choices": [32, 64, None]},
        }
        cube = Cube(SearchSpace.from_sections({"space": parse_tree(tree, "", [])}))
        points = np.random.default_rng(0).random((50, cube.size))
        snapped = cube.snap(points)
        for point, cell in zip(points, snapped, strict=True):
            params = cube.params(point)
            assert cube.params(np.nan_to_num(cell)) == params
            assert np.array_equal(np.isnan(cell), np.isnan(cube.point(params)))
        assert cube.features(snapped).shape == (50, len(cube.feature_groups))
        assert not np.isnan(cube.features(snapped)).any()
