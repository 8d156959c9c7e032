"""What MLflow's store holds of a search, read as it is, for those who compare it.

MLflow is imported inside the functions: it takes seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hpsearch.record import Record
from hpsearch.tracking.operations import as_tracking_errors
from hpsearch.tracking.run_content import TRIAL_TAG, milliseconds, search_identity
from hpsearch.tracking.store import open_client


@dataclass(frozen=True)
class StoredRun:
    """A run; `history` has (step, value) of every point that was logged, by metric."""

    id: str
    status: str
    params: dict[str, str]
    tags: dict[str, str]
    history: dict[str, list[tuple[int, float]]]


@dataclass(frozen=True)
class SearchRuns:
    """All runs that say they are of one search: there should be one parent, and one a trial.

    `orphans` are the ids of trials' runs that began since the search was created and whose
    parent is gone: it is not known of which search they were.
    """

    parents: list[StoredRun]
    trials: list[StoredRun]
    orphans: list[str]


def read_runs(record: Record, tracking_uri: str) -> SearchRuns:
    """Read the runs of a search, with every point of their curves.

    Raises TrackingError if the store can't be used.
    """
    with as_tracking_errors(tracking_uri):
        client = open_client(tracking_uri)
        experiment = client.get_experiment_by_name(record.name)
        if experiment is None:
            return SearchRuns([], [], [])
        runs = {run.info.run_id: run for run in _all_runs(client, experiment.experiment_id)}
        return _sort(client, runs, record)


def _all_runs(client: Any, experiment_id: str) -> Iterator[Any]:
    from hpsearch.tracking.writer import PAGE

    token = None
    while True:
        page = client.search_runs([experiment_id], max_results=PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _sort(client: Any, runs: dict[str, Any], record: Record) -> SearchRuns:
    """Tell the search's runs from those of earlier searches of its name, and from a user's."""
    from hpsearch.tracking.writer import PARENT_TAG

    identity, begin = search_identity(record).items(), milliseconds(record.created_at)
    parents = [id for id, run in runs.items() if identity <= run.data.tags.items()]
    trials, orphans = [], []
    for id, run in runs.items():
        parent = run.data.tags.get(PARENT_TAG)
        if TRIAL_TAG not in run.data.tags:  # a user may have put others beside
            continue
        if parent in parents:
            trials.append(id)
        elif parent not in runs and run.info.start_time >= begin:
            orphans.append(id)
    return SearchRuns(
        [_read(client, runs[id]) for id in parents],
        [_read(client, runs[id]) for id in trials],
        orphans,
    )


def _read(client: Any, run: Any) -> StoredRun:
    # A call a metric: MLflow's client has none for several.
    run_id, data = run.info.run_id, run.data
    history = {
        name: [(point.step, point.value) for point in client.get_metric_history(run_id, name)]
        for name in data.metrics
    }
    return StoredRun(run_id, run.info.status, dict(data.params), dict(data.tags), history)
