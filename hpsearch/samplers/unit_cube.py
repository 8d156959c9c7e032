"""The search space as a unit cube: a coordinate in [0, 1] per parameter."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from hpsearch.space import Parameter, PowersOfTwo, SearchSpace
from hpsearch.spec import Scalar

Array = NDArray[np.float64]
Integers = NDArray[np.intp]


class Cube:
    """Maps configurations to points and back.

    Points are rows of (num_parameters,) in the order of the space. A discrete value is the centre
    of its cell; an inactive parameter is NaN.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.parameters = space.parameters
        self.num_cells = np.array([_num_cells(p.distribution) for p in space.parameters], float)
        self.is_categorical = np.array(
            [isinstance(p.distribution, CategoricalDistribution) for p in space.parameters], bool
        )
        self.feature_groups: Integers = np.repeat(
            np.arange(self.size), np.where(self.is_categorical, self.num_cells, 1).astype(int)
        )
        columns = {parameter.name: i for i, parameter in enumerate(space.parameters)}
        self._conditions = [_columns(p, columns, space.parameters) for p in space.parameters]

    @property
    def size(self) -> int:
        """Number of parameters."""
        return len(self.parameters)

    def params(self, point: Array) -> dict[str, Scalar]:
        """Return the configuration of a point, active parameters only."""
        params: dict[str, Scalar] = {}
        for parameter, coordinate in zip(self.parameters, point, strict=True):
            if parameter.is_active(params):
                params[parameter.name] = value_at(parameter.distribution, float(coordinate))
        return params

    def point(self, params: Mapping[str, Scalar]) -> Array:
        """Return the point of a configuration; NaN for inactive parameters."""
        return np.array(
            [
                coordinate_of(parameter.distribution, params[parameter.name])
                if parameter.name in params
                else math.nan
                for parameter in self.parameters
            ]
        )

    def points(self, configurations: Sequence[Mapping[str, Scalar]]) -> Array:
        """Return the points of configurations, (num_configurations, num_parameters)."""
        found = [self.point(params) for params in configurations]
        return np.array(found).reshape(len(found), self.size)

    def snap(self, points: Array) -> Array:
        """Move points to the centres of their cells; NaN for inactive parameters.

        All of (num_points, num_parameters).
        """
        with np.errstate(invalid="ignore"):
            cells = np.minimum(np.floor(points * self.num_cells), self.num_cells - 1)
            snapped = np.where(np.isinf(self.num_cells), points, (cells + 0.5) / self.num_cells)
        for column, conditions in enumerate(self._conditions):
            for parent, coordinate in conditions:
                snapped[~_is_at(snapped[:, parent], coordinate), column] = math.nan
        return snapped

    def features(self, points: Array) -> Array:
        """Return snapped points as features of a model, (num_points, num_features).

        Choices are one-hot, scaled so that any two are at distance 1; inactive parameters are
        constant. `feature_groups` maps columns to parameters.
        """
        columns: list[Array] = [np.empty((len(points), 0))]
        for i, coordinates in enumerate(points.T):
            if self.is_categorical[i]:
                choices = (np.arange(self.num_cells[i]) + 0.5) / self.num_cells[i]
                one_hot: Array = _is_at(coordinates[:, None], choices).astype(float)
                columns.append(one_hot * math.sqrt(0.5))
            else:
                columns.append(np.where(np.isnan(coordinates), 0.5, coordinates)[:, None])
        return np.hstack(columns)


def _is_at(coordinates: Array, centres: Array | float) -> NDArray[np.bool_]:
    """Whether coordinates are those of the centres of cells, but for rounding; NaN is at none."""
    found: NDArray[np.bool_] = np.abs(coordinates - centres) < 1e-9
    return found


def value_at(distribution: BaseDistribution, coordinate: float) -> Scalar:
    """Return the value at a coordinate in [0, 1]."""
    if isinstance(distribution, CategoricalDistribution):
        choice: Scalar = distribution.choices[_cell(coordinate, len(distribution.choices))]
        return choice
    if isinstance(distribution, PowersOfTwo):
        least, _ = distribution.exponents
        return 1 << (least + _cell(coordinate, int(_num_cells(distribution))))
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    if distribution.log:
        low, high = _log_ends(distribution)
        value = math.exp(low + coordinate * (high - low))
        value = min(max(value, distribution.low), distribution.high)
        return round(value) if isinstance(distribution, IntDistribution) else value
    if distribution.step is None:
        return distribution.low + coordinate * (distribution.high - distribution.low)
    cell = _cell(coordinate, int(_num_cells(distribution)))
    if isinstance(distribution, IntDistribution):
        return distribution.low + cell * distribution.step
    return float(Decimal(str(distribution.low)) + cell * Decimal(str(distribution.step)))


def coordinate_of(distribution: BaseDistribution, value: Scalar) -> float:
    """Return the coordinate of a value."""
    if isinstance(distribution, CategoricalDistribution):
        choices = distribution.choices
        index = next(  # by type too: 1, 1.0 and True are different choices
            i
            for i, choice in enumerate(choices)
            if choice == value and type(choice) is type(value)
        )
        return (index + 0.5) / len(choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    assert isinstance(value, int | float)
    if distribution.single():
        return 0.5
    if isinstance(distribution, PowersOfTwo):
        cell = distribution.nearest(value).bit_length() - 1 - distribution.exponents[0]
        return (cell + 0.5) / _num_cells(distribution)
    if distribution.log:
        low, high = _log_ends(distribution)
        return (math.log(value) - low) / (high - low)
    if distribution.step is None:
        return (value - distribution.low) / (distribution.high - distribution.low)
    cell = round((value - distribution.low) / distribution.step)
    return (cell + 0.5) / _num_cells(distribution)


def _num_cells(distribution: BaseDistribution) -> float:
    """Cells of equal width that a distribution has; infinitely many for a continuous one.

    Logarithmic integers count as continuous: their cells differ in width.
    """
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    if isinstance(distribution, PowersOfTwo):
        least, greatest = distribution.exponents
        return greatest - least + 1
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    if distribution.log or distribution.step is None:
        return math.inf
    return round((distribution.high - distribution.low) / distribution.step) + 1


def _log_ends(distribution: FloatDistribution | IntDistribution) -> tuple[float, float]:
    half = 0.5 if isinstance(distribution, IntDistribution) else 0.0
    return math.log(distribution.low - half), math.log(distribution.high + half)


def _cell(coordinate: float, num_cells: int) -> int:
    return min(int(coordinate * num_cells), num_cells - 1)


def _columns(
    parameter: Parameter, columns: Mapping[str, int], parameters: Sequence[Parameter]
) -> list[tuple[int, float]]:
    """A parameter's conditions as pairs of a column and the coordinate that it must have."""
    return [
        (columns[name], coordinate_of(parameters[columns[name]].distribution, value))
        for name, value in parameter.condition
    ]
