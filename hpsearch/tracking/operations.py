"""What is asked of MLflow's store once, by the caller's own thread.

MLflow is imported inside the functions: it takes seconds, and they are called at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from hpsearch.errors import TrackingError
from hpsearch.record import Record
from hpsearch.tracking.names import mlflow_name
from hpsearch.tracking.run_content import TRIAL_TAG
from hpsearch.tracking.store import mlflow_settings, open_client


def sync(record: Record, tracking_uri: str, artifacts: Path | None = None) -> None:
    """Make MLflow's runs of a search agree with its record, here and now.

    Raises TrackingError if the store can't be used.
    """
    with as_tracking_errors(tracking_uri):
        from hpsearch.tracking.writer import View

        view = View(record, tracking_uri, artifacts)
        for trial in record.trials:
            view.update_trial(trial.number)
        view.update_search()


def log_report(record: Record, tracking_uri: str, files: Sequence[Path]) -> None:
    """Copy files to the artifacts of a search's run, which must be there."""
    with as_tracking_errors(tracking_uri):
        client, parent = open_search(record, tracking_uri)
        for path in files:
            client.log_artifact(parent.info.run_id, str(path))


def address_of_run(record: Record, tracking_uri: str, shown_at: str) -> str:
    """Return where MLflow's UI, shown at an address, has the run of a search.

    Raises TrackingError where the server doesn't answer, or has no such run.
    """
    with as_tracking_errors(tracking_uri):
        _, parent = open_search(record, tracking_uri)
    info = parent.info
    page = f"#/experiments/{info.experiment_id}/runs/{info.run_id}"
    # Otherwise MLflow 3 shows its pages for language models around it.
    return f"{shown_at}/{page}?workflowType=machine_learning"


def address_of_trials(record: Record, tracking_uri: str, shown_at: str) -> str:
    """Return where MLflow's UI, shown at an address, lists the trials of a search, best first.

    Raises TrackingError where the store can't be used, or has no such search.
    """
    with as_tracking_errors(tracking_uri):
        experiment = open_client(tracking_uri).get_experiment_by_name(record.name)
    if experiment is None:
        raise TrackingError(f"{tracking_uri} has no runs of search {record.name!r}")
    objective = record.spec.objective
    wanted = {
        "searchFilter": f"tags.`{TRIAL_TAG}` LIKE '%'",  # else they are folded below their parent
        "orderByKey": f"metrics.`{mlflow_name(objective.metric)}`",
        "orderByAsc": "false" if objective.direction == "maximize" else "true",
        "startTime": "ALL",
        "workflowType": "machine_learning",
    }
    return f"{shown_at}/#/experiments/{experiment.experiment_id}/runs?{urlencode(wanted)}"


def open_search(record: Record, tracking_uri: str) -> tuple[Any, Any]:
    """Return a client and the run of a search; TrackingError where there is none."""
    from hpsearch.tracking.writer import find_parent

    client = open_client(tracking_uri)
    experiment = client.get_experiment_by_name(record.name)
    parent = experiment and find_parent(client, experiment.experiment_id, record)
    if not parent:
        raise TrackingError(f"{tracking_uri} has no run of search {record.name!r}")
    return client, parent


@contextmanager
def as_tracking_errors(tracking_uri: str) -> Iterator[None]:
    """Set MLflow up, and raise what it raises as a TrackingError."""
    with mlflow_settings():
        from mlflow.exceptions import MlflowException

        try:
            yield
        except (MlflowException, OSError) as error:
            raise TrackingError(f"{tracking_uri} can't be used: {error}") from error
