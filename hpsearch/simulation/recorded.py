"""Curves from a search's record: those of its trials, and of any configuration near to them.

A trial that the record has goes as it went. One that was stopped early goes on in parallel to
those that continued: from epoch to epoch it changes as they did on average, or less where it is
nearer to the best value of the record, which none gets beyond. Another configuration
ends at the mean of its nearest neighbours' final values, by inverse distance, and gets there as
one of them does, drawn by the same weights: with that one's ups and downs, its seconds, and its
end, if it diverged.
Distances are in the length scales of a Gaussian process fitted on the final values, so that
hyperparameters that matter count more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hpsearch.errors import HpsearchError
from hpsearch.outcome import Outcome
from hpsearch.record import Record, TrialRecord
from hpsearch.samplers.forecast import best_and_some, normal_scores
from hpsearch.samplers.translation import MisfitError, Translator
from hpsearch.samplers.unit_cube import Array, Cube, Integers
from hpsearch.simulation.curves import Training
from hpsearch.space import SearchSpace
from hpsearch.spec import Direction, Scalar, SearchSpec, sign_of

#: neighbours that a configuration's curve is made from
NUM_NEIGHBOURS = 3
#: trials that the length scales are fitted on, at most
MAX_FIT_TRIALS = 80
#: keeps a draw of a neighbour apart from those of samplers
_NEIGHBOUR = 2


@dataclass(frozen=True)
class _Known:
    """A trial of the record in the parameters of the simulated search."""

    trial: TrialRecord
    params: Mapping[str, Scalar]
    values: Array  # (max_epochs,), NaN where it wasn't trained
    seconds: Array  # (max_epochs,), likewise

    @property
    def is_bad(self) -> bool:
        return self.trial.outcome is not None and self.trial.outcome.is_bad_configuration


class RecordedCurves:
    """The trials of a record as a `Curves` for searches of a spec's space.

    Raises HpsearchError where no trial of it fits the space, or none was trained in full.
    """

    def __init__(self, record: Record, spec: SearchSpec | None = None) -> None:
        self.name = record.name
        self.max_epochs = record.spec.max_epochs
        space = record.space if spec is None else SearchSpace.of(spec)
        known = _known_trials(record, space)
        if not known:
            rule = f"{record.name}: none of its trials fits the search space of the spec"
            raise HpsearchError(rule)
        self._good = [each for each in known if not each.is_bad]
        if not any(np.isfinite(each.values[-1]) for each in self._good):
            rule = f"{record.name}: none of its trials was trained in full"
            raise HpsearchError(f"{rule}; how curves end can't be known")
        self._known = [*self._good, *(each for each in known if each.is_bad)]
        direction = record.spec.objective.direction
        self._values = _completed(np.array([each.values for each in self._good]), direction)
        self._finals = self._values[:, -1]
        self._cube = Cube(space)
        features = self._cube.features(self._cube.points([k.params for k in self._known]))
        self._scales = self._length_scales(features, direction)
        self._points = features / self._scales
        self._own = {each.trial.number: i for i, each in enumerate(self._known)}

    @property
    def num_trials(self) -> int:
        """How many trials of the record are used."""
        return len(self._known)

    @property
    def finals(self) -> Array:
        """Final values of the trials, forecast where they were stopped, (num_good,)."""
        return self._finals

    def rank_correlation(self) -> float | None:
        """Return Spearman's correlation of the final values with those that each configuration
        would get if the record hadn't its trial; None for fewer than four trials."""
        if len(self._good) < 4:
            return None
        guesses = []
        for i in range(len(self._good)):
            near, weights = self._neighbours(self._points[i], without=i)
            guesses.append(self._mean_final(near, weights))
        guessed, known = normal_scores(np.array(guesses)), normal_scores(self._finals)
        if not guessed.any() or not known.any():  # all are equal
            return None
        return float(np.corrcoef(guessed, known)[0, 1])

    def training(self, number: int, params: Mapping[str, Scalar], seed: int) -> Training:
        """See Curves."""
        own = self._own.get(number)
        if own is not None and self._known[own].params == params:
            return self._as_recorded(own, 0.0)
        point = self._cube.features(self._cube.points([params]))[0] / self._scales
        near, weights = self._neighbours(point)
        rng = np.random.default_rng((seed, number, _NEIGHBOUR))
        model = int(rng.choice(near, p=weights))
        final = self._mean_final(near, weights)
        is_good = model < len(self._good)
        return self._as_recorded(model, final - self._finals[model] if is_good else 0.0)

    def _as_recorded(self, index: int, shift: float) -> Training:
        """Return the course of a recorded trial, its values moved by `shift`."""
        each, trial = self._known[index], self._known[index].trial
        seconds = _filled(each.seconds)
        if each.is_bad:
            values = each.values[np.isfinite(each.values)]
            num = len(values) + 1  # it ends in the epoch after its last value
            return Training(values.tolist(), seconds[:num].tolist(), trial.outcome, trial.reason)
        low, high = float(self._values.min()), float(self._values.max())
        values = np.clip(self._values[index] + shift, low, high).tolist()
        if trial.ended_itself:
            num = trial.epochs
            return Training(values[:num], seconds[:num].tolist(), trial.outcome, trial.note)
        return Training(values, seconds.tolist())

    def _neighbours(self, point: Array, without: int | None = None) -> tuple[Integers, Array]:
        """Return the nearest trials and their weights, which sum to 1."""
        distances = np.sqrt(((self._points - point) ** 2).sum(axis=1))
        if without is not None:
            distances[without] = math.inf
        near: Integers = np.argsort(distances, kind="stable")[:NUM_NEIGHBOURS]
        near = near[np.isfinite(distances[near])]
        weights = 1.0 / (distances[near] + 1e-9)
        return near, weights / weights.sum()

    def _mean_final(self, near: Integers, weights: Array) -> float:
        is_good = near < len(self._good)
        if not is_good.any():
            return math.nan
        return float(np.average(self._finals[near[is_good]], weights=weights[is_good]))

    def _length_scales(self, features: Array, direction: Direction) -> Array:
        """Return one scale for each column of the features."""
        from hpsearch.samplers.gaussian_process import fit_hyperparameters

        if len(self._good) < 4 or not self._cube.size:
            return np.ones(features.shape[1])
        scores = normal_scores(sign_of(direction) * self._finals)
        some = best_and_some(scores, MAX_FIT_TRIALS)
        groups = self._cube.feature_groups
        scales, _ = fit_hyperparameters(features[some], scores[some], np.zeros(len(some)), groups)
        return scales[groups]


def _known_trials(record: Record, space: SearchSpace) -> list[_Known]:
    translator, metric = Translator(space), record.spec.objective.metric
    found = []
    for trial in record.trials:
        if trial.outcome in (Outcome.FAILED, Outcome.CANCELLED):
            continue
        if record.continuation(trial.number) is not None:
            continue  # which has its epochs too
        try:
            params = translator.translate(record.space.resolve(trial.params), exact=False).params
        except MisfitError:
            continue
        curve = record.whole_curve(trial, metric)
        last = record.spec.max_epochs  # a user may have let a trial train longer
        values = _array({e: v for e, v in curve.items() if e <= last}, last)
        if trial.ended_itself and np.isfinite(values).any():
            values[trial.epochs :] = values[np.isfinite(values)][-1]  # it competes with that
        known = _Known(trial, params, values, _seconds(trial, record.spec.max_epochs))
        if known.is_bad or np.isfinite(values).any():
            found.append(known)
    return found


def _array(by_epoch: Mapping[int, float], max_epochs: int) -> Array:
    """Return values by epoch as an array, epochs between two known ones interpolated."""
    values = np.full(max_epochs, np.nan)
    if by_epoch:
        epochs = sorted(by_epoch)
        every = np.arange(1, epochs[-1] + 1)
        values[: len(every)] = np.interp(every, epochs, [by_epoch[epoch] for epoch in epochs])
    return values


def _seconds(trial: TrialRecord, max_epochs: int) -> Array:
    """Return how long each epoch took: since the epoch before, or since the attempt began.

    The first one has the time in it that a worker took to start.
    """
    attempts = [trial.started_at, *trial.attempted_at[1:]]
    begins = sorted([*attempts, *trial.reported_at.values()])
    ends = dict(trial.reported_at)
    if trial.ended_at is not None and not trial.curve:
        ends[1] = trial.ended_at
    seconds = np.full(max_epochs, np.nan)
    for epoch, end in ends.items():
        if epoch > max_epochs:
            continue
        before = [begin for begin in begins if begin < end] or [trial.started_at]
        seconds[epoch - 1] = max(end - before[-1], 0.0)
    return seconds


def _filled(seconds: Array) -> Array:
    """Return the seconds of all epochs: where they aren't known, those of an epoch of the trial
    but the first, which has its start in it."""
    known = seconds[np.isfinite(seconds)]
    if not len(known):
        return np.ones_like(seconds)
    usual = float(np.median(known[1:])) if len(known) > 1 else float(known[0])
    return np.where(np.isfinite(seconds), seconds, usual)


def _completed(values: Array, direction: Direction) -> Array:
    """Return curves (num_trials, max_epochs) that are continued where they aren't known.

    A regression line would do worse: those that continue are alike, and the slope of their noise
    would bring all that was stopped up to them. A trial that is nearer to the best value than they
    were on average comes as much nearer to it as they did, in proportion.
    """
    sign = sign_of(direction)
    completed = sign * values
    best, known = float(np.nanmax(completed)), np.isfinite(values)
    for epoch in range(1, values.shape[1]):
        is_known, before = known[:, epoch], completed[:, epoch - 1]
        gap = best - float(before[is_known].mean())
        change = float((completed[is_known, epoch] - before[is_known]).mean())
        left = best - before[~is_known]
        changes = np.full(len(left), change)
        if change > 0:  # so that the gap is one
            changes *= np.minimum(left / gap, 1.0)
        completed[~is_known, epoch] = before[~is_known] + changes
    return sign * completed
