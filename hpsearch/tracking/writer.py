"""The runs of one search in MLflow's store, made to agree with the record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from hpsearch.errors import TrackingError
from hpsearch.record import Record
from hpsearch.tracking.places import rebind, rebind_own_store
from hpsearch.tracking.run_content import (
    TRIAL_TAG,
    Point,
    RunContent,
    search_content,
    search_identity,
    trial_content,
)
from hpsearch.tracking.store import open_client

PARENT_TAG = "mlflow.parentRunId"
#: with it, MLflow's pages open on runs and curves, and don't ask what the experiment is about
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
#: tags that an ended search loses when it resumes
PASSING_TAGS = ("reason",)
PAGE = 1000


@dataclass
class _Run:
    """What is known to be in a run. `points` are (name, step); None: not known, or not needed."""

    id: str
    status: str
    tags: dict[str, str]
    params: set[str] = field(default_factory=set)
    points: set[tuple[str, int]] | None = None


class View:
    """Writes what runs lack, and nothing twice; finds again what an earlier view has written.

    For one thread. After an error it is in doubt what was written: make another view. Raises
    TrackingError for what the store refuses for good, anything else for an outage.
    """

    def __init__(self, record: Record, tracking_uri: str, artifacts: Path | None = None) -> None:
        self._record = record
        if artifacts is not None:
            rebind_own_store(tracking_uri, artifacts)
            rebind(tracking_uri, artifacts, record.name)
        self._client: MlflowClient = open_client(tracking_uri)
        self.experiment_id: str = self._find_experiment(artifacts)
        self._trials: dict[int, _Run] = {}
        found = find_parent(self._client, self.experiment_id, record)
        if found is None:
            self._parent = self._create(search_content(record))
        else:
            self._parent = _found(found)
            self._trials = dict(self._find_trials())

    def update_search(self) -> None:
        """Make the parent run agree with the record."""
        content = search_content(self._record)
        if self._parent.points is None:
            self._parent.points = self._read_points(self._parent, content.points)
        self._write(self._parent, content)

    def update_trial(self, number: int) -> None:
        """Make the run of a trial agree with the record."""
        content = trial_content(self._record, self._record.trials[number])
        if number not in self._trials:
            self._trials[number] = self._create(content, {PARENT_TAG: self._parent.id})
        run = self._trials[number]
        ended = content.status != "RUNNING"
        if run.points is None:
            # The status is written last: a run that has it has its whole curve.
            whole = ended and run.status == content.status
            run.points = (
                {(point.name, point.step) for point in content.points}
                if whole
                else self._read_points(run, content.points)
            )
        self._write(run, content)
        if ended:
            run.points = None  # no longer needed, and many

    def _find_experiment(self, artifacts: Path | None) -> str:
        name = self._record.name
        experiment = self._client.get_experiment_by_name(name)
        if experiment is not None:
            return str(experiment.experiment_id)
        location = None if artifacts is None else (artifacts.absolute() / name).as_uri()
        return str(self._client.create_experiment(name, location, EXPERIMENT_TAGS))

    def _find_trials(self) -> Iterator[tuple[int, _Run]]:
        token = None
        while True:
            page = self._client.search_runs(
                [self.experiment_id],
                f"tags.`{PARENT_TAG}` = '{self._parent.id}'",
                max_results=PAGE,
                page_token=token,
            )
            for run in page:
                number = run.data.tags.get(TRIAL_TAG, "")
                if number.isdecimal():  # a user may have put others beside
                    yield int(number), _found(run)
            token = page.token
            if not token:
                return

    def _create(self, content: RunContent, tags: dict[str, str] | None = None) -> _Run:
        run = self._client.create_run(
            self.experiment_id,
            start_time=content.started_at,
            tags={**content.tags, **(tags or {})},
            run_name=content.name,
        )
        return _Run(run.info.run_id, "RUNNING", dict(content.tags), points=set())

    def _write(self, run: _Run, content: RunContent) -> None:
        """Add what a run lacks: one batch, then the status."""
        assert run.points is not None
        points = [p for p in content.points if (p.name, p.step) not in run.points]
        params = {k: v for k, v in content.params.items() if k not in run.params}
        tags = {k: v for k, v in content.tags.items() if run.tags.get(k) != v}
        stale = [name for name in PASSING_TAGS if name in run.tags and name not in content.tags]
        try:
            for name in stale:
                self._client.delete_tag(run.id, name)
                del run.tags[name]
            if points or params or tags:
                self._client.log_batch(
                    run.id,
                    [Metric(p.name, p.value, p.timestamp, p.step) for p in points],
                    [Param(*item) for item in params.items()],
                    [RunTag(*item) for item in tags.items()],
                )
            self._set_status(run, content)
        except MlflowException as error:
            if error.error_code != "INVALID_PARAMETER_VALUE":
                raise
            raise TrackingError(f"MLflow refused {content.name}: {error}") from error
        run.points.update((point.name, point.step) for point in points)
        run.params.update(params)
        run.tags.update(tags)

    def _set_status(self, run: _Run, content: RunContent) -> None:
        if run.status == content.status:
            return
        if content.status == "RUNNING":  # an ended search that resumed
            self._client.update_run(run.id, status=content.status)
        else:
            self._client.set_terminated(run.id, content.status, content.ended_at)
        run.status = content.status

    def _read_points(self, run: _Run, points: list[Point]) -> set[tuple[str, int]]:
        return {
            (metric.key, metric.step)
            for name in {point.name for point in points}
            for metric in self._client.get_metric_history(run.id, name)
        }


def find_parent(client: MlflowClient, experiment_id: str, record: Record) -> Any:
    """Return the run of a search, or None."""
    tags = [f"tags.`{name}` = '{value}'" for name, value in search_identity(record).items()]
    runs = client.search_runs([experiment_id], " and ".join(tags), max_results=1)
    return runs[0] if runs else None


def find_trial(client: MlflowClient, experiment_id: str, parent_id: str, number: int) -> Any:
    """Return the run of a trial, or None."""
    tags = f"tags.`{PARENT_TAG}` = '{parent_id}' and tags.`{TRIAL_TAG}` = '{number}'"
    runs = client.search_runs([experiment_id], tags, max_results=1)
    return runs[0] if runs else None


def _found(run: Any) -> _Run:
    return _Run(run.info.run_id, run.info.status, dict(run.data.tags), set(run.data.params))
