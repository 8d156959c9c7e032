"""What MLflow's store holds of a search, read as it is, for those who compare it.

MLflow is imported inside the functions: it takes seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hpsearch.record import Record
from hpsearch.tracking.calls import as_tracking_errors
from hpsearch.tracking.content import search_identity


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
    """All runs that say they are of one search: there should be one parent, and one a trial."""

    parents: list[StoredRun]
    trials: list[tuple[int, StoredRun]]  # by number, which may be there more than once


def read_runs(record: Record, tracking_uri: str) -> SearchRuns:
    """Read the runs of a search, with every point of their curves.

    Raises TrackingError if the store can't be used.
    """
    with as_tracking_errors(tracking_uri):
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri, registry_uri=tracking_uri)
        experiment = client.get_experiment_by_name(record.name)
        if experiment is None:
            return SearchRuns([], [])
        experiment_id = experiment.experiment_id
        parents = list(_stored(client, experiment_id, search_identity(record)))
        return SearchRuns(
            parents,
            [entry for parent in parents for entry in _trials(client, experiment_id, parent)],
        )


def _trials(client: Any, experiment_id: str, parent: StoredRun) -> Iterator[tuple[int, StoredRun]]:
    from hpsearch.tracking.view import PARENT_TAG

    for run in _stored(client, experiment_id, {PARENT_TAG: parent.id}):
        if "hpsearch.trial" in run.tags:  # a user may have put others beside
            yield int(run.tags["hpsearch.trial"]), run


def _stored(client: Any, experiment_id: str, tags: dict[str, str]) -> Iterator[StoredRun]:
    from hpsearch.tracking.view import PAGE

    wanted = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
    token = None
    while True:
        page = client.search_runs([experiment_id], wanted, max_results=PAGE, page_token=token)
        for run in page:
            yield _read(client, run)
        token = page.token
        if not token:
            return


def _read(client: Any, run: Any) -> StoredRun:
    run_id, data = run.info.run_id, run.data
    history = {
        name: [(point.step, point.value) for point in client.get_metric_history(run_id, name)]
        for name in data.metrics
    }
    return StoredRun(run_id, run.info.status, dict(data.params), dict(data.tags), history)
