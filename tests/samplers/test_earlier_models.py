"""Models of earlier searches of other tasks: what they say, and what results leave of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hpsearch.early_stopping import make_early_stopper
from hpsearch.record import Record
from hpsearch.samplers import Observation, make_sampler
from hpsearch.samplers.earlier_models import MAX_MODELS, EarlierModels
from hpsearch.samplers.history import History
from hpsearch.samplers.priors import Priors
from hpsearch.samplers.trend import Trend
from hpsearch.samplers.unit_cube import Cube
from hpsearch.samplers.warm_start import Earlier, transfers
from hpsearch.spec import SearchSpec
from hpsearch.tuning.sampling import informed_sampler, transfers_told
from tests.support.sampling import (
    PLANE,
    RUNGS,
    Function,
    distance_to,
    random_history,
    search,
    space_of,
)
from tests.support.specs import make_spec

CUBE = Cube(space_of(PLANE))
LIKE_THE_OTHERS = distance_to(0.3, 0.7)


def reversed_(history: History) -> History:
    """A search in which what was good is bad."""
    return replace(history, direction="maximize")


def scores_of(function: Function, points: np.ndarray) -> np.ndarray:
    values = -np.array([function({"x": x, "y": y}) for x, y in points])
    standard: np.ndarray = (values - values.mean()) / values.std()
    return standard


def test_a_model_expects_more_where_its_search_was_better() -> None:
    history = random_history(LIKE_THE_OTHERS, seed=0)
    models = EarlierModels([history, reversed_(history)], CUBE)
    good, bad = models.features(np.array([[0.3, 0.7], [0.95, 0.05]]))
    assert good[0] > 1.0 and bad[0] < -1.0
    assert good[1] < -1.0 and bad[1] > 1.0


def test_a_random_configuration_has_zero_on_average() -> None:
    models = EarlierModels([random_history(LIKE_THE_OTHERS, seed=0)], CUBE)
    features = models.features(np.random.default_rng(5).random((2000, 2)))
    assert features.mean() == pytest.approx(0.0, abs=0.1)
    assert features.std() == pytest.approx(1.0, abs=0.1)


def test_the_largest_searches_have_models_and_tiny_ones_none() -> None:
    sizes = (7, *range(8, 8 + MAX_MODELS + 2))
    histories = [random_history(LIKE_THE_OTHERS, seed, num) for seed, num in enumerate(sizes)]
    assert len(EarlierModels(histories[:1], CUBE)) == 0
    assert EarlierModels(histories[:1], CUBE).features(np.zeros((3, 2))).shape == (3, 0)
    models = EarlierModels(histories, CUBE)
    assert len(models) == MAX_MODELS
    largest = EarlierModels(histories[-MAX_MODELS:], CUBE)
    at = np.array([[0.1, 0.9]])
    assert sorted(models.features(at)[0]) == pytest.approx(sorted(largest.features(at)[0]))


def test_results_raise_the_weight_of_what_agrees_and_bring_the_rest_to_zero() -> None:
    history = random_history(LIKE_THE_OTHERS, seed=0)
    trend = Trend(Priors(CUBE), EarlierModels([history, reversed_(history)], CUBE))
    points = np.random.default_rng(1).random((30, 2))
    scores = scores_of(distance_to(0.35, 0.65), points)
    agreeing, opposed = trend.weights(points, scores, np.zeros(30))
    assert agreeing > 1.5 * trend.expected[0] and opposed == 0.0
    # where all points lie says nothing of agreement
    near = 0.25 + 0.1 * points
    luck = trend.weights(near, np.random.default_rng(2).standard_normal(30), np.zeros(30))
    assert luck.max() < 2 * trend.expected[0]


def mean_best(earlier: Sequence[History], num_trials: int) -> float:
    """The mean best value of searches of a task whose best point lies near the others'."""
    found = []
    for seed in range(5):
        sampler = make_sampler(
            {"name": "auto"},
            space_of(PLANE),
            seed=seed,
            direction="minimize",
            rungs=RUNGS,
            slots=1,
            earlier=earlier,
        )
        trials = search(sampler, distance_to(0.36, 0.64), num_trials)
        found.append(min(trial.curve[9] for trial in trials))
    return float(np.mean(found))


def test_earlier_searches_help_and_misleading_ones_cost_little() -> None:
    history = random_history(LIKE_THE_OTHERS, seed=0)
    alone = mean_best((), 10)
    assert mean_best([history], 10) < 0.5 * alone
    assert mean_best([reversed_(history)], 30) < 0.002


SAMPLER = """
class Knows:
    def __init__(self, space, earlier):
        self.numbers = [len(history.trials) for history in earlier]
    def suggest(self, number, observations):
        return {"x": 0.5 + 0.01 * len(self.numbers), "y": sum(self.numbers) / 100}
"""


@pytest.mark.parametrize(
    ("sampler", "counts", "said"),
    [
        (
            "auto",
            [12, 9, 3],
            "models of 2 searches of other data or settings guide the sampler a",
        ),
        (
            "auto",
            [12],
            "models of 1 search of other data or settings guide the sampler auto, as ",
        ),
        ("auto", [3], ""),
        ("tpe", [12], ""),
    ],
)
def test_how_many_models_guide_the_sampler_is_said(
    tmp_path: Path, sampler: str, counts: list[int], said: str
) -> None:
    sections = {"trainable": "train.py:train", "space": PLANE}
    spec = make_spec(tmp_path, name="new", search={"sampler": sampler}, **sections)
    record = Record.create(tmp_path / "record.journal", spec)
    trials = random_history(LIKE_THE_OTHERS, 0, 20).trials
    other = spec.model_copy(update={"name": "other", "trainable": "another.py:train"})
    earlier = [Earlier(other, trials[:count], RUNGS) for count in counts]
    lines = transfers_told(record, transfers(spec, earlier))
    assert [line[:5] for line in lines[: len(counts)]] == ["other"] * len(counts)
    assert [line[: len(said)] for line in lines[len(counts) :]] == [said] * bool(said)


def test_a_sampler_gets_the_searches_of_which_no_result_holds(tmp_path: Path) -> None:
    (tmp_path / "knowing_sampler.py").write_text(SAMPLER)

    def named(name: str, max_epochs: int) -> SearchSpec:
        return make_spec(
            tmp_path,
            name=name,
            trainable="train.py:train",
            space=PLANE,
            objective={"metric": "loss", "direction": "minimize"},
            search={
                "sampler": {"name": "knowing_sampler.py:Knows"},
                "early_stopping": {"max_epochs": max_epochs},
            },
        )

    trials: tuple[Observation, ...] = random_history(LIKE_THE_OTHERS, 0, 20).trials
    same_task = Earlier(named("same", 9), trials, RUNGS)
    other_task = Earlier(named("longer", 27), trials[:12], RUNGS)
    spec = named("new", 9)
    record = Record.create(tmp_path / "record.journal", spec)
    sampler = informed_sampler(record, make_early_stopper(spec), 1, [same_task, other_task])
    assert sampler.suggest(0, []) == {"x": 0.51, "y": 0.12}
