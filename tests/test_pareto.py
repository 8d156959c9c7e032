"""Domination, fronts and epsilon-nets, against their definitions."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

from hpsearch import pareto
from hpsearch.pareto import Fronts, Standing, dominates, epsilon_net, pareto_front


def fronts_by_definition(scores: np.ndarray) -> list[set[int]]:
    """Deb et al. (2002): what nothing dominates, then what nothing else does, and so on."""
    left, found = set(range(len(scores))), []
    while left:
        front = {i for i in left if not any(dominates(scores[j], scores[i]) for j in left)}
        found.append(front)
        left -= front
    return found


@pytest.mark.parametrize("num_objectives", [1, 2, 3])
def test_the_front_is_what_no_other_dominates(num_objectives: int) -> None:
    scores = np.random.default_rng(0).integers(0, 9, (60, num_objectives)).astype(float)
    front = pareto_front([Standing(tuple(row)) for row in scores])
    assert set(front) == fronts_by_definition(scores)[0]
    assert front[0] == np.argmax(scores[:, 0]) or num_objectives > 1
    assert scores[front[0], 0] == scores[:, 0].max()


@pytest.mark.parametrize("num_objectives", [1, 2, 3])
def test_trials_that_come_one_by_one_are_sorted_as_all_at_once(num_objectives: int) -> None:
    scores = np.random.default_rng(1).integers(0, 20, (80, num_objectives)).astype(float)
    fronts = Fronts()
    for number, row in enumerate(scores):
        place = fronts.add(Standing(tuple(row)))
        by_definition = fronts_by_definition(scores[: number + 1])
        level = next(i for i, front in enumerate(by_definition) if number in front)
        above = sum(map(len, by_definition[:level]))
        assert above <= place < above + len(by_definition[level])
    assert [set(front) for front in fronts._fronts] == fronts_by_definition(scores)


def test_what_breaks_constraints_comes_last_by_how_far() -> None:
    fronts = Fronts()
    places = [fronts.add(Standing((9.0,), broken)) for broken in (0.5, 2.0, 1.0)]
    assert places == [0, 1, 1]
    assert fronts.add(Standing((0.0,))) == 0
    assert fronts.add(Standing((9.0,), 3.0)) == 4
    assert len(fronts) == 5


def test_an_epsilon_net_spreads_over_a_front() -> None:
    angle = np.linspace(0, np.pi / 2, 9)
    order = epsilon_net(np.column_stack([np.cos(angle), 100 * np.sin(angle)]))
    assert order[:3] == [0, 8, 4]  # both ends, then the middle: units don't matter
    assert sorted(order) == list(range(9))


def test_equal_scores_have_places_of_their_own() -> None:
    assert sorted(epsilon_net(np.ones((4, 2)))) == [0, 1, 2, 3]


def test_examples_in_docstrings() -> None:
    results = doctest.testmod(pareto)
    assert (results.attempted, results.failed) == (2, 0)
