"""Building the sampler that a spec names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hpsearch import registry
from hpsearch.errors import UserCodeError, nearest_names
from hpsearch.samplers.base import Direction, Sampler
from hpsearch.space import SearchSpace


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
        rule = f"must be one of {', '.join(known)}, or yours as module:factory"
        nearest = nearest_names(name, known)
        raise UserCodeError(rule, name, keyword="name", nearest=nearest) from error
    sampler: Sampler = component.build(
        keywords, space=space, seed=seed, direction=direction, rungs=tuple(rungs), slots=slots
    )
    return sampler
