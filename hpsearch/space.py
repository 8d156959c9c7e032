"""The search space of a spec: its trees of ranges and choices as Optuna distributions.

Every range and every choice is one `Parameter`, named by its dotted path. What stands inside a
choice carries that choice's label in its name and exists only where it was chosen, so the same
keyword may have another range in another branch: `optimizer.sgd.lr`, `optimizer.adamw.lr`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from hpsearch.spec import Choices, Range, Scalar, SearchSpec, Tree, join
from hpsearch.spec.powers import is_power_of_two
from hpsearch.spec.priors import Confidence, fitting_number


class PowersOfTwo(IntDistribution):
    """The powers of two from `low` to `high`, which are such.

    Optuna knows its own distributions only: in the record it is `whole`.
    """

    def __init__(self, low: int, high: int) -> None:
        super().__init__(low, high, log=True)

    @property
    def exponents(self) -> tuple[int, int]:
        """The least and the greatest exponent."""
        return self.low.bit_length() - 1, self.high.bit_length() - 1

    @property
    def whole(self) -> IntDistribution:
        """All integers from `low` to `high`, on the same scale."""
        return IntDistribution(self.low, self.high, log=True)

    def nearest(self, value: float) -> int:
        """Return the power of two that is nearest on a logarithmic scale, within the ends."""
        low, high = self.exponents
        return 1 << min(max(round(math.log2(max(value, 1))), low), high)

    def _contains(self, param_value_in_internal_repr: float) -> bool:
        inside = super()._contains(param_value_in_internal_repr)
        return inside and is_power_of_two(int(param_value_in_internal_repr))


@dataclass(frozen=True)
class Prior:
    """The value of a parameter that a user expects to be good, and how surely."""

    value: Scalar
    confidence: Confidence


@dataclass(frozen=True)
class Parameter:
    """One dimension of a search space.

    `condition` holds the choices under which it exists, outermost first: pairs of the name of
    another parameter and the value that it must have.
    """

    name: str
    distribution: BaseDistribution
    condition: tuple[tuple[str, Scalar], ...] = ()
    prior: Prior | None = None

    def is_active(self, params: Mapping[str, Scalar]) -> bool:
        """Whether this parameter exists, given the values of those before it."""
        return all(
            name in params and params[name] == value and type(params[name]) is type(value)
            for name, value in self.condition
        )


@dataclass(frozen=True)
class SearchSpace:
    """The parameters of a search, each after those it depends on, and the trees they came from."""

    parameters: tuple[Parameter, ...]
    sections: Mapping[str, Tree]

    @classmethod
    def of(cls, spec: SearchSpec) -> SearchSpace:
        """Return the search space of a spec."""
        return cls.from_sections(spec.trial_sections)

    @classmethod
    def from_sections(cls, sections: Mapping[str, Tree]) -> SearchSpace:
        """Return the search space of trees by section; the section `space` adds no prefix."""
        parameters: list[Parameter] = []
        for section, tree in sections.items():
            parameters += _walk(tree, "" if section == "space" else section, ())
        return cls(tuple(parameters), dict(sections))

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """The distribution of every parameter, by name."""
        return {parameter.name: parameter.distribution for parameter in self.parameters}

    def active(self, params: Mapping[str, Scalar]) -> list[Parameter]:
        """Return the parameters that exist in a configuration."""
        return [parameter for parameter in self.parameters if parameter.is_active(params)]

    def contains(self, params: Mapping[str, Scalar]) -> bool:
        """Whether all values of a configuration lie in their ranges and choices."""
        known = self.distributions
        return all(n in known and is_within(known[n], value) for n, value in params.items())

    def clipped(self, params: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """Return a configuration with each number moved into its range."""
        return {name: _clipped(self.distributions[name], value) for name, value in params.items()}

    def resolve(self, params: Mapping[str, Scalar]) -> dict[str, Any]:
        """Return the sections with every range and choice replaced by its value in `params`."""
        return {
            section: _resolve(tree, "" if section == "space" else section, params)
            for section, tree in self.sections.items()
        }


def is_within(distribution: BaseDistribution, value: Scalar) -> bool:
    """Whether a value is one of a distribution's."""
    if isinstance(distribution, CategoricalDistribution):
        return any(value == c and type(value) is type(c) for c in distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return distribution._contains(value)


def _clipped(distribution: BaseDistribution, value: Scalar) -> Scalar:
    if isinstance(distribution, CategoricalDistribution) or is_within(distribution, value):
        return value
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    assert isinstance(value, int | float)
    if isinstance(distribution, PowersOfTwo):
        return distribution.nearest(value)
    return min(max(value, distribution.low), distribution.high)


def _walk(tree: Tree, path: str, condition: tuple[tuple[str, Scalar], ...]) -> Iterator[Parameter]:
    if isinstance(tree, Range):
        yield Parameter(path, _distribution(tree), condition, _prior_of_range(tree))
    elif isinstance(tree, Choices):
        labels, index = tree.labels, tree.prior_index
        prior = None if index is None else Prior(labels[index], tree.confidence)
        yield Parameter(path, CategoricalDistribution(labels), condition, prior)
        for label, choice in zip(labels, tree.choices, strict=True):
            yield from _walk(choice, join(path, label), (*condition, (path, label)))
    elif isinstance(tree, Mapping):
        for key, child in tree.items():
            yield from _walk(child, join(path, key), condition)
    elif isinstance(tree, list | tuple):
        for i, child in enumerate(tree):
            yield from _walk(child, join(path, i), condition)


def _prior_of_range(values: Range) -> Prior | None:
    if values.prior is None:
        return None
    low, high, step = values.low, values.high, values.step
    is_integer = _has_integers(values)
    value = fitting_number(values.prior, low, high, step, is_integer, values.powers_of_two)
    return Prior(value, values.confidence)


def _has_integers(values: Range) -> bool:
    return values.is_integer and isinstance(values.step, int | None)


def _distribution(values: Range) -> BaseDistribution:
    if values.powers_of_two:
        return PowersOfTwo(int(values.low), int(values.high))
    if _has_integers(values):
        step = 1 if values.step is None else int(values.step)
        return IntDistribution(int(values.low), int(values.high), log=values.log, step=step)
    return FloatDistribution(
        float(values.low), float(values.high), log=values.log, step=values.step
    )


def _resolve(tree: Tree, path: str, params: Mapping[str, Scalar]) -> Any:
    if isinstance(tree, Range):
        return params[path]
    if isinstance(tree, Choices):
        label = params[path]
        index = next(
            i
            for i, known in enumerate(tree.labels)
            if known == label and type(known) is type(label)
        )
        return _resolve(tree.choices[index], join(path, label), params)
    if isinstance(tree, Mapping):
        return {key: _resolve(child, join(path, key), params) for key, child in tree.items()}
    if isinstance(tree, list | tuple):
        return [_resolve(child, join(path, i), params) for i, child in enumerate(tree)]
    return tree
