"""How the objective depends on hyperparameters, by a model of what all trials reach in full.

`samplers.finals` has the model: trials that were stopped early count by their forecast.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np

from hpsearch.analysis.stopping import rungs
from hpsearch.record import Record
from hpsearch.record.observations import Observations
from hpsearch.samplers.finals import FinalsModel, fit_finals
from hpsearch.samplers.unit_cube import Array, value_at
from hpsearch.space import Parameter
from hpsearch.spec import Scalar

#: places at which a dependence is read, and trials over which it is averaged
MAX_PLACES = 21
NUM_BACKGROUND = 20
#: the same of two hyperparameters, a side of the grid
SIDE = 6
NUM_PAIR_BACKGROUND = 12
#: hyperparameters, the most important ones, whose pairs are looked at
MAX_PAIRED = 6
#: an interaction is told from the model's uncertainty if it is so many times as large
TELLS = 2.0
#: weaker ones come of how the model smooths
MIN_STRENGTH = 0.15
#: normal quantile of intervals of 90 %
QUANTILE = 1.645


@dataclass(frozen=True)
class Dependence:
    """The expected objective by one hyperparameter, with intervals of 90 % of the mean.

    Partial dependence (Friedman, "Greedy function approximation", 2001, section 8.2): the others
    are as trials had them. All arrays are (num_places,).
    """

    parameter: Parameter
    coordinates: Array  # in the unit cube
    mean: Array
    low: Array
    high: Array

    @property
    def values(self) -> list[Scalar]:
        """The hyperparameter's values at these places."""
        return [value_at(self.parameter.distribution, float(each)) for each in self.coordinates]

    @property
    def spread(self) -> float:
        """The difference of the highest and the lowest expected objective."""
        return float(np.ptp(self.mean))


@dataclass(frozen=True)
class Interaction:
    """The part of a joint effect of two hyperparameters that isn't the sum of theirs.

    `strength` is Friedman's H (Friedman & Popescu, "Predictive learning via rule ensembles", 2008,
    eq. 44, its root): 0 for a sum, 1 where neither has an effect by itself. `mean` is the expected
    objective on the grid of both, (SIDE or the number of choices of each).
    """

    parameters: tuple[Parameter, Parameter]
    coordinates: tuple[Array, Array]
    mean: Array
    strength: float

    @property
    def largest(self) -> float:
        """The largest distance of the joint effect from the sum of the effects."""
        return float(np.abs(_not_additive(self.mean)).max())


class Response:
    """What the model of a search's trials says; it is fitted when it is first asked.

    Nothing while too few trials were trained in full, nor of a population, whose members inherit
    weights. With several objectives it is of the first.
    """

    def __init__(self, record: Record) -> None:
        self._record = record
        self._sign = 1.0 if record.spec.objective.direction == "maximize" else -1.0
        self._columns = {p.name: i for i, p in enumerate(record.space.parameters)}
        self._dependences: dict[str, Dependence | None] = {}
        self._interactions: dict[tuple[str, ...], list[Interaction]] = {}

    def dependence(self, name: str) -> Dependence | None:
        """Return how the objective depends on a hyperparameter; None for one of one value, or that
        no trial has."""
        if name not in self._dependences:
            self._dependences[name] = self._dependence(name)
        return self._dependences[name]

    def interactions(self, names: Sequence[str]) -> list[Interaction]:
        """Return those of pairs of the first names that the model can tell, the largest first."""
        first = tuple(names[:MAX_PAIRED])
        if first not in self._interactions:
            found = [self._interaction(a, b) for a, b in combinations(first, 2)]
            told = [each for each in found if each is not None]
            self._interactions[first] = sorted(told, key=lambda each: -each.largest)
        return self._interactions[first]

    @cached_property
    def _model(self) -> FinalsModel | None:
        record = self._record
        if record.spec.search.is_population:  # its members inherit what they have reached
            return None
        epochs = {*(rung.epoch for rung in rungs(record)), record.spec.max_epochs}
        direction = record.spec.objective.direction
        observations = Observations(record).read()
        rng = np.random.default_rng(0)
        return fit_finals(observations, record.space, sorted(epochs), direction, rng)

    def _dependence(self, name: str) -> Dependence | None:
        model = self._model
        if model is None:
            return None
        column = self._columns[name]
        places = _places(model.cube.num_cells[column], MAX_PLACES)
        if len(places) < 2:
            return None
        points = _background(model, NUM_BACKGROUND, {column: places})
        if points is None:
            return None
        expected, covariance = _averages(model, points)
        mean = self._in_units(model, expected)
        half = QUANTILE * model.scale * np.sqrt(np.maximum(np.diag(covariance), 0.0))
        parameter = model.cube.parameters[column]
        return Dependence(parameter, places, mean, mean - half, mean + half)

    def _interaction(self, *names: str) -> Interaction | None:
        model = self._model
        if model is None:
            return None
        cube = model.cube
        columns = [self._columns[name] for name in names]
        sides = [_places(cube.num_cells[column], SIDE) for column in columns]
        grid = [each.ravel() for each in np.meshgrid(*sides, indexing="ij")]
        if len(grid[0]) < 4:
            return None
        points = _background(model, NUM_PAIR_BACKGROUND, dict(zip(columns, grid, strict=True)))
        if points is None:
            return None
        expected, covariance = _averages(model, points)
        shape = (len(sides[0]), len(sides[1]))
        own = _not_additive(expected.reshape(shape))
        if np.sqrt((own**2).mean()) < TELLS * _uncertainty(covariance, shape):
            return None
        strength = math.sqrt((own**2).sum() / ((expected - expected.mean()) ** 2).sum())
        if strength < MIN_STRENGTH:
            return None
        mean = self._in_units(model, expected).reshape(shape)
        first, second = (cube.parameters[column] for column in columns)
        return Interaction((first, second), (sides[0], sides[1]), mean, strength)

    def _in_units(self, model: FinalsModel, expected: Array) -> Array:
        """Return the objective for what the process expects."""
        return self._sign * (model.offset + model.scale * expected)


def _averages(model: FinalsModel, points: Array) -> tuple[Array, Array]:
    """Return mean and covariance of averages over points, in units of the process."""
    flat = model.cube.features(points.reshape(-1, model.cube.size))
    return model.process.averages(flat.reshape(*points.shape[:2], -1))


def _background(model: FinalsModel, number: int, places: dict[int, Array]) -> Array | None:
    """Return points of trials with these coordinates set, (num_places, num_points, size).

    None where no trial has them all active. What a trial lacks and then has is drawn.
    """
    rng = np.random.default_rng(0)
    points = model.points[np.linspace(0, len(model.points) - 1, 4 * number).astype(int)]
    points = np.where(np.isnan(points), rng.random(points.shape), points)
    num_places = len(next(iter(places.values())))
    every = np.repeat(points[None], num_places, axis=0)
    for column, coordinates in places.items():
        every[:, :, column] = coordinates[:, None]
    snapped = model.cube.snap(every.reshape(-1, model.cube.size)).reshape(every.shape)
    is_active = ~np.isnan(snapped[:, :, list(places)]).any(axis=(0, 2))
    chosen = np.flatnonzero(is_active)
    if not len(chosen):
        return None
    return snapped[:, chosen[np.linspace(0, len(chosen) - 1, number).astype(int)]]


def _places(num_cells: float, at_most: int) -> Array:
    """Return coordinates over a parameter's range: its cells, or evenly spread ones."""
    if num_cells <= at_most:
        return (np.arange(num_cells) + 0.5) / num_cells
    return np.linspace(0.0, 1.0, at_most)


def _not_additive(grid: Array) -> Array:
    """Return what of a grid isn't the sum of the effects of its rows and columns."""
    rest: Array = grid - grid.mean(axis=0) - grid.mean(axis=1, keepdims=True) + grid.mean()
    return rest


def _uncertainty(covariance: Array, shape: tuple[int, int]) -> float:
    """Return the standard deviation of what isn't additive, over the grid."""
    sizes = np.eye(shape[0]) - 1 / shape[0], np.eye(shape[1]) - 1 / shape[1]
    centering = np.kron(*sizes)
    variance = np.einsum("ij,jk,ik->i", centering, covariance, centering)
    return math.sqrt(max(float(variance.mean()), 0.0))
