"""The data that samplers are fitted on: the record at one fidelity.

Values of different epochs can't be compared: a model fitted on the last value of every trial
learns how long trials were trained. So a view holds one rung only, the highest that enough
trials have reached, with all trials that reached it, stopped there or not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hpsearch.samplers.base import Direction, Observation

#: trials that must have reached a rung before a model is fitted on it
MIN_POINTS = 8


@dataclass(frozen=True)
class Scored:
    """A trial and its score; higher is better."""

    trial: Observation
    score: float


@dataclass(frozen=True)
class View:
    """Trials at one rung; empty while there are too few to fit a model."""

    scored: tuple[Scored, ...] = ()
    bad: tuple[Observation, ...] = ()  # worse than any score
    pending: tuple[Observation, ...] = ()  # running, the rung not reached yet

    @property
    def is_empty(self) -> bool:
        """Whether there is no data to fit a model on."""
        return not self.scored

    @property
    def worst(self) -> float:
        """The lowest score, imputed for bad trials where a model needs a number."""
        return min(scored.score for scored in self.scored)

    def limited(self, num_points: int) -> View:
        """Return at most this many scored trials, the best, and bad trials, the newest."""
        best_first = sorted(self.scored, key=lambda s: (-s.score, s.trial.number))
        half = num_points // 2
        others = sorted(best_first[half:], key=lambda s: -s.trial.number)
        return View(
            (*best_first[:half], *others[: num_points - half]),
            self.bad[-num_points:],
            self.pending,
        )


def make_view(
    observations: Sequence[Observation], rungs: Sequence[int], direction: Direction
) -> View:
    """Return the trials at the highest rung that enough of them have reached."""
    top = highest_rung(observations, rungs)
    if top is None:
        return View()
    rung = rungs[top]
    scored, pending = [], []
    for trial in observations:
        score = score_at(trial, rung, direction)
        if trial.state != "bad" and score is not None:
            scored.append(Scored(trial, score))
        elif trial.state == "running":
            pending.append(trial)
    bad = tuple(trial for trial in observations if trial.state == "bad")
    return View(tuple(scored), bad, tuple(pending))


def highest_rung(observations: Sequence[Observation], rungs: Sequence[int]) -> int | None:
    """Return the index of the highest rung that `MIN_POINTS` trials have reached.

    Bad configurations count at the first rung, so that a model also learns a space with many of
    them; it still needs two values. None while there is no such rung.
    """
    last_epochs = [max(t.curve, default=0) for t in observations if t.state != "bad"]
    num_bad = len(observations) - len(last_epochs)
    for index in reversed(range(len(rungs))):
        num_reached = sum(epoch >= rungs[index] for epoch in last_epochs)
        if num_reached >= MIN_POINTS:
            return index
    return 0 if num_reached >= 2 and num_reached + num_bad >= MIN_POINTS else None


def score_at(trial: Observation, rung: int, direction: Direction) -> float | None:
    """Return a trial's newest value at a rung, to be maximised; None if it stopped below."""
    value = value_at(trial.curve, rung)
    return value if value is None or direction == "maximize" else -value


def value_at(curve: Mapping[int, float], rung: int) -> float | None:
    """Return the newest value of a curve at a rung; None if it stopped below."""
    if rung in curve:
        return curve[rung]
    if max(curve, default=0) < rung:  # not trained so far
        return None
    earlier = [epoch for epoch in curve if epoch < rung]  # no metric at that very epoch
    return curve[max(earlier)] if earlier else None


def rank(
    observations: Sequence[Observation], rungs: Sequence[int], direction: Direction
) -> list[Observation]:
    """Sort ended trials as successive halving does, best first: by rung, then by score there.

    Bad trials come last. For samplers that use ranks only, such as evolution.
    """

    def key(trial: Observation) -> tuple[int, float, int]:
        if trial.state != "bad":
            for rung in reversed(rungs):
                score = score_at(trial, rung, direction)
                if score is not None:
                    return (-rung, -score, trial.number)
        return (0, 0.0, trial.number)

    return sorted((trial for trial in observations if trial.state != "running"), key=key)
