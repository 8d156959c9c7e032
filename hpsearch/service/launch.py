"""From a search in the table to a job on the cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from hpsearch.driver import earlier_of
from hpsearch.errors import HpsearchError, Problem, SearchExistsError, SpecError
from hpsearch.provenance import collect_versions
from hpsearch.record import Record
from hpsearch.runs import Runs
from hpsearch.samplers.warm_start import Earlier
from hpsearch.searches import create_search, wants_repeats
from hpsearch.service.cache.patience import PatientRecords
from hpsearch.service.settings import Settings
from hpsearch.spec import SearchSpec, draft_spec, load_yaml


def read_spec(text: str, folder: Path) -> SearchSpec:
    """Return the spec that the table holds; its code lies in `folder`.

    It names no stores: their URLs may hold passwords, and every user reads the table.
    """
    draft = draft_spec(load_yaml(text), folder)
    if draft.spec is None:
        raise SpecError(draft.problems)
    return draft.spec


def asked_gpus(text: str) -> float:
    """Return the GPUs that a spec of the table asks for at once, as far as it says."""
    spec = load_yaml(text)
    each = (spec.get("resources") or {}).get("gpu") or 0
    return float(each) * ((spec.get("search") or {}).get("max_concurrent") or 1)


def with_stores(spec: SearchSpec, settings: Settings) -> SearchSpec:
    """Return a spec with the service's own MLflow server and database of records."""
    stores = {"tracking_uri": settings.tracking_uri, "storage": settings.storage}
    return spec.model_copy(update=stores)


def prepare(
    spec: SearchSpec, settings: Settings, records: PatientRecords, facts: dict[str, Any]
) -> None:
    """Create a search's folder and record; every attempt's job resumes from it."""
    earlier = list(_earlier(spec, records))
    give = partial(give_search, settings=settings)
    with suppress(SearchExistsError):  # another reconciler was faster
        create_search(
            with_stores(spec, settings),
            Runs(settings.runs),
            earlier,
            collect_versions() | facts,
            None,  # an upload never changes
            give,
        )


def give_search(folder: Path, settings: Settings) -> None:
    """Give a search's folder to the user that works on it, if that is another on this machine."""
    if settings.owns_cluster and folder.is_dir():
        settings.worker_user.give_all(folder)


def has_more_to_do(spec: SearchSpec, record: Record) -> bool:
    """Whether a search was extended, or is to be repeated, since its record was told."""
    return spec.budget != record.spec.budget or wants_repeats(record, spec.num_repeats)


def _earlier(spec: SearchSpec, records: PatientRecords) -> Iterator[Earlier]:
    for name in spec.search.earlier_searches:
        try:
            yield earlier_of(records.read(name)[0])
        except HpsearchError as error:
            raise SpecError([Problem("search.warm_start", str(error))]) from error
