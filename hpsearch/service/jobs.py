"""Ray's jobs: submit, inspect, stop. The only place that knows Ray's token."""

from __future__ import annotations

import json
import shlex
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobStatus, JobSubmissionClient

from hpsearch.errors import ClusterError
from hpsearch.runs import SearchFolder

TIMEOUT_S = 20.0
#: how long a driver that was asked to stop may take before Ray kills it
STOP_WAIT_S = 60
#: what trials are given: those that are there, with their resources, the most that Ray lists
_PLACEMENT_GROUPS = (
    "/api/v0/placement_groups?detail=1&limit=10000"
    "&filter_keys=state&filter_predicates=%3D&filter_values=CREATED"
)


class JobState(StrEnum):
    """What is known of a job."""

    ALIVE = "alive"
    ENDED = "ended"
    UNKNOWN = "unknown"  # Ray has never heard of it, or its head was restarted


@dataclass(frozen=True)
class Job:
    """A job as Ray has it; its own id comes with its driver. Times are seconds since 1970."""

    state: JobState = JobState.UNKNOWN
    job_id: str | None = None
    ended_at: float | None = None


class Jobs:
    """The jobs of a Ray cluster.

    `address` is that of its dashboard, such as http://127.0.0.1:8265. Jobs get nothing of the
    service's environment, but all of that with which their node was started: that must hold no
    secret, but for Ray's own token, without which no worker could work. Methods raise
    ClusterError if the cluster can't be reached.
    """

    def __init__(self, address: str, token: str | None = None) -> None:
        self._address = address
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client: _Client | None = None

    def submit(
        self,
        submission_id: str,
        entrypoint: str,
        metadata: Mapping[str, str],
        environment: Mapping[str, str] = MappingProxyType({}),
        stop_wait_s: float = STOP_WAIT_S,
    ) -> None:
        """Submit a job; that it is there already is no error.

        Who may ask Ray can read the environment that it is given, and so can its trials.
        """
        env_vars = {
            **environment,
            # Ray reads these where it stops the job.
            "RAY_JOB_STOP_SIGNAL": "SIGINT",
            "RAY_JOB_STOP_WAIT_TIME_S": str(stop_wait_s),
        }
        try:
            self._request(
                "submit_job",
                entrypoint=entrypoint,
                submission_id=submission_id,
                runtime_env={"env_vars": env_vars},
                metadata=dict(metadata),
            )
        except RuntimeError as error:
            if "already exists" not in str(error):
                raise ClusterError(f"Ray refused the job: {_first_line(error)}") from error

    def look(self, submission_id: str) -> Job:
        """Return what Ray knows of a job."""
        try:
            found = self._request("get_job_info", submission_id)
        except RuntimeError as error:
            if "404" in str(error):
                return Job()
            raise ClusterError(f"Ray can't report a job's state: {_first_line(error)}") from error
        is_alive = found.status in (JobStatus.PENDING, JobStatus.RUNNING)
        ended_at = None if found.end_time is None else found.end_time / 1000
        return Job(JobState.ALIVE if is_alive else JobState.ENDED, found.job_id, ended_at)

    def gpus(self) -> dict[str, float]:
        """Return the GPUs that Ray has set aside for the trials of each job, by Ray's id of it."""
        answer = self._request("_do_request", "GET", _PLACEMENT_GROUPS)
        try:
            groups = answer.json()["data"]["result"]["result"]
            held: defaultdict[str, float] = defaultdict(float)
            for group in groups:
                for bundle in group["bundles"]:
                    held[group["creator_job_id"]] += float(bundle["unit_resources"].get("GPU", 0))
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise ClusterError("Ray can't report its jobs' GPUs") from error
        return dict(held)

    def stop(self, submission_id: str) -> None:
        """Send a job SIGINT, as Ctrl-C does; one that isn't there is no error."""
        with suppress(RuntimeError):
            self._request("stop_job", submission_id)

    def _request(self, method: str, *arguments: Any, **keywords: Any) -> Any:
        try:
            if self._client is None:
                self._client = _Client(self._address, headers=dict(self._headers))
            return getattr(self._client, method)(*arguments, **keywords)
        except (ConnectionError, requests.RequestException, AuthenticationError) as error:
            self._client = None
            raise ClusterError(f"Ray at {self._address} can't be reached") from error


@dataclass(frozen=True)
class Program:
    """How hpsearch is called on the cluster; what it prints is kept beside the record, where it
    outlives Ray's head."""

    runs: Path
    python: str
    #: where MLflow is reached from the cluster, if not at the searches' own URI
    tracking_uri: str | None = None

    def resume(self, name: str, budget: Mapping[str, float | None], repeats: int = 0) -> str:
        """Return the command that resumes a search from its record."""
        options = ["--budget", json.dumps(budget)]
        options += ["--repeats", str(repeats)] if repeats else []
        return self._command(name, "resume", *options)

    def close(self, name: str) -> str:
        """Return the command that ends a search without a driver."""
        return self._command(name, "close")

    def _command(self, name: str, action: str, *options: str) -> str:
        program = [self.python, "-m", "hpsearch.cli", "job", action, name]
        if self.tracking_uri is not None:
            options = (*options, "--tracking-uri", self.tracking_uri)
        command = shlex.join([*program, "--runs", str(self.runs), *options])
        log = shlex.quote(str(SearchFolder(self.runs / name).driver_log))
        return f"exec {command} >> {log} 2>&1"


class _Client(JobSubmissionClient):
    """Ray's client, which would wait for a hanging head for ever."""

    def _do_request(self, method: str, endpoint: str, **keywords: Any) -> Any:
        return super()._do_request(method, endpoint, **{"timeout": TIMEOUT_S, **keywords})


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:300]
