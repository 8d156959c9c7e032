"""Grid search: every configuration of a discrete search space, once, in order."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from hpsearch.errors import Problem, SpecError
from hpsearch.registry import register
from hpsearch.samplers.base import Observation
from hpsearch.samplers.unit_cube import value_at
from hpsearch.space import Parameter, PowersOfTwo, SearchSpace
from hpsearch.spec import Scalar
from hpsearch.spec.powers import powers_of_two

Condition = tuple[tuple[str, Scalar], ...]


@register("sampler", "grid", traits={"is_exhaustive": True})
class GridSampler:
    """Every configuration once; needs choices, integers and ranges with a step.

    Trial n is cell n of the grid, in which the last parameter changes fastest, counted from the
    cell of the priors, if there are any. Cells are counted in the tree of conditions: no
    configuration is repeated, and no list of them is kept.
    """

    def __init__(self, space: SearchSpace) -> None:
        problems = [
            Problem(
                parameter.name,
                "must be choices, integers or a range with a step for the sampler grid",
                {"low": distribution.low, "high": distribution.high},
            )
            for parameter in space.parameters
            if isinstance(distribution := parameter.distribution, FloatDistribution)
            and distribution.step is None
            and not distribution.single()
        ]
        if problems:
            raise SpecError(problems)
        self._children: dict[Condition, list[Parameter]] = {}
        for parameter in space.parameters:
            self._children.setdefault(parameter.condition, []).append(parameter)
        self._sizes = {}
        for parameter in reversed(space.parameters):  # children before what they depend on
            self._sizes[parameter.name] = sum(self._branch_sizes(parameter))
        self._first = self._index((), {p.name: p.prior.value for p in space.parameters if p.prior})

    @property
    def num_cells(self) -> int:
        """Number of configurations."""
        return self._size(())

    def suggest(
        self, number: int, observations: Sequence[Observation]
    ) -> dict[str, Scalar] | None:
        """See Sampler."""
        num_cells = self.num_cells
        return self._cell((), (self._first + number) % num_cells) if number < num_cells else None

    def _size(self, condition: Condition) -> int:
        """Configurations of the parameters that exist under a condition."""
        return math.prod(self._sizes[p.name] for p in self._children.get(condition, ()))

    def _branch_sizes(self, parameter: Parameter) -> list[int]:
        return [self._size(_under(parameter, value)) for value in _values(parameter)]

    def _index(self, condition: Condition, wanted: Mapping[str, Scalar]) -> int:
        """Return the first cell with the wanted values; `_cell` the other way round."""
        index = 0
        for parameter in self._children.get(condition, ()):
            values, sizes = _values(parameter), self._branch_sizes(parameter)
            i = _place(wanted[parameter.name], values) if parameter.name in wanted else 0
            below = self._index(_under(parameter, values[i]), wanted)
            index = index * sum(sizes) + sum(sizes[:i]) + below
        return index

    def _cell(self, condition: Condition, index: int) -> dict[str, Scalar]:
        params: dict[str, Scalar] = {}
        for parameter in reversed(self._children.get(condition, ())):
            index, rest = divmod(index, self._sizes[parameter.name])
            for value, size in zip(_values(parameter), self._branch_sizes(parameter), strict=True):
                if rest < size:
                    params |= {parameter.name: value} | self._cell(_under(parameter, value), rest)
                    break
                rest -= size
        return params


def _under(parameter: Parameter, value: Scalar) -> Condition:
    return (*parameter.condition, (parameter.name, value))


def _place(value: Scalar, values: Sequence[Scalar]) -> int:
    return next(i for i, v in enumerate(values) if v == value and type(v) is type(value))


def _values(parameter: Parameter) -> list[Scalar]:
    distribution = parameter.distribution
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    if isinstance(distribution, PowersOfTwo):
        return list(powers_of_two(distribution.low, distribution.high))
    if isinstance(distribution, IntDistribution):
        return list(range(distribution.low, distribution.high + 1, distribution.step))
    assert isinstance(distribution, FloatDistribution)
    if distribution.single():
        return [distribution.low]
    assert distribution.step is not None
    num_values = round((distribution.high - distribution.low) / distribution.step) + 1
    return [value_at(distribution, (i + 0.5) / num_values) for i in range(num_values)]
