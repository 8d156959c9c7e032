"""Searches: run from a spec, resumed, extended, stopped, and told to MLflow again."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from hpsearch.driver import Watcher, carry_out, close_unattended, cluster_for, read_earlier
from hpsearch.errors import SearchEndedError, SpecError
from hpsearch.provenance import collect_facts
from hpsearch.record import Record
from hpsearch.runs import Runs, SearchFolder
from hpsearch.samplers.warm_start import first_points
from hpsearch.spec import SearchSpec
from hpsearch.tracking import sync
from hpsearch.validation import check_disk, check_spec

if TYPE_CHECKING:
    from hpsearch.analysis import SearchReport

#: seconds between two looks at whether a driver has stopped
POLL_S = 0.2
#: how long the workers of a driver that was killed live on; they may still write checkpoints
WORKERS_END_S = 3.0


def run_search(
    spec: SearchSpec,
    runs: str | Path = "runs",
    *,
    address: str | None = None,
    on_start: Watcher | None = None,
) -> SearchReport:
    """Run a search to its end and return its report.

    Everything is kept in the folder `runs`. `address` joins a Ray cluster; without it Ray is
    started on this machine. `on_start` is given the record before the first trial, to watch it.
    Ctrl-C ends the search cleanly. Raises SpecError before anything starts, and
    SearchFailedError if the first trials all fail alike or the checkpoints exceed the quota.
    """
    place = Runs(runs)
    place.check_new(spec.name)
    spec, data = check_spec(spec)
    earlier, problems = read_earlier(place, spec.search.warm_start)
    if problems:
        raise SpecError(problems)
    points = first_points(spec, earlier)
    with cluster_for(spec, address) as slots:
        check_disk(spec, data, slots, place.existing_folder)
        folder = place.create(spec, collect_facts(spec.folder), points)
        with folder.drive():
            return carry_out(folder.take_over(), place, folder, data, slots, on_start)


def resume_search(
    name: str,
    runs: str | Path = "runs",
    *,
    address: str | None = None,
    on_start: Watcher | None = None,
) -> SearchReport:
    """Continue a search that did not come to its end, from wherever its record is.

    Trials that ended stay as they are, the others go on from their newest checkpoints. A search
    that its user stopped goes on too, with other trials for those that were cancelled. Raises
    SearchEndedError if it has ended, SearchRunningError if a driver works on it, and what
    `run_search` raises.
    """
    place = Runs(runs)
    folder = place.search(name)
    with folder.drive():
        record = folder.take_over()
        if record.state in ("finished", "failed") and record.delivered:
            rule = f"{name} has {record.state}: `hpsearch extend {name}` gives it more budget"
            raise SearchEndedError(rule)
        return _go_on(record, record.spec, place, folder, address, on_start)


def extend_search(
    name: str,
    runs: str | Path = "runs",
    *,
    trials: int = 0,
    epochs: int = 0,
    seconds: float = 0.0,
    num_bytes: int = 0,
    address: str | None = None,
    on_start: Watcher | None = None,
) -> SearchReport:
    """Give a search so many trials, epochs, seconds or bytes of disk more, and go on with it.

    Raises SpecError for epochs, seconds or bytes where its spec has no such budget, and what
    `resume_search` raises.
    """
    place = Runs(runs)
    folder = place.search(name)
    with folder.drive():
        record = folder.take_over()
        spec = record.spec.extended(trials, epochs, seconds, num_bytes)
        return _go_on(record, spec, place, folder, address, on_start)


def stop_search(name: str, runs: str | Path = "runs", *, timeout: float = 120.0) -> Record:
    """Stop a search, whether a driver works on it or has died, and return its record after that.

    After `timeout` seconds its driver may still be at it. Raises SearchEndedError if the search
    has ended.
    """
    place = Runs(runs)
    folder = place.search(name)
    state = folder.open_record().state
    if state != "running":
        raise SearchEndedError(f"{name} has ended already: {state}")
    folder.stop_request.touch()
    deadline = time.monotonic() + timeout
    while folder.is_driven() and time.monotonic() < deadline:
        time.sleep(POLL_S)
    if folder.is_driven():
        return folder.open_record()
    with folder.drive():
        record = folder.take_over()
        if record.state == "running":
            time.sleep(WORKERS_END_S)
            close_unattended(record, folder)
            sync(record, *place.tracking_of(record.spec))
        return record


def sync_search(name: str, runs: str | Path = "runs", tracking_uri: str | None = None) -> str:
    """Make MLflow's view of a search agree with its record; returns the store's URI.

    `tracking_uri` names another store than the search's own. Raises SearchRunningError while a
    driver works on it (which does the same), and TrackingError if the store can't be used.
    """
    place = Runs(runs)
    folder = place.search(name)
    with folder.drive():
        record = folder.open_record()
        update = {} if tracking_uri is None else {"tracking_uri": tracking_uri}
        uri, artifacts = place.tracking_of(record.spec.model_copy(update=update))
        sync(record, uri, artifacts)
    return uri


def _go_on(
    record: Record,
    spec: SearchSpec,
    place: Runs,
    folder: SearchFolder,
    address: str | None,
    on_start: Watcher | None,
) -> SearchReport:
    _, data = check_spec(spec)
    with cluster_for(spec, address) as slots:
        check_disk(spec, data, slots, folder.path)
        # One that has ended lacks only its report, its model and MLflow's view.
        if spec != record.spec or record.state in ("running", "stopped"):
            record.go_on(spec)
            folder.write_spec(spec)
        return carry_out(record, place, folder, data, slots, on_start)
