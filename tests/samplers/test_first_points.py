"""Points that are tried first: how they are tried, and which are refused."""

from __future__ import annotations

from typing import Any

import pytest

from hpsearch.errors import SpecError
from hpsearch.samplers.first_points import FirstPoints
from hpsearch.spec import Scalar, SearchSpec, draft_spec
from hpsearch.validation import check
from hpsearch.validation.points import point_problems, warm_start_problems
from tests.support.sampling import MIXED, PLANE, sampler_of, space_of
from tests.support.specs import make_spec


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


class TestValidation:
    @pytest.mark.parametrize(
        ("point", "expected"),
        [
            (
                {"dropuot": 0.1},
                "search.points.1.dropuot: must be a hyperparameter that is searched (optimizer, "
                "optimizer.sgd.lr, optimizer.adam.lr, sizes, depth, dropout, batch), but got "
                "'dropuot'; did you mean 'dropout'?",
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
            ({"batch": 24}, "search.points.1.batch: must be a power of two, but got 24"),
            (
                {"optimizer": "adam", "optimizer.sgd.lr": 0.1},
                "search.points.1.optimizer.sgd.lr: must be given only where optimizer is 'sgd', "
                "but got 'adam'",
            ),
            (
                {"optimizer.sgd.lr": 0.1, "optimizer.adam.lr": 0.1},
                "search.points.1.optimizer.adam.lr: must be given only where optimizer is 'adam', "
                "but got 'sgd (set by optimizer.sgd.lr)'",
            ),
        ],
    )
    def test_points_that_cannot_be_tried(self, point: dict[str, Any], expected: str) -> None:
        problems = [*point_problems(with_search(MIXED, points=[{"depth": 1}, point]))]
        assert len(problems) == 1
        assert str(problems[0]).startswith(expected)

    def test_points_that_can(self) -> None:
        points = [
            {},
            {"optimizer": "sgd", "optimizer.sgd.lr": 1, "depth": 9, "dropout": 0.3},
            {"optimizer.adam.lr": 1e-5, "sizes": [64, 32]},
            {"sizes": "[64]"},
        ]
        assert [*point_problems(with_search(MIXED, points=points))] == []

    def test_all_problems_are_told(self) -> None:
        points = [{"depth": 0, "no": 1}, {"dropout": 2}, {"depth": 3}]
        problems = point_problems(with_search(MIXED, points=points, trials=2))
        assert [problem.path for problem in problems] == [
            "search.points",
            "search.points.0.no",
            "search.points.0.depth",
            "search.points.1.dropout",
        ]

    def test_earlier_searches_are_others_and_differ(self) -> None:
        problems = warm_start_problems(with_search(PLANE, warm_start=["a", "new", "a"]))
        assert [str(problem) for problem in problems] == [
            "search.warm_start.1: must be another search than this one, but got 'new'",
            "search.warm_start.2: must be named once only, but got 'a'",
        ]

    def test_all_that_are_alike_stand_alone(self) -> None:
        assert with_search(PLANE, warm_start="auto").search.warm_start == ("auto",)
        (problem,) = warm_start_problems(with_search(PLANE, warm_start=["a", "auto"]))
        assert str(problem).startswith("search.warm_start.1: must stand alone: it finds")

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
