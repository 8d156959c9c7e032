"""How a service is set up."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from hpsearch.service.confinement.workers import WorkerUser
from hpsearch.service.uploads import UploadLimits

#: what a user's code gets of the service's environment; all else may be a secret
_PASSED_ON = ("HOME", "LANG", "LC_ALL", "PATH", "PYTHONPATH", "TMPDIR", "TZ")


@dataclass(frozen=True)
class Settings:
    """What the parts of a service need to know. All nodes share the folder `runs`."""

    runs: Path
    database: str = field(repr=False)
    #: address of Ray's dashboard, and the token that it wants
    ray_address: str
    ray_token: str | None = field(default=None, repr=False)
    #: MLflow's server and the database of records, for every search
    tracking_uri: str | None = field(default=None, repr=False)
    storage: str | None = field(default=None, repr=False)
    #: what MLflow's server wants to be asked with
    tracking_token: str | None = field(default=None, repr=False)
    #: where the cluster reaches MLflow, through this service; None: at the server itself
    gateway: str | None = None
    #: as whom users' code runs on this machine
    worker_user: WorkerUser = WorkerUser()
    #: whether the cluster is this machine's own; another's runs users' code as it likes
    owns_cluster: bool = True
    max_running: int = 4
    upload_limits: UploadLimits = UploadLimits()
    #: folders outside their uploads that specs may read data from
    data_folders: tuple[Path, ...] = ()
    #: the interpreter that jobs run with, on the cluster
    python: str = sys.executable
    #: seconds between two passes of the reconciler
    interval_s: float = 2.0

    @property
    def uploads(self) -> Path:
        """Where users' code is kept."""
        return self.runs / ".uploads"

    @property
    def checks(self) -> Path:
        """Where the cluster finds what it has to check."""
        return self.runs / ".checks"


def plain_environment() -> dict[str, str]:
    """Return the part of this process's environment that users' code may see."""
    return {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
