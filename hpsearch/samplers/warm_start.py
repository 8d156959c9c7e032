"""Warm starts: what a search transfers from earlier ones with compatible search spaces.

Two things: first points, a portfolio of configurations that did well (`first_points`, chosen
when the search is created), and results, where the same trial would have the same result here
(`warm_started`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hpsearch.errors import Problem, SpecError
from hpsearch.samplers.base import Observation, Sampler
from hpsearch.samplers.first_points import FirstPoints
from hpsearch.samplers.portfolio import History, portfolio
from hpsearch.samplers.translation import Translator
from hpsearch.space import SearchSpace
from hpsearch.spec import Choices, Scalar, SearchSpec, Tree

#: points that are taken from earlier searches at most
NUM_POINTS = 10


@dataclass(frozen=True)
class Earlier:
    """An earlier search: its trials, and the epochs at which they were compared."""

    spec: SearchSpec
    observations: tuple[Observation, ...]
    rungs: tuple[int, ...]


@dataclass(frozen=True)
class Transfer:
    """What is transferred from an earlier search, in the parameters of the new one."""

    name: str
    num_trials: int  # that have ended
    history: History  # those that the space can express
    results: tuple[Observation, ...]  # those that would be the same trials here
    misfit: str = ""  # why its first trial doesn't fit the space, where none does

    def __str__(self) -> str:
        return (
            f"{self.name}: {len(self.history.trials)} of {self.num_trials} trials fit the search "
            f"space, the results of {len(self.results)} hold here too"
        )


class WarmStarted:
    """A sampler that knows results of earlier searches, as trials with negative numbers."""

    def __init__(self, sampler: Sampler, results: Sequence[Observation]) -> None:
        self._sampler = sampler
        self._results = [
            replace(trial, number=number) for number, trial in enumerate(results, -len(results))
        ]

    def suggest(
        self, number: int, observations: Sequence[Observation]
    ) -> dict[str, Scalar] | None:
        """See Sampler."""
        return self._sampler.suggest(number, [*self._results, *observations])


def first_points(spec: SearchSpec, earlier: Sequence[Earlier]) -> list[dict[str, Any]]:
    """Return the initial points of a search: its user's, then those of earlier searches.

    Raises SpecError, without a place, for earlier searches of which no trial fits the search
    space.
    """
    found = transfers(spec, earlier)
    problems = [
        Problem(
            "",
            "must name searches with trials that fit this search space "
            f"(0 of {transfer.num_trials} do{transfer.misfit and '; '}{transfer.misfit})",
            transfer.name,
        )
        for transfer in found
        if not transfer.history.trials
    ]
    if problems:
        raise SpecError(problems)
    histories = [transfer.history for transfer in found]
    points = portfolio(histories, SearchSpace.of(spec), _num_points(spec, found))
    return [*map(dict, spec.search.points), *points]


def warm_started(
    sampler: Sampler,
    spec: SearchSpec,
    points: Sequence[Mapping[str, Any]],
    earlier: Sequence[Earlier],
) -> Sampler:
    """Return a sampler that tries points first and is fitted on earlier results too."""
    results = [trial for transfer in transfers(spec, earlier) for trial in transfer.results]
    if results:
        sampler = WarmStarted(sampler, results)
    if points:
        sampler = FirstPoints(sampler, points, SearchSpace.of(spec), spec.search.seed)
    return sampler


def transfers(spec: SearchSpec, earlier: Sequence[Earlier]) -> list[Transfer]:
    """Return what can be transferred from each earlier search."""
    translator = Translator(SearchSpace.of(spec))
    return [_transfer(spec, translator, search) for search in earlier]


def alike(spec: SearchSpec, earlier: Sequence[Earlier]) -> list[Earlier]:
    """Return the searches with the same model and hyperparameters of which trials fit in."""
    same = [each for each in earlier if _is_same_program(spec, each.spec)]
    found = zip(same, transfers(spec, same), strict=True)
    return [search for search, transfer in found if transfer.history.trials]


def _is_same_program(spec: SearchSpec, other: SearchSpec) -> bool:
    """Whether trials are of one model, or of one code of the user's, whatever their data."""
    names, others = (
        {each.name for each in SearchSpace.of(one).parameters} for one in (spec, other)
    )
    code = ("trainable", "command")
    same_code = all(getattr(spec, name) == getattr(other, name) for name in code)
    return same_code and names == others and _named(spec.model) == _named(other.model)


def _named(model: Tree) -> object:
    """Return the name of a model, or those that are searched."""
    if isinstance(model, Choices):
        return model.labels
    return model.get("name") if isinstance(model, Mapping) else model


def _transfer(spec: SearchSpec, translator: Translator, earlier: Earlier) -> Transfer:
    space, is_same_task = SearchSpace.of(earlier.spec), _is_same_task(spec, earlier.spec)
    ended = [trial for trial in earlier.observations if trial.state != "running"]
    usable, results = [], []
    for trial in ended:
        values = space.resolve(trial.params)
        exact = translator.params(values, exact=True) if is_same_task else None
        params = exact or translator.params(values, exact=False)
        if params is not None:
            usable.append(replace(trial, params=params))
        if exact is not None:
            results.append(usable[-1])
    history = History(tuple(usable), earlier.spec.objective.direction, earlier.rungs)
    misfits = [] if usable else ended[:1]
    misfit = "".join(translator.misfit(space.resolve(trial.params)) for trial in misfits)
    return Transfer(earlier.spec.name, len(ended), history, tuple(results), misfit)


def _is_same_task(spec: SearchSpec, earlier: SearchSpec) -> bool:
    """Whether trials with equal sections would be the same, but for the noise of seeds."""
    attributes = ("objective", "trainable", "command", "precision", "max_epochs")
    return Path(spec.folder).resolve() == Path(earlier.folder).resolve() and all(
        getattr(spec, name) == getattr(earlier, name) for name in attributes
    )


def _num_points(spec: SearchSpec, found: Sequence[Transfer]) -> int:
    """One point per search suffices where all results hold: the sampler is fitted on the rest.

    At most a third of the trials, so that the new search explores as well.
    """
    are_known = all(len(t.results) == len(t.history.trials) for t in found)
    return min(len(found) if are_known else NUM_POINTS, max(1, spec.search.trials // 3))
