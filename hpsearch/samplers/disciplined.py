"""The disciplined plan: learning rate, then momentum, then weight decay, each where the last left.

Smith, A disciplined approach to neural network hyper-parameters (arXiv 1803.09820), sections 4 and
5: the rate from a range test, momentum and weight decay in short runs, compared early.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from hpsearch.errors import Problem, SpecError
from hpsearch.registry import register
from hpsearch.samplers.base import ONE_OBJECTIVE, Direction, NotYetError, Observation
from hpsearch.samplers.unit_cube import value_at
from hpsearch.space import Parameter, SearchSpace
from hpsearch.spec import Scalar, sign_of

SAMPLER = "disciplined"
#: phases, in their order, by how the names of their hyperparameters end
PHASES = ("lr", "momentum", "weight_decay")
#: of the greatest rate of the range, where the loss of a range test has turned up: the rates tried
LR_FACTORS = (1.0, 1 / 3, 1 / 10)
#: numbers of a range that isn't on a logarithmic scale; of another, its powers of ten
NUM_VALUES = 4
#: of the best weight decay: what is tried last, half a decade to both sides
BISECTION = (10**-0.5, 10**0.5)

Params = dict[str, Scalar]
#: a distribution and its best value so far → the values to try
Values = Callable[[BaseDistribution, Scalar], list[Scalar]]


@dataclass(frozen=True)
class Trying:
    """A value of a phase; `score` is the objective when it was compared, None: it has none."""

    value: Scalar
    params: Params
    score: float | None = None


@dataclass(frozen=True)
class Phase:
    """The values of one hyperparameter, beside what earlier phases chose; `chosen` is the best."""

    name: str
    tried: tuple[Trying, ...]
    chosen: Trying


@register("sampler", SAMPLER, traits={ONE_OBJECTIVE: True, "is_exhaustive": True})
class DisciplinedSampler:
    """Learning rate, momentum, weight decay, one after the other, compared early (Smith, 2018).

    The space may have these three only. Of the rate the greatest of its range, a third and a
    tenth of it are tried; of the others each choice, each power of ten of a logarithmic range, or
    four values of another; last, weight decays half a decade from the best. Trials of a phase run
    at the same time, and are compared at the first rung of early stopping.
    """

    def __init__(self, space: SearchSpace, direction: Direction, rungs: Sequence[int]) -> None:
        parameters = _by_phase(space)
        of_phase = [rates_of if _is_of(each.name, PHASES[0]) else values_of for each in parameters]
        self._steps: list[tuple[Parameter, Values]] = list(zip(parameters, of_phase, strict=True))
        self._steps += [(p, bisection_of) for p in parameters if _has_decades(p)]
        self._sign = sign_of(direction)
        #: the epoch at which trials are compared
        self.compared_at = rungs[0]
        self._start: Params = {each.name: _start(each) for each in space.parameters}

    @property
    def num_trials(self) -> int:
        """The trials of all phases, at most."""
        total = 0
        for place, (parameter, values_to_try) in enumerate(self._steps):
            if values_to_try is bisection_of:
                total += len(BISECTION)
                continue
            values = values_to_try(parameter.distribution, None)
            is_known = place > 0 and self._start[parameter.name] in values
            total += len(values) - is_known
        return total

    def suggest(self, number: int, observations: Sequence[Observation]) -> Params | None:
        """See Sampler."""
        planned: list[Params] = []
        for phase in self._phases(number, observations, planned):
            if number < len(planned):
                return planned[number]
            if phase is None:
                raise NotYetError
        return None

    def phases(self, number: int, observations: Sequence[Observation]) -> list[Phase]:
        """Return the phases that are over, with their choices, once trial `number` is next."""
        found = self._phases(number, observations, [])
        return [phase for phase in found if phase is not None]

    def plan(self, number: int, observations: Sequence[Observation]) -> list[Params]:
        """Return the configurations of all trials that are decided, in their order."""
        planned: list[Params] = []
        for _ in self._phases(number, observations, planned):
            pass
        return planned

    def _phases(
        self, number: int, observations: Sequence[Observation], planned: list[Params]
    ) -> Iterator[Phase | None]:
        """Yield each phase once its trials are planned: None, and no more, before it is over."""
        best = Trying(0.0, self._start)
        for parameter, values_of in self._steps:
            name = parameter.name
            values = values_of(parameter.distribution, best.params[name])
            if not values:
                continue
            wanted = [{**best.params, name: value} for value in values]
            planned += [each for each in wanted if each not in planned]
            if best.params in planned and best.params not in wanted:
                wanted.append(best.params)
            tried = [self._tried(each, name, observations) for each in wanted]
            if len(planned) > number or None in tried:
                yield None
                return
            found = tuple(each for each in tried if each is not None)
            best = self._best(found, best)
            yield Phase(name, found, best)

    def _tried(
        self, params: Params, name: str, observations: Sequence[Observation]
    ) -> Trying | None:
        """Return a configuration with its score; None if it isn't known yet."""
        trial = next((each for each in observations if each.params == params), None)
        if trial is None or trial.state == "bad" and self.compared_at not in trial.curve:
            return Trying(params[name], params)  # it has failed, or diverged
        if self.compared_at in trial.curve:
            return Trying(params[name], params, trial.curve[self.compared_at])
        if trial.state == "running":
            return None
        last = trial.curve[max(trial.curve)] if trial.curve else None  # it has ended itself
        return Trying(params[name], params, last)

    def _best(self, tried: Sequence[Trying], before: Trying) -> Trying:
        rated = [(self._sign * each.score, each) for each in tried if each.score is not None]
        return max(rated, key=lambda pair: pair[0])[1] if rated else before


def _by_phase(space: SearchSpace) -> list[Parameter]:
    """Return the hyperparameters in the order of their phases; SpecError for others."""
    problems = []
    found: dict[str, Parameter] = {}
    for parameter in space.parameters:
        phase = next((each for each in PHASES if _is_of(parameter.name, each)), None)
        if phase is None or parameter.condition:
            rule = (
                f"must be constant with the {SAMPLER} plan, which searches a learning rate, a "
                "momentum and a weight decay"
            )
            problems.append(Problem(parameter.name, rule))
        elif phase in found:
            rule = f"must be the only {phase} that is searched with the {SAMPLER} plan"
            problems.append(Problem(parameter.name, rule))
        else:
            found[phase] = parameter
    if problems:
        raise SpecError(problems)
    return [found[phase] for phase in PHASES if phase in found]


def _is_of(name: str, phase: str) -> bool:
    """`lr_schedule.max_momentum` is a momentum; `lr_schedule.lr_factor` no learning rate."""
    last = name.rpartition(".")[2]
    return last == phase or (phase == "momentum" and last in ("max_momentum", "beta1"))


def _start(parameter: Parameter) -> Scalar:
    """Return what a hyperparameter has before its phase: its prior, else the middle value."""
    if parameter.prior is not None:
        return parameter.prior.value
    values = values_of(parameter.distribution)
    return values[(len(values) - 1) // 2]


def rates_of(distribution: BaseDistribution, best: Scalar | None = None) -> list[Scalar]:
    """Return the rates to try: the greatest of a range, a third and a tenth of it.

    >>> rates_of(FloatDistribution(0.1, 0.6, log=True))
    [0.6, 0.2, 0.1]
    """
    if not isinstance(distribution, FloatDistribution) or distribution.step is not None:
        return values_of(distribution)
    rates = [max(_rounded(distribution.high * each), distribution.low) for each in LR_FACTORS]
    return list(dict.fromkeys(rates))


def values_of(distribution: BaseDistribution, best: Scalar | None = None) -> list[Scalar]:
    """Return the values to try, ascending.

    >>> values_of(FloatDistribution(1e-4, 0.02, log=True))
    [0.0001, 0.001, 0.01]
    >>> values_of(FloatDistribution(0.0, 0.9))
    [0.0, 0.3, 0.6, 0.9]
    """
    if isinstance(distribution, CategoricalDistribution):
        choices = list(distribution.choices)
        return sorted(choices, key=lambda each: each if isinstance(each, int | float) else 0.0)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    if distribution.log and isinstance(distribution, FloatDistribution):
        first, last = math.ceil(_log(distribution.low)), math.floor(_log(distribution.high))
        if last > first:
            return [float(f"1e{power}") for power in range(first, last + 1)]
    coordinates = [i / (NUM_VALUES - 1) for i in range(NUM_VALUES)]
    values = [value_at(distribution, each) for each in coordinates]
    return list(dict.fromkeys(_rounded(v) if isinstance(v, float) else v for v in values))


def bisection_of(distribution: BaseDistribution, best: Scalar) -> list[Scalar]:
    """Return the values half a decade from the best, within a range on a logarithmic scale.

    >>> bisection_of(FloatDistribution(1e-6, 1e-3, log=True), 1e-3)
    [0.000316]
    """
    assert isinstance(distribution, FloatDistribution) and isinstance(best, int | float)
    values = [float(f"{best * factor:.3g}") for factor in BISECTION]
    return [each for each in values if distribution.low <= each <= distribution.high]


def _has_decades(parameter: Parameter) -> bool:
    distribution = parameter.distribution
    is_log = isinstance(distribution, FloatDistribution) and distribution.log
    return is_log and _is_of(parameter.name, PHASES[-1])


def _log(value: float) -> float:
    return round(math.log10(value), 9)


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
