"""Warm starts: points that are tried first, portfolios, and results of earlier searches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from hpsearch.errors import Problem, SpecError
from hpsearch.samplers import Observation, Sampler, make_sampler
from hpsearch.samplers.points import FirstPoints
from hpsearch.samplers.portfolio import History, portfolio
from hpsearch.samplers.translation import Translator
from hpsearch.samplers.warm_start import (
    Earlier,
    WarmStarted,
    first_points,
    transfers,
    warm_started,
)
from hpsearch.space import SearchSpace
from hpsearch.spec import Draft, Scalar, SearchSpec, draft_spec, parse_tree
from hpsearch.validation import check
from hpsearch.validation.points import check_points, check_warm_start
from tests.conftest import make_spec

RUNGS = (1, 3, 9)
PLANE: dict[str, Any] = {"x": {"low": 0.0, "high": 1.0}, "y": {"low": 0.0, "high": 1.0}}
MIXED: dict[str, Any] = {
    "optimizer": {
        "choices": [
            {"name": "sgd", "lr": {"low": 1e-3, "high": 1.0, "log": True}, "steps": 2},
            {"name": "adam", "lr": {"low": 1e-5, "high": 0.1, "log": True}},
        ]
    },
    "sizes": {"choices": [[64], [64, 32]]},
    "depth": {"low": 1, "high": 9, "step": 2},
    "dropout": {"low": 0.0, "high": 0.5, "step": 0.1},
}
Function = Callable[[Mapping[str, Scalar]], float]


def space_of(tree: dict[str, Any]) -> SearchSpace:
    return SearchSpace.from_sections({"space": parse_tree(tree, "", [])})


def spec_of(
    name: str, tree: dict[str, Any], trials: int = 30, max_epochs: int = 9, **sections: Any
) -> SearchSpec:
    """A search of a training function that lowers its loss."""
    return make_spec(
        name=name,
        trainable="train.py:train",
        space=tree,
        objective={"metric": "loss", "direction": "minimize"},
        search={"trials": trials, "early_stopping": {"max_epochs": max_epochs}},
        **sections,
    )


def sampler_of(name: str, tree: dict[str, Any], seed: int = 0, **keywords: Any) -> Sampler:
    return make_sampler(
        {"name": name, **keywords},
        space_of(tree),
        seed=seed,
        direction="minimize",
        rungs=RUNGS,
        slots=1,
    )


def distance_to(x: float, y: float) -> Function:
    """A function of the plane with its minimum, 0, at a point."""

    def squared_distance(params: Mapping[str, Scalar]) -> float:
        at_x, at_y = float(str(params["x"])), float(str(params["y"]))
        return (at_x - x) ** 2 + (at_y - y) ** 2

    return squared_distance


def search(sampler: Sampler, function: Function, num_trials: int) -> tuple[Observation, ...]:
    """The trials of one search without early stopping or concurrency."""
    trials: list[Observation] = []
    for number in range(num_trials):
        params = sampler.suggest(number, trials)
        assert params is not None
        trials.append(trained(number, params, function(params)))
    return tuple(trials)


def trained(number: int, params: Mapping[str, Scalar], value: float) -> Observation:
    return Observation(number, params, dict.fromkeys(range(1, 10), value), "finished")


def best(trials: tuple[Observation, ...]) -> float:
    return min(trial.curve[9] for trial in trials)


def random_history(function: Function, seed: int, num_trials: int = 40) -> History:
    trials = search(sampler_of("random", PLANE, seed), function, num_trials)
    return History(trials, "minimize", RUNGS)


def earlier_search(name: str, function: Function, seed: int = 7, **changes: Any) -> Earlier:
    trials = search(sampler_of("random", PLANE, seed), function, 40)
    return Earlier(spec_of(name, PLANE, **changes), trials, RUNGS)


class TestFirstPoints:
    def test_come_first_then_all_that_the_sampler_has(self) -> None:
        tree = {"a": {"choices": ["x", "y"]}, "b": {"low": 1, "high": 2}}
        points = [{"a": "y", "b": 2}, {"a": "x", "b": 2}]
        sampler = FirstPoints(sampler_of("grid", tree), points, space_of(tree), seed=0)
        tried = [sampler.suggest(number, []) for number in range(7)]
        assert tried[:2] == points
        assert tried[2:6] == [{"a": a, "b": b} for a in ("x", "y") for b in (1, 2)]
        assert tried[6] is None

    def test_a_value_below_a_choice_means_that_choice(self) -> None:
        points = [{f"optimizer.{name}.lr": 0.01} for name in ("sgd", "adam") for _ in range(5)]
        sampler = FirstPoints(sampler_of("random", MIXED), points, space_of(MIXED), seed=0)
        tried = [sampler.suggest(number, []) or {} for number in range(10)]
        assert [params["optimizer"] for params in tried] == ["sgd"] * 5 + ["adam"] * 5
        assert all(0.01 in params.values() for params in tried)

    def test_values_are_those_of_the_space(self) -> None:
        point = {"optimizer": "sgd", "optimizer.sgd.lr": 1, "sizes": [64, 32], "dropout": 0}
        sampler = FirstPoints(sampler_of("random", MIXED), [point], space_of(MIXED), seed=0)
        params = sampler.suggest(0, []) or {}
        assert params["optimizer.sgd.lr"] == 1.0 and type(params["optimizer.sgd.lr"]) is float
        assert type(params["dropout"]) is float
        values = space_of(MIXED).resolve(params)["space"]
        assert values["sizes"] == [64, 32]
        assert values["optimizer"] == {"name": "sgd", "lr": 1.0, "steps": 2}

    def test_what_they_leave_out_is_drawn_by_seed_and_number(self) -> None:
        space, points = space_of(MIXED), [{"depth": 5}] * 8

        def tried(seed: int) -> list[dict[str, Scalar]]:
            sampler = FirstPoints(sampler_of("random", MIXED), points, space, seed)
            return [sampler.suggest(number, []) or {} for number in range(8)]

        assert tried(0) == tried(0)
        assert all(mine != other for mine, other in zip(tried(0), tried(1), strict=True))
        assert len({str(params) for params in tried(0)}) == 8
        for params in tried(0):
            assert params["depth"] == 5
            assert list(params) == [parameter.name for parameter in space.active(params)]


class TestPortfolio:
    def test_holds_the_best_of_searches_that_differ(self) -> None:
        functions = [distance_to(0.2, 0.2), distance_to(0.8, 0.7)]
        histories = [random_history(f, seed) for seed, f in enumerate(functions)]
        first_two = portfolio(histories, space_of(PLANE))[:2]
        for function in functions:
            assert min(map(function, first_two)) < 0.15**2

    def test_of_one_search_is_its_best_and_no_copies_of_it(self) -> None:
        function = distance_to(0.3, 0.7)
        history = random_history(function, seed=0, num_trials=80)
        points = portfolio([history], space_of(PLANE), size=5)
        values = [trial.curve[9] for trial in history.trials]
        assert len(points) == 5
        assert sorted(values).index(function(points[0])) <= 3  # the model's best may be another
        assert max(map(function, points)) < np.median(values)
        places = np.array([list(point.values()) for point in points], float)
        for i, place in enumerate(places):
            assert np.linalg.norm(places[:i] - place, axis=1).min(initial=1.0) > 0.14

    def test_stops_where_a_search_knows_nothing_better_than_its_median(self) -> None:
        function = distance_to(0.3, 0.7)
        history = random_history(function, seed=0)
        median = np.median([trial.curve[9] for trial in history.trials])
        points = portfolio([history], space_of(PLANE), size=40)
        assert 5 < len(points) < 25
        assert np.mean([function(point) < 1.5 * median for point in points]) == 1.0

    def test_goes_by_each_searchs_own_direction(self) -> None:
        function = distance_to(0.3, 0.7)
        history = random_history(function, seed=0)
        mirrored = History(
            tuple(trained(t.number, t.params, -t.curve[9]) for t in history.trials),
            "maximize",
            RUNGS,
        )
        assert portfolio([mirrored], space_of(PLANE)) == portfolio([history], space_of(PLANE))

    def test_goes_by_what_early_stopped_trials_would_have_reached(self) -> None:
        """Nine epochs tell what one epoch didn't: that the left half is worse."""
        rng = np.random.default_rng(0)
        trials = []
        for number in range(40):
            params = {"x": float(rng.random()), "y": 0.5}
            curve = {1: 1.0 + 0.01 * rng.random()}
            if number % 2:
                curve |= dict.fromkeys(range(2, 10), abs(params["x"] - 0.75))
            trials.append(Observation(number, params, curve, "finished"))
        point = portfolio([History(tuple(trials), "minimize", RUNGS)], space_of(PLANE))[0]
        assert abs(float(str(point["x"])) - 0.75) < 0.1

    def test_holds_no_bad_configuration(self) -> None:
        trials = [trained(i, {"x": 0.1 * i, "y": 0.5}, 0.1 * i) for i in range(10)]
        bad = [Observation(10 + i, {"x": 0.01 * i, "y": 0.5}, {}, "bad") for i in range(10)]
        points = portfolio([History((*trials, *bad), "minimize", RUNGS)], space_of(PLANE))
        assert points
        assert all(point in [trial.params for trial in trials] for point in points)

    @pytest.mark.parametrize("num_trials", [1, 2, 5])
    def test_of_too_few_trials_for_a_model_has_the_best(self, num_trials: int) -> None:
        trials = tuple(
            trained(i, {"x": 0.9 - 0.2 * i, "y": 0.5}, 1.0 - 0.1 * i) for i in range(num_trials)
        )
        points = portfolio([History(trials, "minimize", RUNGS)], space_of(PLANE), size=3)
        assert points[0] == trials[-1].params

    def test_of_nothing_is_nothing(self) -> None:
        bad = Observation(0, {"x": 0.5, "y": 0.5}, {}, "bad")
        assert portfolio([], space_of(PLANE)) == []
        assert portfolio([History((bad,), "minimize", RUNGS)], space_of(PLANE)) == []
        assert portfolio([History((trained(0, {}, 1.0),), "minimize", RUNGS)], space_of({})) == []

    def test_takes_conditional_spaces(self) -> None:
        """One search did well with Adam, the other with SGD."""
        space, histories = space_of(MIXED), []
        for liked in ("adam", "sgd"):

            def function(params: Mapping[str, Scalar], liked: str = liked) -> float:
                return float(params["optimizer"] != liked) + 0.1 * float(str(params["dropout"]))

            trials = search(sampler_of("random", MIXED), function, 40)
            histories.append(History(trials, "minimize", RUNGS))
        points = portfolio(histories, space, size=6)
        assert {point["optimizer"] for point in points[:2]} == {"adam", "sgd"}
        for point in points:
            assert list(point) == [parameter.name for parameter in space.active(point)]


class TestTranslation:
    @pytest.mark.parametrize(
        ("values", "tree", "expected"),
        [
            ({"x": 0.5, "y": 1.0}, PLANE, {"x": 0.5, "y": 1.0}),
            ({"x": 0.5, "y": 1.1}, PLANE, None),
            ({"x": 0.5}, PLANE, None),
            ({"x": 0.5, "y": 1}, PLANE, {"x": 0.5, "y": 1.0}),
            ({"x": 0.5, "y": True}, PLANE, None),
            ({"x": 0.5, "y": 0.0, "z": 3}, PLANE, {"x": 0.5, "y": 0.0}),
            ({"x": 0.5, "y": 7}, {"x": PLANE["x"], "y": 3}, {"x": 0.5}),
            ({"n": 3}, {"n": {"low": 1, "high": 5}}, {"n": 3}),
            ({"n": 3.0}, {"n": {"low": 1, "high": 5}}, None),
            ({"n": 4}, {"n": {"low": 1, "high": 5, "step": 2}}, None),
            ({"p": 0.3}, {"p": {"low": 0.1, "high": 0.5, "step": 0.1}}, {"p": 0.3}),
            ({"n": 32}, {"n": {"choices": [32, 64]}}, {"n": 32}),
            ({"n": 48}, {"n": {"choices": [32, 64]}}, None),
            ({"n": [1, 2]}, {"n": {"choices": [[1], [1, 2]]}}, {"n": "[1, 2]"}),
            ({"n": [1, 7]}, {"n": [1, {"low": 2, "high": 9}]}, {"n.1": 7}),
            ({"n": [7]}, {"n": [1, {"low": 2, "high": 9}]}, None),
            ({"n": 7}, {"n": [1, {"low": 2, "high": 9}]}, None),
            ({"o": {"name": "sgd", "lr": 1}}, {"o": {"name": "sgd", "lr": PLANE["x"]}}, "o.lr"),
            ({"o": {"name": "adam", "lr": 1}}, {"o": {"name": "sgd", "lr": PLANE["x"]}}, None),
            (
                {"o": {"name": "sgd", "lr": 1.0}},
                {"o": {"choices": ["adam", {"name": "sgd", "lr": PLANE["x"], "momentum": 0.9}]}},
                {"o": "sgd", "o.sgd.lr": 1.0},
            ),
            (
                {"o": {"name": "sgd", "nesterov": True, "lr": 1.0}},
                {
                    "o": {
                        "choices": [
                            {"name": "sgd", "nesterov": False, "lr": PLANE["x"]},
                            {"name": "sgd", "nesterov": True, "lr": PLANE["x"]},
                        ]
                    }
                },
                {"o": "sgd#2", "o.sgd#2.lr": 1.0},
            ),
        ],
    )
    def test_goes_by_values(
        self, values: dict[str, Any], tree: dict[str, Any], expected: dict[str, Scalar] | None
    ) -> None:
        found = Translator(space_of(tree)).params({"space": values}, exact=False)
        assert found == ({expected: 1.0} if isinstance(expected, str) else expected)

    @pytest.mark.parametrize(
        ("values", "is_same"),
        [
            ({"x": 0.5, "o": {"name": "sgd", "lr": 0.1}}, True),
            ({"x": 0.5, "o": {"name": "sgd", "lr": 0.2}}, False),
            ({"x": 0.5, "o": {"name": "sgd", "lr": 0.1, "momentum": 0.9}}, False),
            ({"x": 0.5, "o": {"name": "sgd"}}, False),
            ({"x": 0.5, "o": {"name": "sgd", "lr": 0.1}, "z": 1}, False),
        ],
    )
    def test_exact_means_the_same_trial(self, values: dict[str, Any], is_same: bool) -> None:
        translator = Translator(
            space_of({"x": PLANE["x"], "o": {"choices": [{"name": "sgd", "lr": 0.1}]}})
        )
        found = translator.params({"space": values}, exact=True)
        assert found == ({"x": 0.5, "o": "sgd"} if is_same else None)
        if found is not None:
            space = space_of({"x": PLANE["x"], "o": {"choices": [{"name": "sgd", "lr": 0.1}]}})
            assert space.resolve(found) == {"space": values}

    def test_gives_back_every_trial_of_the_same_space(self) -> None:
        space, source = space_of(MIXED), sampler_of("random", MIXED)
        for number in range(30):
            params = source.suggest(number, []) or {}
            found = Translator(space).params(space.resolve(params), exact=True)
            assert found == params and list(found) == list(params)


class TestTransfers:
    def test_trials_that_fit_are_counted(self) -> None:
        earlier = earlier_search("wide", distance_to(0.5, 0.5))
        half = {**PLANE, "x": {"low": 0.0, "high": 0.5}}
        transfer = transfers(spec_of("narrow", half), [earlier])[0]
        num_inside = sum(float(str(t.params["x"])) <= 0.5 for t in earlier.observations)
        assert 0 < num_inside < 40
        assert str(transfer) == (
            f"wide: {num_inside} of 40 trials fit the search space, "
            f"the results of {num_inside} hold here too"
        )

    def test_trials_that_run_do_not_count(self) -> None:
        running = Observation(0, {"x": 0.5, "y": 0.5}, {1: 0.1}, "running")
        earlier = Earlier(spec_of("first", PLANE), (running,), RUNGS)
        assert transfers(spec_of("second", PLANE), [earlier])[0].num_trials == 0

    @pytest.mark.parametrize(
        "changes",
        [
            {"search": {"early_stopping": {"max_epochs": 27}}},
            {"folder": "elsewhere"},
            {"objective": {"metric": "accuracy", "direction": "minimize"}},
            {"trainable": "train.py:other"},
            {"space": {**PLANE, "z": 1}},
        ],
    )
    def test_results_hold_for_the_same_task_only(self, changes: dict[str, Any]) -> None:
        earlier = earlier_search("first", distance_to(0.5, 0.5))
        raw = spec_of("second", PLANE).to_dict()
        folder = changes.get("folder", ".")
        sections = {key: value for key, value in changes.items() if key != "folder"}

        def num_results(draft: Draft) -> tuple[int, int]:
            assert draft.spec is not None
            transfer = transfers(draft.spec, [earlier])[0]
            return len(transfer.history.trials), len(transfer.results)

        assert num_results(draft_spec(raw)) == (40, 40)
        assert num_results(draft_spec({**raw, **sections}, folder)) == (40, 0)

    def test_the_data_set_and_the_model_make_the_task(self) -> None:
        first = make_spec(name="first")
        source = make_sampler(
            {"name": "random"},
            SearchSpace.of(first),
            seed=0,
            direction="maximize",
            rungs=RUNGS,
            slots=1,
        )
        trials = [trained(i, source.suggest(i, []) or {}, 0.5) for i in range(20)]
        earlier = [Earlier(first, tuple(trials), RUNGS)]

        def counts(**sections: Any) -> tuple[int, int]:
            transfer = transfers(make_spec(name="second", **sections), earlier)[0]
            return len(transfer.history.trials), len(transfer.results)

        model = {"name": "mlp", "hidden_sizes": [32], "dropout": {"low": 0.0, "high": 0.3}}
        num_adam = sum(t.params["optimizer"] == "adam" for t in trials)
        assert counts() == (20, 20)
        assert counts(dataset="wine") == (20, 0)
        assert counts(dataset={"name": "digits", "val_fraction": 0.3}) == (20, 0)
        assert counts(model={**model, "hidden_sizes": [64]}) == (20, 0)
        assert counts(model={"name": "cnn", "dropout": model["dropout"]}) == (0, 0)
        assert counts(gradient_clip=1.0) == (20, 0)
        adam = {"name": "adam", "lr": {"low": 1e-4, "high": 0.1, "log": True}}
        assert counts(optimizer=adam) == (num_adam, num_adam)

    def test_a_search_of_which_nothing_fits_is_refused(self) -> None:
        earlier = [
            earlier_search("good", distance_to(0.5, 0.5)),
            Earlier(spec_of("other", {"z": 1}), (trained(0, {}, 1.0),), RUNGS),
            Earlier(spec_of("empty", PLANE), (), RUNGS),
        ]
        with pytest.raises(SpecError) as caught:
            first_points(spec_of("new", PLANE), earlier)
        assert [str(problem) for problem in caught.value.problems] == [
            "search.warm_start: must name searches with trials that fit this search space "
            "(0 of 1 do), but got 'other'",
            "search.warm_start: must name searches with trials that fit this search space "
            "(0 of 0 do), but got 'empty'",
        ]


class TestPointsOfEarlierSearches:
    def test_stand_after_the_users_own(self) -> None:
        spec = spec_of("new", PLANE, max_epochs=27)
        mine = {"x": 0.9}
        spec = spec.model_copy(
            update={"search": spec.search.model_copy(update={"points": (mine,)})}
        )
        points = first_points(spec, [earlier_search("old", distance_to(0.2, 0.2))])
        assert points[0] == mine
        assert 5 <= len(points) <= 11
        assert distance_to(0.2, 0.2)(points[1]) < 0.15**2

    def test_are_none_without_earlier_searches(self) -> None:
        assert first_points(spec_of("new", PLANE), []) == []

    def test_are_a_third_of_the_trials_at_most(self) -> None:
        earlier = [earlier_search("old", distance_to(0.2, 0.2))]
        assert len(first_points(spec_of("new", PLANE, 9, max_epochs=27), earlier)) == 3
        assert len(first_points(spec_of("new", PLANE, 1, max_epochs=27), earlier)) == 1

    def test_are_one_a_search_where_the_sampler_knows_the_results(self) -> None:
        earlier = [earlier_search("old", distance_to(0.2, 0.2))]
        assert len(first_points(spec_of("new", PLANE), earlier)) == 1

    def test_are_the_same_each_time(self) -> None:
        earlier = [
            earlier_search("a", distance_to(0.2, 0.2), seed=1),
            earlier_search("b", distance_to(0.8, 0.7), seed=2),
        ]
        spec = spec_of("new", PLANE, max_epochs=27)
        assert first_points(spec, earlier) == first_points(spec, earlier)


class TestWarmStarted:
    @pytest.mark.parametrize(
        "name", ["auto", "cmaes", "gp", "grid", "nsga2", "qmc", "random", "tpe"]
    )
    def test_every_sampler_takes_results_of_earlier_searches(self, name: str) -> None:
        tree = {
            "optimizer": {"choices": ["sgd", {"name": "adam", "eps": {"low": 1, "high": 5}}]},
            "dropout": {"low": 0.0, "high": 0.5, "step": 0.1},
        }
        space, source = space_of(tree), sampler_of("random", tree)
        known = []
        for number in range(30):
            params = source.suggest(number, []) or {}
            if number % 10 == 9:
                known.append(Observation(number, params, {}, "bad"))
            else:
                known.append(trained(number, params, float(str(params["dropout"]))))
        sampler = WarmStarted(sampler_of(name, tree), known)
        own: list[Observation] = []
        for number in range(2):
            params = sampler.suggest(number, own) or {}
            assert set(params) == {parameter.name for parameter in space.active(params)}
            assert WarmStarted(sampler_of(name, tree), known).suggest(number, own) == params
            own.append(trained(number, params, float(str(params["dropout"]))))

    @pytest.mark.parametrize("name", ["auto", "tpe"])
    def test_samplers_learn_from_results_at_once(self, name: str) -> None:
        function = distance_to(0.3, 0.7)
        results = random_history(function, seed=5).trials
        keywords = {"random_fraction": 0.0} if name == "auto" else {}
        warm, cold = [], []
        for seed in range(3):
            sampler = sampler_of(name, PLANE, seed, **keywords)
            cold.append(np.median([t.curve[9] for t in search(sampler, function, 8)]))
            sampler = WarmStarted(sampler, results)
            warm.append(np.median([t.curve[9] for t in search(sampler, function, 8)]))
        assert np.median(warm) < 0.3 * np.median(cold)

    def test_the_same_task_again_needs_fewer_trials(self) -> None:
        function = distance_to(0.3, 0.7)
        spec, earlier = spec_of("again", PLANE), [earlier_search("first", function)]
        points = first_points(spec, earlier)
        warm, cold = [], []
        for seed in range(3):
            sampler = sampler_of("auto", PLANE, seed)
            cold.append(best(search(sampler, function, 6)))
            warm.append(best(search(warm_started(sampler, spec, points, earlier), function, 6)))
        assert np.median(warm) < 0.1 * np.median(cold)

    def test_points_of_tasks_alike_help_a_new_task(self) -> None:
        earlier = [
            earlier_search(f"task{i}", distance_to(x, y), seed=i)
            for i, (x, y) in enumerate([(0.2, 0.25), (0.3, 0.2), (0.25, 0.3)])
        ]
        spec, function = spec_of("new", PLANE, max_epochs=27), distance_to(0.25, 0.25)
        points = first_points(spec, earlier)
        warm, cold = [], []
        for seed in range(3):
            sampler = sampler_of("auto", PLANE, seed)
            cold.append(best(search(sampler, function, 8)))
            warm.append(best(search(warm_started(sampler, spec, points, earlier), function, 8)))
        assert np.median(warm) < 0.5 * np.median(cold)

    def test_nothing_to_start_from_leaves_the_sampler_as_it_is(self) -> None:
        sampler = sampler_of("auto", PLANE)
        assert warm_started(sampler, spec_of("new", PLANE), [], []) is sampler


class TestValidation:
    @pytest.mark.parametrize(
        ("point", "expected"),
        [
            (
                {"dropuot": 0.1},
                "search.points.1.dropuot: must be a hyperparameter that is searched (optimizer, "
                "optimizer.sgd.lr, optimizer.adam.lr, sizes, depth, dropout), but got 'dropuot'; "
                "did you mean 'dropout'?",
            ),
            (
                {"optimizer.sgd.steps": 2},
                "search.points.1.optimizer.sgd.steps: must be a hyperparameter that is searched",
            ),
            (
                {"optimizer": "adm"},
                "search.points.1.optimizer: must be one of 'sgd', 'adam', but got 'adm'; "
                "did you mean 'adam'?",
            ),
            (
                {"optimizer": {"name": "sgd"}},
                "search.points.1.optimizer: must be one of 'sgd', 'adam', but got {'name': 'sgd'}",
            ),
            (
                {"sizes": [32]},
                "search.points.1.sizes: must be one of '[64]', '[64, 32]', but got [32]",
            ),
            ({"depth": 2.0}, "search.points.1.depth: must be an integer, but got 2.0"),
            ({"depth": True}, "search.points.1.depth: must be an integer, but got True"),
            ({"depth": 11}, "search.points.1.depth: must be from 1 to 9, but got 11"),
            ({"depth": 4}, "search.points.1.depth: must be 1 plus a multiple of 2, but got 4"),
            ({"dropout": "0.1"}, "search.points.1.dropout: must be a number, but got '0.1'"),
            ({"dropout": float("nan")}, "search.points.1.dropout: must be a number, but got nan"),
            ({"dropout": -0.1}, "search.points.1.dropout: must be from 0 to 0.5, but got -0.1"),
            (
                {"dropout": 0.25},
                "search.points.1.dropout: must be 0 plus a multiple of 0.1, but got 0.25",
            ),
            (
                {"optimizer": "adam", "optimizer.sgd.lr": 0.1},
                "search.points.1.optimizer.sgd.lr: must stand only where optimizer is 'sgd', "
                "but got 'adam'",
            ),
            (
                {"optimizer.sgd.lr": 0.1, "optimizer.adam.lr": 0.1},
                "search.points.1.optimizer.adam.lr: must stand only where optimizer is 'adam', "
                "but got 'sgd (by optimizer.sgd.lr)'",
            ),
        ],
    )
    def test_points_that_cannot_be_tried(self, point: dict[str, Any], expected: str) -> None:
        problems: list[Problem] = []
        check_points(with_search(MIXED, points=[{"depth": 1}, point]), problems)
        assert len(problems) == 1
        assert str(problems[0]).startswith(expected)

    def test_points_that_can(self) -> None:
        points = [
            {},
            {"optimizer": "sgd", "optimizer.sgd.lr": 1, "depth": 9, "dropout": 0.3},
            {"optimizer.adam.lr": 1e-5, "sizes": [64, 32]},
            {"sizes": "[64]"},
        ]
        problems: list[Problem] = []
        check_points(with_search(MIXED, points=points), problems)
        assert problems == []

    def test_all_problems_are_told(self) -> None:
        problems: list[Problem] = []
        points = [{"depth": 0, "no": 1}, {"dropout": 2}, {"depth": 3}]
        check_points(with_search(MIXED, points=points, trials=2), problems)
        assert [problem.path for problem in problems] == [
            "search.points",
            "search.points.0.no",
            "search.points.0.depth",
            "search.points.1.dropout",
        ]

    def test_earlier_searches_are_others_and_differ(self) -> None:
        problems: list[Problem] = []
        check_warm_start(with_search(PLANE, warm_start=["a", "new", "a"]), problems)
        assert [str(problem) for problem in problems] == [
            "search.warm_start.1: must be another search than this one, but got 'new'",
            "search.warm_start.2: must be named once only, but got 'a'",
        ]

    def test_a_whole_spec_is_checked_for_them(self) -> None:
        raw = make_spec(dataset="wine").to_dict()
        raw["search"] |= {"points": [{"optimizer.sgd.lr": 7}], "warm_start": ["small"]}
        with pytest.raises(SpecError) as caught:
            check(draft_spec(raw))
        assert [problem.path for problem in caught.value.problems] == [
            "search.points.0.optimizer.sgd.lr",
            "search.warm_start.0",
        ]


def with_search(tree: dict[str, Any], **settings: Any) -> SearchSpec:
    return make_spec(
        name="new", trainable="train.py:train", space=tree, search={"trials": 30, **settings}
    )
