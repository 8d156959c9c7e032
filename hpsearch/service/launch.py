"""From a search in the table to a job on the cluster."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from hpsearch.driver import read_earlier
from hpsearch.errors import SearchExistsError, SpecError
from hpsearch.provenance import collect_facts
from hpsearch.record import Record
from hpsearch.runs import Runs, SearchFolder
from hpsearch.samplers.warm_start import first_points
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


def with_stores(spec: SearchSpec, settings: Settings) -> SearchSpec:
    """Return a spec with the service's own MLflow server and database of records."""
    stores = {"tracking_uri": settings.tracking_uri, "storage": settings.storage}
    return spec.model_copy(update=stores)


def prepare(spec: SearchSpec, runs: Runs, facts: dict[str, Any]) -> Record:
    """Make a search's record, or give the one that is there the budget of the spec.

    Doing it twice changes nothing. A job then resumes the search, whatever attempt it is.
    """
    if not runs.has(spec.name):
        earlier, problems = read_earlier(runs, spec.search.warm_start)
        if problems:
            raise SpecError(problems)
        points = first_points(spec, earlier)
        with suppress(SearchExistsError):  # another reconciler was faster
            runs.create(spec, collect_facts(spec.folder) | facts, points)
    folder = runs.search(spec.name)
    record = folder.open_record()
    if has_more_budget(spec, record):
        record = _extend(spec, folder)
    return record


def has_more_budget(spec: SearchSpec, record: Record) -> bool:
    """Whether a search was extended since its record was given a budget."""
    return spec.search != record.spec.search


def _extend(spec: SearchSpec, folder: SearchFolder) -> Record:
    with folder.drive():
        record = folder.take_over()
        extended = record.spec.model_copy(update={"search": spec.search})
        record.go_on(extended)
        folder.write_spec(extended)
        return record
