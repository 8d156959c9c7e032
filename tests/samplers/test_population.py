"""Who copies whom in a population, and what copies change."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from hpsearch.errors import ComponentError
from hpsearch.samplers.pb2 import PB2Sampler, TimeVaryingProcess
from hpsearch.samplers.pbt import PBTSampler, perturbed
from hpsearch.samplers.population import (
    Exploit,
    Interval,
    Member,
    mutable_parameters,
    truncation_selection,
)
from hpsearch.space import PowersOfTwo, SearchSpace
from hpsearch.spec import Scalar
from tests.support.sampling import space_of
from tests.support.specs import make_spec

PLANE = {"x": {"low": 0.0, "high": 1.0}, "width": {"low": 8, "high": 64}}


def members(*scores: float | None) -> list[Member]:
    return [Member(number, {"x": 0.5}, score) for number, score in enumerate(scores)]


def chosen(found: list[Exploit]) -> list[tuple[int, int]]:
    return [(each.loser.number, each.source.number) for each in found]


class TestTruncationSelection:
    def test_the_lowest_quantile_copies_the_highest(self) -> None:
        scores = [0.1, 0.8, 0.3, 0.9, 0.2, 0.7, 0.6, 0.5]
        for epoch in range(20):
            found = chosen(truncation_selection(members(*scores), 0.25, 0, epoch))
            assert [loser for loser, _ in found] == [0, 4]
            assert {source for _, source in found} <= {1, 3}

    def test_sources_are_drawn_evenly_and_again_the_same(self) -> None:
        population = members(*range(8))
        draws = [truncation_selection(population, 0.25, seed, 3) for seed in range(400)]
        counts = Counter(source for found in draws for _, source in chosen(found))
        assert set(counts) == {6, 7}
        assert abs(counts[6] - 400) < 60  # of 800 draws; the deviation is 14
        assert draws == [truncation_selection(population, 0.25, seed, 3) for seed in range(400)]

    def test_a_quantile_is_rounded_up_but_holds_half_at_most(self) -> None:
        assert len(truncation_selection(members(*range(9)), 0.25, 0, 1)) == 3
        assert len(truncation_selection(members(0, 1, 2), 0.5, 0, 1)) == 1

    def test_all_that_have_ended_copy(self) -> None:
        found = truncation_selection(members(None, 0.2, None, 0.3, None, 0.4), 0.2, 0, 1)
        assert [loser for loser, _ in chosen(found)] == [0, 2, 4]
        assert {source for _, source in chosen(found)} <= {3, 5}

    def test_nobody_copies_what_is_no_better(self) -> None:
        assert truncation_selection(members(0.5, 0.5, 0.5, 0.5), 0.25, 0, 1) == []

    def test_what_has_left_is_not_copied(self) -> None:
        population = [*members(0.1, 0.2, 0.3), Member(3, {}, 0.4, may_be_copied=False)]
        assert truncation_selection(population, 0.25, 0, 1) == []


class TestPerturbation:
    @pytest.mark.parametrize(
        ("distribution", "value", "factor", "expected"),
        [
            (FloatDistribution(0.0, 1.0), 0.5, 1.2, 0.6),
            (FloatDistribution(0.0, 1.0), 0.9, 1.2, 1.0),
            (FloatDistribution(1e-3, 1.0, log=True), 0.001, 0.8, 0.001),
            (FloatDistribution(0.0, 0.5, step=0.1), 0.2, 1.2, 0.3),
            (FloatDistribution(0.0, 0.5, step=0.1), 0.0, 1.2, 0.0),
            (IntDistribution(1, 100), 50, 0.8, 40),
            (IntDistribution(1, 100), 2, 1.2, 3),
            (IntDistribution(16, 128, step=16), 32, 0.8, 16),
            (PowersOfTwo(8, 128), 32, 1.2, 64),
            (PowersOfTwo(8, 128), 32, 0.8, 16),
            (PowersOfTwo(8, 128), 32, 1.0, 32),
            (PowersOfTwo(8, 128), 16, 5.0, 64),
            (PowersOfTwo(8, 128), 128, 1.2, 128),
            (CategoricalDistribution([16, 64, 32]), 32, 1.2, 64),
            (CategoricalDistribution([16, 64, 32]), 64, 1.2, 64),
            (CategoricalDistribution(["a", "b"]), "b", 0.8, "a"),
        ],
    )
    def test_numbers_are_multiplied_and_choices_shifted(
        self, distribution: BaseDistribution, value: Scalar, factor: float, expected: Scalar
    ) -> None:
        found = perturbed(distribution, value, factor)
        assert found == pytest.approx(expected)
        assert type(found) is type(expected)

    def test_a_share_is_drawn_anew(self) -> None:
        space = space_of({"x": {"low": 0.0, "high": 1.0}})
        source = Member(0, {"x": 0.5}, 1.0)
        for probability, resampled in ((0.0, 0), (1.0, 200), (0.25, 50)):
            sampler = PBTSampler(space, 0, resample_probability=probability)
            found = [explored(sampler, source, number)["x"] for number in range(200)]
            moved = sum(value not in (pytest.approx(0.6), pytest.approx(0.4)) for value in found)
            assert abs(moved - resampled) < 20

    def test_what_is_drawn_once_is_inherited(self) -> None:
        sampler = PBTSampler(space_of(PLANE), 0)
        found = explored(sampler, Member(0, {"x": 0.5, "width": 33}, 1.0), 7)
        assert found["width"] == 33 and found["x"] != 0.5


def explored(sampler: PBTSampler | PB2Sampler, source: Member, number: int) -> dict[str, Scalar]:
    return sampler.explore(number, Exploit(Member(9, {}, None), source), 3, [], [])


class TestWhatMayChange:
    def test_of_a_built_in_trial_what_leaves_its_weights_as_they_are(self) -> None:
        spec = make_spec(
            model={
                "name": "mlp",
                "hidden_sizes": {"choices": [[16], [32]]},
                "dropout": {"low": 0.0, "high": 0.5},
            },
            initializer={"name": "orthogonal", "gain": {"low": 0.5, "high": 2.0}},
            optimizer={
                "choices": [
                    {
                        "name": "sgd",
                        "lr": {"low": 0.1, "high": 1.0},
                        "nesterov": {"choices": [True, False]},
                        "momentum": 0.9,
                    },
                    "adam",
                ]
            },
            batch_size={"choices": [32, 64]},
        )
        found = [each.name for each in mutable_parameters(SearchSpace.of(spec), None)]
        assert found == ["model.dropout", "optimizer.sgd.lr", "batch_size"]

    @pytest.mark.parametrize(
        ("named", "expected"), [(None, ["x"]), (["width"], ["width"]), (["x", "width"], None)]
    )
    def test_of_own_code_fractions_and_what_is_named(
        self, named: list[str] | None, expected: list[str] | None
    ) -> None:
        found = [each.name for each in mutable_parameters(space_of(PLANE), named)]
        assert found == (expected or ["x", "width"])

    def test_a_name_that_cannot_change_is_refused(self) -> None:
        with pytest.raises(ComponentError, match=r"\(x, width\), but got 'widht'; did you mean"):
            mutable_parameters(space_of(PLANE), ["widht"])

    @pytest.mark.parametrize("sampler", [PBTSampler, PB2Sampler])
    def test_a_space_of_which_nothing_can_change_is_refused(self, sampler: Any) -> None:
        spec = make_spec(
            model={"name": "mlp", "hidden_sizes": {"choices": [[16], [32]]}},
            optimizer={"choices": ["sgd", "adam"]},
            batch_size=32,
        )
        with pytest.raises(ComponentError, match=r"once are: model\.hidden_sizes, optimizer"):
            sampler(SearchSpace.of(spec), 0)


class TestPB2:
    def test_it_finds_what_gains_most_now(self) -> None:
        """Large x gained most at first, x of 0.2 now: the old intervals fade."""
        sampler = PB2Sampler(space_of(PLANE), 0, perturbation_interval=1)
        rng = np.random.default_rng(0)
        intervals = []
        for end in range(1, 21):
            for x in rng.random(6):
                gain = float(x) if end <= 5 else 1.0 - 3.0 * abs(float(x) - 0.2)
                intervals.append(Interval({"x": float(x), "width": 9}, end, gain))
        source = Member(0, {"x": 0.9, "width": 12}, 1.0)
        exploit = Exploit(Member(1, {}, None), source)
        found = [sampler.explore(n, exploit, 20, intervals, []) for n in range(5)]
        assert all(abs(float(each["x"]) - 0.2) < 0.1 for each in found)  # type: ignore[arg-type]
        assert all(each["width"] == 12 for each in found)

    def test_copies_of_one_comparison_differ(self) -> None:
        sampler = PB2Sampler(space_of(PLANE), 0, perturbation_interval=1)
        # both ends gain alike
        xs = np.linspace(0.0, 1.0, 9)
        intervals = [Interval({"x": float(x), "width": 9}, 1, abs(float(x) - 0.5)) for x in xs]
        exploit = Exploit(Member(1, {}, None), Member(0, {"x": 0.5, "width": 9}, 1.0))
        pending: list[dict[str, Scalar]] = []
        for number in range(2):
            pending.append(sampler.explore(number, exploit, 1, intervals, pending))
        low, high = sorted(float(each["x"]) for each in pending)  # type: ignore[arg-type]
        assert low < 0.3 and high > 0.7

    def test_its_process_interpolates_and_forgets(self) -> None:
        points = np.linspace(0, 1, 9)[:, None]
        targets = np.sin(6 * points[:, 0])
        process = TimeVaryingProcess(points, np.zeros(9), targets, (0.3, 0.1, 1e-4))
        mean, std = process.predict(points, 0.0)
        assert mean == pytest.approx(targets, abs=0.01)
        assert std.max() < 0.05
        mean, std = process.predict(points, 100.0)
        assert mean == pytest.approx(np.zeros(9), abs=0.02)
        assert std.min() > 0.99

    def test_its_fading_is_that_of_the_formula(self) -> None:
        process = TimeVaryingProcess(np.zeros((1, 1)), np.zeros(1), np.ones(1), (1.0, 0.3, 1e-9))
        mean, std = process.predict(np.array([[0.5]]), 4.0)
        covariance = np.exp(-0.125) * 0.7**2
        assert mean == pytest.approx([covariance])
        assert std == pytest.approx([np.sqrt(1 - covariance**2)])
