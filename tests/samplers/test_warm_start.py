"""Warm starts: the points and the results that a search takes from earlier ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hpsearch.errors import SpecError
from hpsearch.samplers import Observation, make_sampler
from hpsearch.samplers.warm_start import (
    Earlier,
    WarmStarted,
    alike,
    first_points,
    sampler_seed,
    transfers,
    warm_started,
)
from hpsearch.space import SearchSpace
from hpsearch.spec import Draft, SearchSpec, draft_spec
from hpsearch.validation.defaults import default_values
from tests.support.sampling import (
    PLANE,
    RUNGS,
    Function,
    distance_to,
    random_history,
    sampler_of,
    search,
    space_of,
    trained,
)
from tests.support.specs import make_spec


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


def best(trials: tuple[Observation, ...]) -> float:
    return min(trial.curve[9] for trial in trials)


def earlier_search(name: str, function: Function, seed: int = 7, **changes: Any) -> Earlier:
    trials = search(sampler_of("random", PLANE, seed), function, 40)
    return Earlier(spec_of(name, PLANE, **changes), trials, RUNGS)


def labels_of(spec: SearchSpec, name: str) -> Any:
    choices: Any = SearchSpace.of(spec).distributions[name]
    return choices.choices


class TestAlike:
    def test_are_searches_of_the_same_code_and_hyperparameters(self) -> None:
        new, function = spec_of("new", PLANE), distance_to(0.5, 0.5)
        same = earlier_search("same", function)
        narrower = {**PLANE, "x": {"low": 0.4, "high": 0.6}}
        unlike = [
            Earlier(spec_of("others", {**PLANE, "z": PLANE["x"]}), same.observations, RUNGS),
            Earlier(make_spec(name="net"), same.observations, RUNGS),
            Earlier(same.spec, (), RUNGS),  # nothing is known of it
        ]
        assert alike(new, [*unlike, same]) == [same]
        assert alike(spec_of("new", narrower), [same]) == [same]  # of which some trials fit

    def test_name_the_same_model(self) -> None:
        def of(model: str) -> Earlier:
            optimizer = {"name": "sgd", "lr": {"low": 1e-3, "high": 1.0, "log": True}}
            fixed = {"model": model, "optimizer": optimizer, "batch_size": 32}
            trial = Observation(0, {"optimizer.lr": 0.1}, {1: 0.5}, "finished")
            return Earlier(make_spec(name=model, **fixed), (trial,), RUNGS)

        assert alike(of("mlp").spec, [of("perceptron"), of("mlp")]) == [of("mlp")]


class TestTransfers:
    def test_trials_that_fit_are_counted(self) -> None:
        earlier = earlier_search("wide", distance_to(0.5, 0.5))
        half = {**PLANE, "x": {"low": 0.0, "high": 0.5}}
        transfer = transfers(spec_of("narrow", half), [earlier])[0]
        num_inside = sum(float(str(t.params["x"])) <= 0.5 for t in earlier.observations)
        assert 0 < num_inside < 40
        assert str(transfer) == (
            f"wide: {num_inside} of 40 trials fit the search space, "
            f"the results of {num_inside} hold here too; the best of these, its trial "
            f"{min(transfer.known, key=lambda t: t.curve[9]).number} "
            f"({best(transfer.results):.4g}), isn't trained again; "
            f"left out: x must be from 0 to 0.5 ({40 - num_inside} of 40)"
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
            {"launcher": "function"},
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
            "must name searches with trials that fit this search space "
            "(0 of 1 do; x has no value (1 of 1)), but got 'other'",
            "must name searches with trials that fit this search space "
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

    def test_are_none_where_the_sampler_knows_the_results(self) -> None:
        earlier = [earlier_search("old", distance_to(0.2, 0.2))]
        assert first_points(spec_of("new", PLANE), earlier) == []

    def test_have_the_default_of_what_was_not_searched(self) -> None:
        wider = {
            **PLANE,
            "z": {"choices": ["a", {"low": 1, "high": 9}]},
            "w": {"low": 0, "high": 9},
        }
        spec, earlier = spec_of("new", wider), [earlier_search("old", distance_to(0.2, 0.2))]
        defaults = default_values(spec)
        points = first_points(spec, earlier, defaults)
        assert {(point["z"], point["w"]) for point in points} == {("a", defaults["w"])}
        assert distance_to(0.2, 0.2)(points[0]) < 0.15**2
        (found,) = transfers(spec, earlier, defaults)
        assert found.filled == {"z": 40, "w": 40} and found.results == ()
        assert "; the default of z stands in for 40 that haven't it" in str(found)
        assert not transfers(spec_of("other", {"w": wider["w"]}), earlier, defaults)[0].filled

    def test_fit_the_only_choice_without_a_name_that_has_their_keys(self) -> None:
        old = {"size": {"choices": [{"width": {"low": 8, "high": 64}}, {"depth": 2}]}}
        wide = {"width": {"low": 8, "high": 64}, "rate": {"low": 0.0, "high": 1.0}}
        new = {"size": {"choices": [{"depth": 4}, wide]}}
        spec = spec_of("new", new)
        labels = labels_of(spec_of("old", old), "size")
        trial = trained(0, {"size": labels[0], f"size.{labels[0]}.width": 32}, 0.5)
        earlier = Earlier(spec_of("old", old), (trial,), RUNGS)
        (found,) = transfers(spec, [earlier], default_values(spec))
        label = labels_of(spec, "size")[1]
        assert found.history.trials[0].params == {
            "size": label,
            f"size.{label}.width": 32,
            f"size.{label}.rate": 0.5,
        }

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
            started = warm_started(sampler, spec, points, transfers(spec, earlier))
            warm.append(best(search(started, function, 6)))
        assert np.median(warm) < 0.1 * np.median(cold)

    def test_what_an_earlier_search_of_the_same_seed_drew_is_not_drawn_again(self) -> None:
        spec, first = spec_of("again", PLANE), sampler_of("random", PLANE, 0)
        trials = search(first, distance_to(0.3, 0.7), 10)
        tried = [trial.params for trial in trials]
        earlier = [Earlier(spec_of("first", PLANE), trials, RUNGS)]

        def drawn(seed: int) -> list[Any]:
            return [sampler_of("random", PLANE, seed).suggest(n, []) for n in range(10)]

        assert drawn(0) == tried
        assert not any(each in tried for each in drawn(sampler_seed(0, transfers(spec, earlier))))
        longer = spec_of("longer", PLANE, max_epochs=27)  # whose trials these are not
        assert sampler_seed(0, transfers(longer, earlier)) == 0 == sampler_seed(0, [])

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
            started = warm_started(sampler, spec, points, transfers(spec, earlier))
            warm.append(best(search(started, function, 8)))
        assert np.median(warm) < 0.5 * np.median(cold)

    def test_nothing_to_start_from_leaves_the_sampler_as_it_is(self) -> None:
        sampler = sampler_of("auto", PLANE)
        assert warm_started(sampler, spec_of("new", PLANE), [], []) is sampler
