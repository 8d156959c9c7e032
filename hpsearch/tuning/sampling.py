"""The sampler of a search, and the configurations that are tried before it is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hpsearch import registry
from hpsearch.early_stopping import Rule
from hpsearch.errors import placed
from hpsearch.formatting import show_count
from hpsearch.record import Record
from hpsearch.samplers import PopulationSampler, Sampler, begins_with_default, make_sampler
from hpsearch.samplers.base import FITS_EARLIER
from hpsearch.samplers.earlier_models import EarlierModels
from hpsearch.samplers.history import History
from hpsearch.samplers.unit_cube import Cube
from hpsearch.samplers.warm_start import (
    Earlier,
    Transfer,
    known_default,
    other_tasks,
    sampler_seed,
    transfers,
    warm_started,
)
from hpsearch.spec import Scalar
from hpsearch.validation.defaults import default_configuration, default_values


def sampler_of(
    record: Record,
    early_stopper: Rule,
    slots: int,
    named: Mapping[str, Any],
    seed: int | None = None,
    earlier: Sequence[History] = (),
) -> Sampler:
    """Return the sampler that `named` names, for a search; with its seed unless one is given.

    `earlier` are searches of other tasks, for samplers that learn from them.
    """
    with placed("search.sampler"):
        return make_sampler(
            named,
            record.space,
            seed=record.spec.search.seed if seed is None else seed,
            direction=record.spec.objective.direction,
            rungs=early_stopper.rungs,
            slots=slots,
            folder=Path(record.spec.folder),
            others=[each.direction for each in record.spec.objectives[1:]],
            is_constrained=bool(record.spec.constraints),
            earlier=earlier,
        )


def informed_sampler(
    record: Record, rule: Rule, slots: int, earlier: Sequence[Earlier] = ()
) -> Sampler:
    """Return the sampler of a search, which has first points and knows earlier searches."""
    search = record.spec.search
    found = transfers(record.spec, earlier, default_values(record.spec))
    seed = sampler_seed(search.seed, found)
    sampler = sampler_of(record, rule, slots, search.sampler, seed, other_tasks(found))
    return warm_started(sampler, record.spec, first_points(record), found)


def transfers_told(record: Record, found: Sequence[Transfer]) -> list[str]:
    """Say what is taken from each earlier search, and of how many the sampler has a model."""
    told = [str(each) for each in found]
    name, folder = record.spec.search.sampler["name"], Path(record.spec.folder)
    if not registry.get("sampler", name, folder).traits.get(FITS_EARLIER):
        return told
    if count := len(EarlierModels(other_tasks(found), Cube(record.space))):
        which = show_count(count, "search", "searches")
        told.append(
            f"models of {which} of other data or settings guide the sampler {name}, as far as new "
            "results agree with them"
        )
    return told


def explorer_of(record: Record) -> PopulationSampler | None:
    """Return what changes the members of a search's population, if its trials are one."""
    search = record.spec.search
    if not search.is_population:
        return None
    with placed("search.sampler"):
        sampler = make_sampler(
            search.sampler,
            record.space,
            seed=search.seed,
            direction=record.spec.objective.direction,
            rungs=(record.spec.max_epochs,),
            slots=1,
        )
    assert isinstance(sampler, PopulationSampler)
    return sampler


def note_default(record: Record, found: Sequence[Transfer] = ()) -> None:
    """Write the default configuration of a search that begins, if it is to be tried, or what came
    of it in an earlier search.

    A search that has trials keeps what it began with, so that its sampler continues as before.
    """
    search = record.spec.search
    is_settled = record.default is not None or record.earlier_default is not None
    if record.trials or is_settled or not record.space.parameters:
        return
    default = default_configuration(record.spec)
    if (known := known_default(record.space, default, found)) is not None:
        record.set_earlier_default(known)
        return
    with placed("search.sampler"):
        is_tried = begins_with_default(search.sampler, Path(record.spec.folder))
    if is_tried and len(record.first_points) < search.trials:
        record.set_default(default)


def first_points(record: Record) -> list[dict[str, Scalar]]:
    """Return the configurations to try first: the user's points, the default one, those of earlier
    searches."""
    default, points = record.default, record.first_points
    if default is None or default in points:
        return points
    num_given = len(record.spec.search.points)
    return [*points[:num_given], default, *points[num_given:]]
