"""Optuna's samplers over the view: TPE, a Gaussian process, NSGA-II.

Each suggestion comes from a new in-memory study that holds the view, and a new sampler, seeded
by the trial's number. Scores are maximised.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpsearch.process import quiet
from hpsearch.registry import register
from hpsearch.samplers.base import Direction, Observation, generator, integer_seed
from hpsearch.samplers.fidelity import View, make_view, rank
from hpsearch.samplers.space_filling import RandomSampler
from hpsearch.samplers.unit_cube import value_at
from hpsearch.space import Parameter, PowersOfTwo, SearchSpace
from hpsearch.spec import Scalar

#: scored trials that a model is fitted on at most
MAX_POINTS = 200


@register("sampler", "tpe")
class ViewTPESampler:
    """The tree-structured Parzen estimator over the view (Optuna's TPESampler).

    Parameters are independent unless `multivariate`, which collapses to copies of the best.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int,
        direction: Direction,
        rungs: Sequence[int],
        n_startup_trials: int = 10,
        n_ei_candidates: int = 24,
        multivariate: bool = False,
    ) -> None:
        self._space = space
        self._seed = seed
        self._direction = direction
        self._rungs = rungs
        self._n_startup_trials = n_startup_trials
        self._n_ei_candidates = n_ei_candidates
        self._multivariate = multivariate

    def suggest(self, number: int, observations: Sequence[Observation]) -> dict[str, Scalar]:
        """See Sampler."""
        view = make_view(observations, self._rungs, self._direction)
        if view.is_empty:
            return RandomSampler(self._space, self._seed).suggest(number, observations)
        sampler = TPESampler(
            n_startup_trials=self._n_startup_trials,
            n_ei_candidates=self._n_ei_candidates,
            multivariate=self._multivariate,
            seed=integer_seed(self._seed, number),
        )
        trials = _view_trials(view.limited(MAX_POINTS), self._space.parameters)
        return _ask(sampler, trials, self._space.parameters)


@register("sampler", "gp")
class ViewGPSampler:
    """Optuna's Gaussian process (GPSampler) over the view; 0.1 s or more per suggestion."""

    def __init__(
        self,
        space: SearchSpace,
        seed: int,
        direction: Direction,
        rungs: Sequence[int],
        n_startup_trials: int = 10,
    ) -> None:
        self._space = space
        self._flat = _flat_parameters(space)
        self._seed = seed
        self._direction = direction
        self._rungs = rungs
        self._n_startup_trials = n_startup_trials

    def suggest(self, number: int, observations: Sequence[Observation]) -> dict[str, Scalar]:
        """See Sampler."""
        view = make_view(observations, self._rungs, self._direction)
        if view.is_empty:
            return RandomSampler(self._space, self._seed).suggest(number, observations)
        sampler = GPSampler(
            n_startup_trials=self._n_startup_trials,
            seed=integer_seed(self._seed, number),
            warn_independent_sampling=False,
        )
        trials = _view_trials(view.limited(MAX_POINTS), self._flat)
        return _active(_ask(sampler, trials, self._flat), self._space)


@register("sampler", "nsga2")
class SteadyNSGAIISampler:
    """Evolution by NSGA-II's crossover and mutation (Optuna's NSGAIISampler).

    The parents are the best of all ended trials, ranked as in successive halving: for one
    objective that is NSGA-II's elitist selection (Deb et al., 2002, §III-C). It is steady-state,
    so that no worker waits for a generation to end.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int,
        direction: Direction,
        rungs: Sequence[int],
        population_size: int = 20,
    ) -> None:
        self._space = space
        self._flat = _flat_parameters(space)
        self._seed = seed
        self._direction = direction
        self._rungs = rungs
        self._population_size = population_size

    def suggest(self, number: int, observations: Sequence[Observation]) -> dict[str, Scalar]:
        """See Sampler."""
        ranked = rank(observations, self._rungs, self._direction)
        if len(ranked) < self._population_size:
            return RandomSampler(self._space, self._seed).suggest(number, observations)
        sampler = NSGAIISampler(
            population_size=self._population_size, seed=integer_seed(self._seed, number)
        )
        parents = [
            create_trial(
                value=-place,
                params=_known(
                    _all_params(parent, self._flat, generator(self._seed, parent.number)),
                    self._flat,
                ),
                distributions={p.name: _known_distribution(p) for p in self._flat},
                system_attrs={NSGAIISampler._get_generation_key(): 0},
            )
            for place, parent in enumerate(ranked[: self._population_size])
        ]
        return _active(_ask(sampler, parents, self._flat), self._space)


def _view_trials(view: View, parameters: Sequence[Parameter]) -> Iterator[FrozenTrial]:
    for scored in view.scored:
        yield _frozen(scored.trial, parameters, scored.score)
    for bad in view.bad:
        yield _frozen(bad, parameters, view.worst)
    for pending in view.pending:
        yield _frozen(pending, parameters, None)


def _frozen(
    trial: Observation, parameters: Sequence[Parameter], score: float | None
) -> FrozenTrial:
    params = {
        p.name: trial.params.get(p.name, value_at(p.distribution, 0.5))
        for p in parameters
        if p.name in trial.params or not p.condition
    }
    return create_trial(
        state=TrialState.RUNNING if score is None else TrialState.COMPLETE,
        value=score,
        params=_known(params, parameters),
        distributions={p.name: _known_distribution(p) for p in parameters if p.name in params},
    )


def _known_distribution(parameter: Parameter) -> BaseDistribution:
    """A parameter's distribution as Optuna knows it: powers of two by their exponents."""
    distribution = parameter.distribution
    if isinstance(distribution, PowersOfTwo):
        return IntDistribution(*distribution.exponents)
    return distribution


def _known(params: Mapping[str, Scalar], parameters: Sequence[Parameter]) -> dict[str, Scalar]:
    """The values of `_known_distribution`."""
    is_power = {p.name: isinstance(p.distribution, PowersOfTwo) for p in parameters}
    return {
        name: value.bit_length() - 1 if is_power[name] and isinstance(value, int) else value
        for name, value in params.items()
    }


def _all_params(
    trial: Observation, parameters: Sequence[Parameter], random: np.random.Generator
) -> dict[str, Scalar]:
    """A trial's parameters, with random values for inactive ones: a genome is complete."""
    drawn = {p.name: value_at(p.distribution, random.random()) for p in parameters}
    return drawn | dict(trial.params)


def _flat_parameters(space: SearchSpace) -> list[Parameter]:
    """The parameters without their conditions: for samplers that model all of them jointly."""
    return [Parameter(p.name, p.distribution) for p in space.parameters]


def _active(params: Mapping[str, Scalar], space: SearchSpace) -> dict[str, Scalar]:
    return {parameter.name: params[parameter.name] for parameter in space.active(params)}


def _ask(
    sampler: BaseSampler, trials: Iterable[FrozenTrial], parameters: Sequence[Parameter]
) -> dict[str, Scalar]:
    with quiet("optuna.storages._in_memory"):  # it announces each new study
        study = optuna.create_study(direction="maximize", sampler=sampler)
    study.add_trials(trials)
    trial = study.ask()
    params: dict[str, Scalar] = {}
    for parameter in parameters:
        if parameter.is_active(params):
            value = trial._suggest(parameter.name, _known_distribution(parameter))
            is_power = isinstance(parameter.distribution, PowersOfTwo)
            params[parameter.name] = 2**value if is_power else value
    return params
