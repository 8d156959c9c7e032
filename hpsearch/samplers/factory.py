"""Building the sampler that a spec names."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hpsearch import registry
from hpsearch.errors import UserCodeError, nearest_names
from hpsearch.samplers.base import Direction, Observation, Sampler
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
) -> Sampler:
    """Return the sampler that `settings["name"]` names, with the other settings as keywords.

    `rungs` are the epochs at which trials are compared, the last one included, ascending;
    `slots` is the number of concurrent trials; users' files are relative to `folder`.
    Raises UserCodeError for an unknown name, SpecError where the sampler can't search this space.
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
    is_ours = registry.is_ours(component.factory)
    sampler: Sampler = component.build(
        keywords,
        space=space if is_ours else copy.deepcopy(space),
        seed=seed,
        direction=direction,
        rungs=tuple(rungs),
        slots=slots,
    )
    return sampler if is_ours else _OnCopies(sampler)


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
