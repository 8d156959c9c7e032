"""Building the sampler that a spec names."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hpsearch import registry
from hpsearch.errors import UserCodeError, nearest_names
from hpsearch.samplers.base import (
    LEARNS_CONSTRAINTS,
    ONE_OBJECTIVE,
    Direction,
    Observation,
    Sampler,
)
from hpsearch.samplers.history import History
from hpsearch.samplers.scalarization import Scalarized
from hpsearch.space import SearchSpace
from hpsearch.spec import Scalar


def make_sampler(
    settings: Mapping[str, Any],
    space: SearchSpace,
    *,
    seed: int,
    direction: Direction,
    rungs: Sequence[int],
    slots: int,
    folder: Path | None = None,
    others: Sequence[Direction] = (),
    is_constrained: bool = False,
    earlier: Sequence[History] = (),
) -> Sampler:
    """Return the sampler that `settings["name"]` names, with the other settings as keywords.

    `rungs` are the epochs at which trials are compared, the last one included, ascending;
    `slots` is the number of concurrent trials; users' files are relative to `folder`; `others` are
    the directions of further objectives; `earlier` are searches of other tasks. Raises
    UserCodeError for an unknown name, and for a sampler that can't do several objectives,
    SpecError where it can't search this space.
    """
    keywords = dict(settings)
    name = keywords.pop("name")
    try:
        component = registry.get("sampler", name, folder)
    except KeyError as error:
        known = registry.names("sampler")
        rule = registry.one_of(known)
        nearest = nearest_names(name, known)
        raise UserCodeError(rule, name, keyword="name", nearest=nearest) from error
    if others and component.traits.get(ONE_OBJECTIVE):
        able = [each for each in registry.names("sampler") if not _has_trait(each, ONE_OBJECTIVE)]
        rule = f"with several objectives {registry.one_of(able)}"
        raise UserCodeError(rule, name, keyword="name")
    is_ours = registry.is_ours(component.factory)
    penalizes = is_constrained and not component.traits.get(LEARNS_CONSTRAINTS)
    is_scalarized = bool(others) or penalizes
    sampler: Sampler = component.build(
        keywords,
        space=space if is_ours else copy.deepcopy(space),
        seed=seed,
        direction="maximize" if is_scalarized else direction,
        rungs=tuple(rungs),
        slots=slots,
        earlier=tuple(earlier) if is_ours else copy.deepcopy(tuple(earlier)),
    )
    sampler = sampler if is_ours else _OnCopies(sampler)
    if not is_scalarized:
        return sampler
    return Scalarized(sampler, seed, (direction, *others), tuple(rungs), penalizes)


def _has_trait(name: str, trait: str) -> bool:
    return bool(registry.get("sampler", name).traits.get(trait))


def begins_with_default(settings: Mapping[str, Any], folder: Path | None = None) -> bool:
    """Whether the default configuration is tried before what a sampler suggests.

    A sampler of a user's chooses every trial, and a grid has each configuration once.
    """
    component = registry.get("sampler", settings["name"], folder)
    return registry.is_ours(component.factory) and not component.traits.get("is_exhaustive")


class _OnCopies:
    """A sampler of a user's, which may change the observations that it gets."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def suggest(
        self, number: int, observations: Sequence[Observation]
    ) -> dict[str, Scalar] | None:
        """See Sampler."""
        return self._sampler.suggest(number, copy.deepcopy(list(observations)))
