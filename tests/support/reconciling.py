"""A reconciler whose clock and cluster a test sets."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpsearch.errors import ClusterError
from hpsearch.record import Record
from hpsearch.service.accounting import Accounting
from hpsearch.service.core import Service
from hpsearch.service.database.search_table import SearchRow
from hpsearch.service.jobs import Job, Jobs, JobState
from hpsearch.service.reconciler import Reconciler
from hpsearch.service.settings import Settings
from tests.support.specs import make_spec
from tests.support.team import Team

PARAMS = {"optimizer": "sgd", "optimizer.sgd.lr": 0.1, "batch_size": 32, "model.dropout": 0.1}


class Cluster(Jobs):
    """What Ray would say of its jobs: a test can't wait for hours of a real one."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1")
        self.jobs: dict[str, Job] = {}
        self.held: dict[str, float] | None = {}
        self.submitted: list[str] = []

    def look(self, submission_id: str) -> Job:
        return self.jobs.get(submission_id, Job())

    def gpus(self) -> dict[str, float]:
        if self.held is None:
            raise ClusterError("Ray can't report its jobs' GPUs")
        return self.held

    def submit(self, submission_id: str, *_: object, **__: object) -> None:
        self.submitted.append(submission_id)

    def stop(self, submission_id: str) -> None:
        """It ends at once."""
        self.jobs[submission_id] = Job(JobState.ENDED)


@dataclass
class Place:
    """A service, its reconciler, and searches that run on a cluster that isn't there."""

    folder: Path
    now: float = 1000.0
    cluster: Cluster = field(default_factory=Cluster)

    def __post_init__(self) -> None:
        (self.folder / "runs").mkdir()
        database = f"sqlite:///{self.folder / 'service.db'}"
        self.service = Service(Settings(self.folder / "runs", database, "http://127.0.0.1:1"))
        self.team = Team(self.service)

    def reconciler(self) -> Reconciler:
        """Return one as another process would have it."""
        service = self.service
        accounts = Accounting(service.meters, service.quotas, self.cluster, lambda: self.now)
        parts = (service.settings, service.table, service.quotas, service.lease)
        kept = (service.records, service.files, accounts, service.tracking_tokens)
        return Reconciler(*parts, self.cluster, *kept)

    def step(self, seconds: float = 0.0) -> None:
        """Let time pass, and make a pass."""
        self.now += seconds
        assert self.reconciler().step()

    def run(self, name: str, owner: str = "ann", gpus: float = 1.0, **sections: Any) -> Record:
        """Put a search into the table whose job is alive, and has GPUs; returns its record."""
        spec = make_spec(name=name, resources={"gpu": 1.0}, **sections)
        record = self.service.runs.create(spec).take_over()
        number = record.add_trial(PARAMS).number
        record.start_attempt(number)
        record.report(number, 1, {"val_accuracy": 0.5})
        job = f"hpsearch-{name}-1"
        summary = {"trials": spec.search.trials, "metric": "val_accuracy", "direction": "maximize"}
        states: dict[str, Any] = {"desired": "running", "actual": "running", "attempt": 1}
        row = SearchRow(name, owner, spec.to_yaml(), submission_id=job, summary=summary, **states)
        self.service.table.add(row)
        self.cluster.jobs[job] = Job(JobState.ALIVE, f"ray-{name}")
        assert self.cluster.held is not None
        self.cluster.held[f"ray-{name}"] = gpus
        return record

    def used(self, owner: str = "ann") -> float:
        """Return the GPU-seconds of this month."""
        return self.service.quotas.gpu_hours().get(owner, 0.0) * 3600

    def row(self, name: str) -> SearchRow:
        return self.service.table.get(name)
