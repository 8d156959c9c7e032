"""Warm starts: what a search transfers from earlier ones with compatible search spaces.

Three things: first points, a portfolio of configurations that did well (`first_points`, chosen
when the search is created); results, where the same trial would have the same result here
(`warm_started`); and, where none has, what the search says of configurations (`other_tasks`), for
a sampler that models it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from hpsearch.errors import Problem, SpecError
from hpsearch.formatting import show
from hpsearch.outcome import DefaultResult
from hpsearch.samplers.base import Observation, Sampler
from hpsearch.samplers.first_points import FirstPoints
from hpsearch.samplers.history import History
from hpsearch.samplers.portfolio import portfolio
from hpsearch.samplers.shipped_portfolio import shipped_points
from hpsearch.samplers.translation import MisfitError, Translation, Translator
from hpsearch.space import SearchSpace
from hpsearch.spec import Choices, Scalar, SearchSpec, Tree
from hpsearch.spec.settings import PORTFOLIO

#: points that are taken from earlier searches at most
NUM_POINTS = 10
#: sets the draws of a search apart from those of an earlier one with its seed
_STREAM = 1
#: reasons why trials don't fit that are told of a search
MAX_MISFITS = 4


#: of hyperparameters, by name
Defaults = Mapping[str, Scalar]


@dataclass(frozen=True)
class Earlier:
    """An earlier search: its trials, and the epochs at which they were compared."""

    spec: SearchSpec
    observations: tuple[Observation, ...]
    rungs: tuple[int, ...]
    default: DefaultResult | None = None  # of its default configuration, or of one before it


@dataclass(frozen=True)
class Transfer:
    """What is transferred from an earlier search, in the parameters of the new one."""

    name: str
    num_trials: int  # that have ended
    history: History  # those that the space can express
    results: tuple[Observation, ...]  # those that would be the same trials here
    filled: Mapping[str, int] = field(default_factory=dict)  # trials by default that stands in
    misfits: Mapping[str, int] = field(default_factory=dict)  # trials by why they don't fit
    default: DefaultResult | None = None  # of its default configuration, where results hold

    def __str__(self) -> str:
        told = (
            f"{self.name}: {len(self.history.trials)} of {self.num_trials} trials fit the search "
            f"space, the results of {len(self.results)} hold here too"
        )
        if (best := self._best_known) is not None:
            value = show(best.curve[self.history.rungs[-1]])
            told += f"; the best of these, its trial {best.number} ({value}), isn't trained again"
        for name, count in self.filled.items():
            told += f"; the default of {name} stands in for {count} that haven't it"
        return told + "".join(f"; left out: {each}" for each in self.told_misfits)

    @property
    def told_misfits(self) -> list[str]:
        """Why trials don't fit, the most frequent reasons first, each with its count."""
        most = sorted(self.misfits.items(), key=lambda item: -item[1])
        told = [f"{why} ({count} of {self.num_trials})" for why, count in most[:MAX_MISFITS]]
        rest = sum(count for _, count in most[MAX_MISFITS:])
        return [*told, f"{rest} for other reasons"] if rest else told

    @property
    def known(self) -> list[Observation]:
        """The trials whose results hold here and that were trained in full."""
        return [trial for trial in self.results if self.history.rungs[-1] in trial.curve]

    @property
    def _best_known(self) -> Observation | None:
        best = max if self.history.direction == "maximize" else min
        last = self.history.rungs[-1]
        return best(self.known, key=lambda trial: trial.curve[last], default=None)


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


def first_points(
    spec: SearchSpec, earlier: Sequence[Earlier], defaults: Defaults | None = None
) -> list[dict[str, Any]]:
    """Return the initial points of a search: its user's, then those of earlier searches, but for
    those whose result is known already (see `transfers`), and those of the portfolio, if it is
    named.

    Raises SpecError, without a place, for earlier searches of which no trial fits the search
    space.
    """
    found = transfers(spec, earlier, defaults)
    problems = [
        Problem(
            "",
            "must name searches with trials that fit this search space "
            f"(0 of {transfer.num_trials} do{_why(transfer)})",
            transfer.name,
        )
        for transfer in found
        if not transfer.history.trials
    ]
    if problems:
        raise SpecError(problems)
    histories = [transfer.history for transfer in found]
    points = portfolio(histories, SearchSpace.of(spec), _num_points(spec, found))
    known = [trial.params for transfer in found for trial in transfer.known]
    new = [point for point in points if point not in known]
    if PORTFOLIO in spec.search.warm_start:
        new += [point for point in shipped_points(spec) if point not in known]
    return [*map(dict, spec.search.points), *new]


def _why(transfer: Transfer) -> str:
    return "".join(f"; {each}" for each in transfer.told_misfits)


def warm_started(
    sampler: Sampler,
    spec: SearchSpec,
    points: Sequence[Mapping[str, Any]],
    found: Sequence[Transfer],
) -> Sampler:
    """Return a sampler that tries points first and is fitted on earlier results too."""
    results = [trial for transfer in found for trial in transfer.results]
    if results:
        sampler = WarmStarted(sampler, results)
    if points:
        sampler = FirstPoints(sampler, points, SearchSpace.of(spec), spec.search.seed)
    return sampler


def other_tasks(found: Sequence[Transfer]) -> list[History]:
    """Return the earlier searches of which no result holds here: what they say is a guess."""
    return [transfer.history for transfer in found if not transfer.results]


def known_default(
    space: SearchSpace, default: Mapping[str, Scalar], found: Sequence[Transfer]
) -> DefaultResult | None:
    """Return what came of the default configuration in an earlier search whose results hold here.

    That of the earlier search counts where a narrower space has another; but a configuration that
    users name by priors is one to be tried, unless it has been.
    """
    has_prior = any(parameter.prior is not None for parameter in space.parameters)
    for transfer in found:
        is_tried = any(trial.params == default for trial in transfer.results)
        if transfer.default is not None and (is_tried or not has_prior):
            return transfer.default
    return None


def sampler_seed(seed: int, found: Sequence[Transfer]) -> int:
    """Return the seed of a sampler that knows earlier results.

    Another than the search's: the earlier search may have had that, and what was drawn by it is
    tried already.
    """
    if not any(transfer.results for transfer in found):
        return seed
    return int(np.random.SeedSequence((seed, _STREAM)).generate_state(1)[0])


def transfers(
    spec: SearchSpec, earlier: Sequence[Earlier], defaults: Defaults | None = None
) -> list[Transfer]:
    """Return what can be transferred from each earlier search.

    `defaults` stand for hyperparameters that earlier trials haven't, by name.
    """
    translator = Translator(SearchSpace.of(spec), defaults)
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
    filled, misfits = Counter[str](), Counter[str]()
    for trial in ended:
        values = space.resolve(trial.params)
        try:
            found = _exact(translator, values) if is_same_task else None
            holds = found is not None
            found = found or translator.translate(values, exact=False)
        except MisfitError as misfit:
            misfits[str(misfit)] += 1
            continue
        usable.append(replace(trial, params=found.params))
        filled.update(found.filled)
        if holds:
            results.append(usable[-1])
    history = History(tuple(usable), earlier.spec.objective.direction, earlier.rungs)
    default = earlier.default if results else None
    name, held = earlier.spec.name, tuple(results)
    return Transfer(name, len(ended), history, held, filled, misfits, default)


def _exact(translator: Translator, values: Mapping[str, Any]) -> Translation | None:
    try:
        return translator.translate(values, exact=True)
    except MisfitError:
        return None


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
