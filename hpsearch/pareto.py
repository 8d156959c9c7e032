"""Which trials are better than others where several objectives, or constraints, say so.

Constrained domination (Deb et al., 2002, definition 1): of two trials that keep all constraints
one dominates the other if it is no worse in any objective and better in one; a trial that keeps
them dominates one that breaks any; of two that break some, the one that breaks them less.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Standing:
    """What a trial is compared by: its objectives as `scores`, of which more is better, and how
    far it breaks the constraints, 0 if it doesn't."""

    scores: tuple[float, ...]
    violation: float = 0.0

    @property
    def is_feasible(self) -> bool:
        """Whether it keeps all constraints."""
        return self.violation == 0.0


def pareto_front(standings: Sequence[Standing]) -> list[int]:
    """Return the indices of those that no other dominates and that keep all constraints.

    Those of the best first score come first; of equal ones, the earlier.

    >>> pareto_front([Standing((1, 0)), Standing((0, 0)), Standing((0, 1)), Standing((9, 9), 0.1)])
    [0, 2]
    """
    feasible = [index for index, each in enumerate(standings) if each.is_feasible]
    # One that is dominated comes after one that dominates it.
    feasible.sort(key=lambda index: ([-score for score in standings[index].scores], index))
    scores = np.array([standings[index].scores for index in feasible])
    front: list[int] = []
    left = np.arange(len(feasible))
    while len(left):
        best, left = left[0], left[1:]
        front.append(feasible[best])
        left = left[~dominates(scores[best], scores[left])]
    return front


def dominates(some: Scores, scores: Scores) -> NDArray[np.bool_]:
    """Return which of some scores dominate others: (num_trials, num_objectives), or those of one
    trial, which is compared with each."""
    return np.logical_and((some >= scores).all(axis=-1), (some > scores).any(axis=-1))


class Fronts:
    """Trials sorted into fronts, each dominated by the one before, as they come one by one.

    Adding a trial moves down only what it displaces (ENLU; Li et al., 2017). Those that break
    constraints follow, by how far.
    """

    def __init__(self) -> None:
        self._fronts: list[list[int]] = []
        self._scores: list[tuple[float, ...]] = []
        self._violations: list[float] = []

    def __len__(self) -> int:
        return len(self._scores) + len(self._violations)

    def add(self, standing: Standing) -> int:
        """Add a trial; returns its place, counted from 0, the best first.

        Within a front the places are those of an epsilon-net (Salinas et al., 2021; Schmucker et
        al., 2021): first the trial of the best first score, then always the one that is farthest
        from all before it, so that the front is covered evenly.
        """
        if not standing.is_feasible:
            insort(self._violations, standing.violation)
            return len(self._scores) + bisect_left(self._violations, standing.violation)
        number = len(self._scores)
        self._scores.append(standing.scores)
        level = self._level(np.array(standing.scores))
        self._insert(number, level)
        above = sum(map(len, self._fronts[:level]))
        front = self._fronts[level]
        return above + epsilon_net(self._array(front)).index(front.index(number))

    def _level(self, scores: Scores) -> int:
        """Return the first front of which no trial dominates these scores."""
        for level, front in enumerate(self._fronts):
            if not dominates(self._array(front), scores).any():
                return level
        return len(self._fronts)

    def _insert(self, number: int, level: int) -> None:
        moving = [number]
        while moving:
            if level == len(self._fronts):
                self._fronts.append([])
            front, arrived = self._fronts[level], self._array(moving)
            stays = [not dominates(arrived, np.array(self._scores[each])).any() for each in front]
            displaced = [each for each, keeps in zip(front, stays, strict=True) if not keeps]
            kept = [each for each, keeps in zip(front, stays, strict=True) if keeps]
            self._fronts[level] = [*kept, *moving]
            moving, level = displaced, level + 1

    def _array(self, numbers: Sequence[int]) -> Scores:
        return np.array([self._scores[number] for number in numbers])


def epsilon_net(scores: Scores) -> list[int]:
    """Return the indices of scores, (num_trials, num_objectives), in the order of an epsilon-net.

    >>> epsilon_net(np.array([[0.0, 1.0], [0.4, 0.7], [1.0, 0.0]]))
    [2, 0, 1]
    """
    spread = np.ptp(scores, axis=0)
    scaled = (scores - scores.min(axis=0)) / np.where(spread > 0, spread, 1.0)
    order = [int(np.argmax(scores[:, 0]))]
    nearest = np.full(len(scores), np.inf)
    while len(order) < len(scores):
        distances = np.linalg.norm(scaled - scaled[order[-1]], axis=1)
        nearest = np.minimum(nearest, distances)
        nearest[order[-1]] = -np.inf  # it has its place
        order.append(int(np.argmax(nearest)))
    return order
